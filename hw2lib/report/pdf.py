"""Markdown to PDF by way of pandoc and Typst, both from pip packages: no TeX, no browser.

Used for ``report.md`` and, through `hw2lib.report.exporter`, for a single notebook.
"""

import contextlib
import io
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import typst
from PIL import Image

from hw2lib.errors import UserError
from hw2lib.report import pandoc

LARGE = 10_000  # bytes, of a PNG file
WIDTH = 960  # pixels: 150 to the inch at the width of the text


def markdown_to_pdf(text: str, folder: Path, name: str, files: dict[str, bytes] | None = None) -> bytes:
    """Set Markdown as a PDF of A4 pages. The same input gives the same bytes.

    Front matter (YAML) with a ``title`` gives a title page (``subtitle``, ``author``, ``date``, ``abstract``) and the
    contents; without it the first heading is the title. ``section-numbering: "1.1"`` numbers the sections.
    An image alone in its paragraph is a numbered figure with its alt text as caption, and a link to the file of a
    figure becomes a reference to its number; ``[page](#anchor)`` becomes the page of a heading, a figure or an anchor,
    such as "page 3". A line ``Table: caption`` below a table numbers the table. A text whose figures
    (``<figure id="fig-...">``) and tables have anchors and numbers (`hw2lib.report.document`) keeps those.

    Args:
        text: the Markdown; HTML comments are left out.
        folder: where the paths of images start.
        name: what error messages call the document, such as ``report.md``.
        files: contents of further images by path, for images that are in no folder.

    Raises UserError if an image is missing or broken, or pandoc or Typst refuse the text. What a page cannot show, such
    as a character that no font has, is a warning that names its line, or the last `pandoc.PLACE` above it.
    """
    return convert(text, folder, name, files)[0]


def convert(text: str, folder: Path, name: str, files: dict[str, bytes] | None = None) -> pandoc.Result:
    """Do as `markdown_to_pdf`, and return the PDF with what it was made from."""
    with tempfile.TemporaryDirectory(prefix="hw2-pdf-") as temporary:
        work = Path(temporary)
        for path, content in (files or {}).items():
            target = work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        options = ["--to=typst", f"--template={pandoc.TEMPLATES / 'report.typ'}"]
        source, images, losses = pandoc.run(text, folder, work, name, options)
        losses += [*_moving([work / "media" / path for path in images]), *_without_glyph(source)]
        (work / "main.typ").write_text(_with_small_pictures(source, work), encoding="utf-8")
        try:
            pdf = typst.compile(str(work / "main.typ"), root=work)
        except typst.TypstError as error:
            line = re.search(r"\d+ │ (.*)", error.diagnostic)  # it names the image or shows the formula
            raise UserError(f"{name}: {error.message}, in: {line[1].strip() if line else text[:60]!r}") from error
    pandoc.tell(losses, text, name)
    return pdf, images, losses


def _moving(media: list[Path]) -> pandoc.Losses:
    """The pictures that move, of which Typst shows the beginning."""
    moving = []
    for file in media:
        # Typst says what is wrong with a picture that cannot be read, unless it is SVG.
        with contextlib.suppress(OSError, Image.DecompressionBombError), Image.open(file) as picture:
            if getattr(picture, "is_animated", False):
                moving.append(("of a picture that moves the PDF shows the beginning", quote(file.name)))
    return moving


def _without_glyph(source: str) -> pandoc.Losses:
    """The characters that no font has: Typst sets the same box for each, as for one that is none."""
    characters = sorted({character for character in source if not character.isascii()})
    pages = [f'#"\\u{{{ord(character):x}}}"' for character in ["\U0010fffe", "x", *characters]]
    sample = "#set page(width: auto, height: auto, margin: 0pt)\n" + "\n#pagebreak()\n".join(pages)
    box, _, *drawn = typst.compile(sample.encode(), format="svg")
    lost = [character for character, page in zip(characters, drawn, strict=True) if page == box]
    return [("the PDF shows a box for what no font has", character) for character in lost]


def _with_small_pictures(source: str, work: Path) -> str:
    """Put a JPEG file in the place of each large PNG file that it makes much smaller, as it does pictures of faces.

    In the PDF a picture with a palette takes as much room as one without: Typst stores red, green and blue.
    """
    large = [file for file in (work / "media").rglob("*.png") if file.stat().st_size >= LARGE]
    with ThreadPoolExecutor() as threads:
        for file, jpeg in zip(large, threads.map(_small_jpeg, large), strict=True):
            if jpeg:
                source = source.replace(file.relative_to(work).as_posix(), jpeg.relative_to(work).as_posix())
    return source


def _small_jpeg(file: Path) -> Path | None:
    """A JPEG file beside a PNG file, if it is much smaller than what Typst would store of that, and shows the same."""
    jpeg, stored = file.with_name(f"{file.name}.small.jpg"), io.BytesIO()
    unreadable = OSError, SyntaxError, ValueError, Image.DecompressionBombError  # Typst says what is wrong with it
    with contextlib.suppress(*unreadable):
        with Image.open(file, formats=("PNG",)) as picture:  # Pillow would have Ghostscript run what is PostScript
            if picture.mode not in ("L", "P", "RGB") or "transparency" in picture.info:
                return None
            small = picture.convert("RGB")
        small.thumbnail((WIDTH, 2 * WIDTH))
        small.save(jpeg, quality=62, optimize=True)
        small.save(stored, "PNG", compress_level=3)  # in half the time of the usual 6
        if jpeg.stat().st_size < 0.9 * len(stored.getvalue()):
            return jpeg
    return None
