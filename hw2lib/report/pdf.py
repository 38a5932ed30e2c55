"""Markdown to PDF by way of pandoc and Typst, both from pip packages: no TeX, no browser.

Used for ``report.md`` and, through `hw2lib.report.exporter`, for a single notebook.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import pypandoc
import typst
from PIL import Image

from hw2lib import files
from hw2lib.errors import UserError
from hw2lib.report import markdown

logger = logging.getLogger(__name__)

TEMPLATE = Path(__file__).parent / "typst" / "report.typ"
FILTER = Path(__file__).parent / "typst" / "fix.lua"

# Pandoc's Markdown, brought nearer to what Jupyter and GitHub show.
READER = (
    "markdown-latex_macros-native_divs-markdown_in_html_blocks-citations-blank_before_header-blank_before_blockquote"
    "+lists_without_preceding_blankline+autolink_bare_uris+gfm_auto_identifiers"
)

LARGE = 10_000  # bytes, of a PNG file
WIDTH = 960  # pixels: 150 to the inch at the width of the text

CODE_OR_COMMENT = re.compile(r"^(```+|~~~+).*?^\1|<!--.*?-->", re.MULTILINE | re.DOTALL)
PLACE = "<!-- place: {} -->"  # a comment that names the part of a document below it, such as a cell

Losses = list[tuple[str, str]]  # what is not as in the text, and by which words it stands there


def markdown_to_pdf(text: str, folder: Path, name: str, files: dict[str, bytes] | None = None) -> bytes:
    """Set Markdown as a PDF of A4 pages. The same input gives the same bytes.

    Front matter (YAML) with a ``title`` gives a title page (``subtitle``, ``author``, ``date``, ``abstract``) and the
    contents; without it the first heading is the title. ``section-numbering: "1.1"`` numbers the sections.
    An image alone in its paragraph is a numbered figure with its alt text as caption, and a link to the file of a
    figure becomes a reference to its number. A line ``Table: caption`` below a table numbers the table. A text whose
    figures (``<figure id="fig-...">``) and tables have anchors and numbers (`hw2lib.report.document`) keeps those.

    Args:
        text: the Markdown; HTML comments are left out.
        folder: where the paths of images start.
        name: what error messages call the document, such as ``report.md``.
        files: contents of further images by path, for images that are in no folder.

    Raises UserError if an image is missing or broken, or pandoc or Typst refuse the text. What a page cannot show, such
    as a character that no font has, is a warning that names its line, or the last `PLACE` above it.
    """
    return _set(text, folder, name, files or {})[0]


def write_report_pdf(report: Path, pdf: Path, note: Path | None = None) -> None:
    """Make ``pdf`` from the Markdown file ``report``; when that fails, an earlier ``pdf`` stays as it was.

    The file `note` keeps hashes of the text, its images and the PDF. While they are as they were, nothing is made; what
    gave a warning is made again, to warn again.
    """
    try:
        text = report.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{report}: cannot read the report: {getattr(error, 'strerror', 'it is not UTF-8')}") from error
    if note and _is_current(note, text, report.parent, pdf):
        return
    content, images, losses = _set(text, report.parent, report.name, {})
    try:
        pdf.parent.mkdir(parents=True, exist_ok=True)
        files.write(pdf, content)
    except OSError as error:
        raise UserError(f"{pdf}: cannot write the PDF: {error.strerror}") from error
    if note and not losses:
        files.write(note, json.dumps(_made_from(text, images, content)))


def _is_current(note: Path, text: str, folder: Path, pdf: Path) -> bool:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        made = json.loads(note.read_text(encoding="utf-8"))
        images = {path: _digest((folder / path).read_bytes()) for path in made["images"]}
        return made == _made_from(text, images, pdf.read_bytes())
    return False


def _made_from(text: str, images: dict[str, str], pdf: bytes) -> dict:
    programs = f"pandoc {pypandoc.get_pandoc_version()}, typst {typst.__version__}"
    code = _digest(b"".join(file.read_bytes() for file in (TEMPLATE, FILTER, Path(__file__))))
    return {"programs": programs, "code": code, "text": _digest(text.encode()), "images": images, "pdf": _digest(pdf)}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _set(text: str, folder: Path, name: str, files: dict[str, bytes]) -> tuple[bytes, dict[str, str], Losses]:
    """The PDF, hashes of the images by their paths in the text, and what is lost, which has been told."""
    # A comment is a block of its own, as on GitHub: an image between two of them is alone in its paragraph.
    plain = CODE_OR_COMMENT.sub(lambda match: match[0] if match[1] else "\n\n", text).lstrip()
    with tempfile.TemporaryDirectory(prefix="hw2-pdf-") as temporary:
        work = Path(temporary)
        for path, content in files.items():
            target = work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        source, losses = _to_typst(plain, folder.resolve(), work, name)
        media = [file for file in work.glob("media/**/*") if file.is_file()]
        images = {file.relative_to(work / "media").as_posix(): _digest(file.read_bytes()) for file in media}
        losses += [*_moving(media), *_without_glyph(source)]
        (work / "main.typ").write_text(_with_small_pictures(source, work), encoding="utf-8")
        try:
            pdf = typst.compile(str(work / "main.typ"), root=work)
        except typst.TypstError as error:
            line = re.search(r"\d+ │ (.*)", error.diagnostic)  # it names the image or shows the formula
            raise UserError(f"{name}: {error.message}, in: {line[1].strip() if line else text[:60]!r}") from error
    _tell(losses, text, name)
    return pdf, images, losses


def _to_typst(text: str, folder: Path, work: Path, name: str) -> tuple[str, Losses]:
    """Run pandoc in ``work``; the images that the text shows are copied there, where Typst may read them."""
    command = [pypandoc.get_pandoc_path(), f"--from={READER}", "--to=typst", "--standalone", "--wrap=none"]
    command += [f"--template={TEMPLATE}", f"--lua-filter={FILTER}", f"--resource-path={work}{os.pathsep}{folder}"]
    command += ["--extract-media=media", "--log=log.json"]
    # Not by pypandoc.convert_text, which changes the folder of the whole process, so of JupyterLab's server.
    done = subprocess.run(command, input=text, cwd=work, capture_output=True, encoding="utf-8")
    if done.returncode != 0:
        raise UserError(f"{name}: pandoc cannot read this document: {' '.join(done.stderr.split())}")
    losses = []
    for message in json.loads((work / "log.json").read_text(encoding="utf-8")):
        if message["type"] == "CouldNotFetchResource":
            raise UserError(f"{name}: the image {message['path']} is missing; make it or take it out of the text")
        if message["type"] == "CouldNotConvertTeXMath":
            losses.append(("this formula is shown as its source", message["contents"]))
        elif message["type"] == "ScriptingWarning":  # of the filter
            losses.append(tuple(message["message"].split("\n", 1)))
        elif message["verbosity"] == "WARNING":
            losses.append((markdown.one_line(message["pretty"]), ""))
    return done.stdout, losses


def _moving(media: list[Path]) -> Losses:
    """The pictures that move, of which Typst shows the beginning."""
    moving = []
    for file in media:
        # Typst says what is wrong with a picture that cannot be read, unless it is SVG.
        with contextlib.suppress(OSError), Image.open(file) as picture:
            if getattr(picture, "is_animated", False):
                moving.append(("of a picture that moves the PDF shows the beginning", quote(file.name)))
    return moving


def _without_glyph(source: str) -> Losses:
    """The characters that no font has: Typst sets the same box for each, as for one that is none."""
    characters = sorted({character for character in source if not character.isascii()})
    pages = [f'#"\\u{{{ord(character):x}}}"' for character in ["\U0010fffe", "x", *characters]]
    sample = "#set page(width: auto, height: auto, margin: 0pt)\n" + "\n#pagebreak()\n".join(pages)
    box, _, *drawn = typst.compile(sample.encode(), format="svg")
    lost = [character for character, page in zip(characters, drawn, strict=True) if page == box]
    return [("the PDF shows a box for what no font has", character) for character in lost]


def _tell(losses: Losses, text: str, name: str) -> None:
    """Say what is lost where, each once, with its words in one line."""
    told: dict[tuple[str, str], list[str]] = {}
    for what, words in dict.fromkeys(losses):
        for place in _places(words, text):
            told.setdefault((place, what), []).append(markdown.one_line(words))
    for (place, what), words in told.items():
        shown = ", ".join(word if len(word) <= 60 else f"{word[:60]} ..." for word in words if word)
        logger.warning("%s", ": ".join(filter(None, [f"{name}{place and ', '}{place}", what, shown])))


def _places(words: str, text: str) -> Iterable[str]:
    """The parts of a text that hold these words, or the first line that does; one empty place if none is found."""
    pieces = re.split(PLACE.format("(.*?)"), text)
    if len(pieces) > 1:
        places = [place for place, piece in zip(pieces[1::2], pieces[2::2], strict=True) if words and words in piece]
    else:
        places = [f"line {text.count(chr(10), 0, text.index(words)) + 1}"] if words and words in text else []
    return places or [""]


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
