"""Markdown to PDF by way of pandoc and Typst, both from pip packages: no TeX, no browser.

Used for ``report.md`` and, through `hw2lib.report.exporter`, for a single notebook.
"""

import contextlib
import io
import json
import logging
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pypandoc
import typst
from PIL import Image

from hw2lib import files
from hw2lib.errors import UserError

logger = logging.getLogger(__name__)

TEMPLATE = Path(__file__).parent / "typst" / "report.typ"
FILTER = Path(__file__).parent / "typst" / "fix.lua"

# Pandoc's Markdown, brought nearer to what Jupyter and GitHub show.
READER = (
    "markdown-native_divs-markdown_in_html_blocks-citations-blank_before_header-blank_before_blockquote"
    "+lists_without_preceding_blankline+autolink_bare_uris+gfm_auto_identifiers"
)

LARGE = 10_000  # bytes, of a PNG file
WIDTH = 960  # pixels: 150 to the inch at the width of the text

CODE_OR_COMMENT = re.compile(r"^(```+|~~~+).*?^\1|<!--.*?-->", re.MULTILINE | re.DOTALL)


def markdown_to_pdf(text: str, folder: Path, name: str, files: dict[str, bytes] | None = None) -> bytes:
    """Set Markdown as a PDF of A4 pages. The same input gives the same bytes.

    Front matter (YAML) with a ``title`` gives a title page (``subtitle``, ``author``, ``date``, ``abstract``) and the
    contents; without it the first heading is the title. ``section-numbering: "1.1"`` numbers the sections.
    An image alone in its paragraph is a numbered figure with its alt text as caption, and a link to the file of a
    figure becomes a reference to its number. A line ``Table: caption`` below a table numbers the table.

    Args:
        text: the Markdown; HTML comments (cog markers) are left out.
        folder: where the paths of images start.
        name: what error messages call the document, such as ``report.md``.
        files: contents of further images by path, for images that are in no folder.

    Raises UserError if an image is missing or broken, or pandoc or Typst refuse the text.
    """
    # A comment is a block of its own, as on GitHub: an image between two cog markers is alone in its paragraph.
    text = CODE_OR_COMMENT.sub(lambda match: match[0] if match[1] else "\n\n", text).lstrip()
    with tempfile.TemporaryDirectory(prefix="hw2-pdf-") as work:
        for path, content in (files or {}).items():
            target = Path(work, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        source = Path(work, "main.typ")
        source.write_text(_to_typst(text, folder.resolve(), Path(work), name), encoding="utf-8")
        try:
            return typst.compile(str(source), root=work)
        except typst.TypstError as error:
            line = re.search(r"\d+ │ (.*)", error.diagnostic)  # it names the image or shows the formula
            raise UserError(f"{name}: {error.message}, in: {line[1].strip() if line else text[:60]!r}") from error


def write_report_pdf(report: Path, pdf: Path) -> None:
    """Make ``pdf`` from the Markdown file ``report``; when that fails, an earlier ``pdf`` stays as it was."""
    try:
        text = report.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{report}: cannot read the report: {getattr(error, 'strerror', 'it is not UTF-8')}") from error
    content = markdown_to_pdf(text, report.parent, report.name)
    try:
        pdf.parent.mkdir(parents=True, exist_ok=True)
        files.write(pdf, content)
    except OSError as error:
        raise UserError(f"{pdf}: cannot write the PDF: {error.strerror}") from error


def _to_typst(text: str, folder: Path, work: Path, name: str) -> str:
    """Run pandoc in ``work``; the images that the text shows are copied there, where Typst may read them."""
    command = [pypandoc.get_pandoc_path(), f"--from={READER}", "--to=typst", "--standalone", "--wrap=none"]
    command += [f"--template={TEMPLATE}", f"--lua-filter={FILTER}", f"--resource-path={work}{os.pathsep}{folder}"]
    command += ["--extract-media=media", "--log=log.json"]
    # Not by pypandoc.convert_text, which changes the folder of the whole process, so of JupyterLab's server.
    done = subprocess.run(command, input=text, cwd=work, capture_output=True, encoding="utf-8")
    if done.returncode != 0:
        raise UserError(f"{name}: pandoc cannot read this document: {' '.join(done.stderr.split())}")
    for message in json.loads((work / "log.json").read_text(encoding="utf-8")):
        if message["type"] == "CouldNotFetchResource":
            raise UserError(f"{name}: the image {message['path']} is missing; make it or take it out of the text")
        if message["verbosity"] == "WARNING":
            logger.warning("%s: %s", name, " ".join(message["pretty"].split()))
    return _with_small_pictures(done.stdout, work)


def _with_small_pictures(source: str, work: Path) -> str:
    """Put a JPEG file in the place of each large PNG file that it makes much smaller, as it does pictures of faces.

    In the PDF a picture with a palette takes as much room as one without: Typst stores red, green and blue.
    """
    for file in work.rglob("*.png"):
        if file.stat().st_size < LARGE:
            continue
        jpeg = file.with_suffix(".jpg")
        with contextlib.suppress(OSError):  # Typst says what is wrong with it
            with Image.open(file) as picture:
                small = picture.convert("RGB")
            small.thumbnail((WIDTH, 2 * WIDTH))
            small.save(jpeg, quality=62, optimize=True)
            stored = io.BytesIO()
            small.save(stored, "PNG")
            if jpeg.stat().st_size < 0.9 * len(stored.getvalue()):
                source = source.replace(file.relative_to(work).as_posix(), jpeg.relative_to(work).as_posix())
    return source
