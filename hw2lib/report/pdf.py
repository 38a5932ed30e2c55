"""Markdown to PDF by way of pandoc and Typst, both from pip packages: no TeX, no browser.

Used for ``report.md`` and, through `hw2lib.report.exporter`, for a single notebook.
"""

import json
import os
import re
import tempfile
from pathlib import Path

import pypandoc
import typst

from hw2lib.errors import UserError

TEMPLATE = Path(__file__).parent / "typst" / "report.typ"
FILTER = Path(__file__).parent / "typst" / "fix.lua"

# Pandoc's Markdown, brought nearer to what Jupyter and GitHub show.
READER = (
    "markdown-native_divs-markdown_in_html_blocks-citations-blank_before_header-blank_before_blockquote"
    "+lists_without_preceding_blankline+autolink_bare_uris+gfm_auto_identifiers"
)

CODE_OR_COMMENT = re.compile(r"^(```+|~~~+).*?^\1|<!--.*?-->", re.MULTILINE | re.DOTALL)


def markdown_to_pdf(text: str, folder: Path, name: str, files: dict[str, bytes] | None = None) -> bytes:
    """Set Markdown as a PDF of A4 pages. The same input gives the same bytes.

    Front matter (YAML) with a ``title`` gives a title page (``subtitle``, ``author``, ``date``, ``abstract``) and contents;
    without it the first heading is the title. ``section-numbering: "1.1"`` numbers the sections.
    An image alone in its paragraph is a numbered figure with its alt text as caption, and a link to the file of a figure
    becomes a reference to its number. A line ``: caption`` below a table numbers the table.

    Args:
        text: The Markdown. HTML comments (cog markers) are left out.
        folder: Where the paths of images start.
        name: What error messages call the document, such as ``report.md``.
        files: Contents of further images by path, for images that are in no folder.

    Raises:
        UserError: An image is missing or broken, or pandoc or Typst refuse the text.
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
            raise UserError(f"{name}: Typst cannot set this document: {_one_line(error.diagnostic)}") from error


def write_report_pdf(report: Path, pdf: Path) -> None:
    """Make ``pdf`` from the Markdown file ``report``; when that fails, an earlier ``pdf`` stays as it was."""
    try:
        text = report.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{report}: cannot read the report: {error}") from error
    content = markdown_to_pdf(text, report.parent, report.name)
    pdf.parent.mkdir(parents=True, exist_ok=True)
    temporary = pdf.with_name(f".{pdf.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, pdf)
    finally:
        temporary.unlink(missing_ok=True)


def _to_typst(text: str, folder: Path, work: Path, name: str) -> str:
    """Run pandoc; the images that the text shows are copied below ``work``, where Typst may read them."""
    log = work / "log.json"
    options = [
        "--standalone",
        "--wrap=none",
        f"--template={TEMPLATE}",
        f"--lua-filter={FILTER}",
        f"--resource-path={work}{os.pathsep}{folder}",
        "--extract-media=media",
        f"--log={log}",
    ]
    try:
        source = pypandoc.convert_text(text, "typst", READER, options, verify_format=False, cworkdir=str(work))
    except RuntimeError as error:
        raise UserError(f"{name}: pandoc cannot read this document: {_one_line(str(error))}") from error
    for message in json.loads(log.read_text(encoding="utf-8") or "[]"):
        if message["type"] == "CouldNotFetchResource":
            raise UserError(f"{name}: the image {message['path']} is missing; make it or take it out of the text")
    return source


def _one_line(message: str) -> str:
    return " ".join(message.split())
