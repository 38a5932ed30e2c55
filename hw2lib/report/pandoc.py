"""Markdown to Typst and HTML by pandoc, from a pip package, and the files that are made of it."""

import contextlib
import hashlib
import json
import logging
import os
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pypandoc
import typst

from hw2lib import files
from hw2lib.errors import UserError
from hw2lib.report import markdown

logger = logging.getLogger(__name__)

TEMPLATES = Path(__file__).parent / "templates"

# Pandoc's Markdown, brought nearer to what Jupyter and GitHub show.
READER = (
    "markdown-raw_attribute-latex_macros-native_divs-markdown_in_html_blocks-citations-blank_before_header"
    "-blank_before_blockquote"
    "+lists_without_preceding_blankline+autolink_bare_uris+gfm_auto_identifiers"
)

CODE_COMMENT_OR_ANCHOR = re.compile(r'^(```+|~~~+).*?^\1|<!--.*?-->|^<a id="[^"]+"></a>$', re.MULTILINE | re.DOTALL)
PLACE = "<!-- place: {} -->"  # a comment that names the part of a document below it, such as a cell

Losses = list[tuple[str, str]]  # what is not as in the text, and by which words it stands there
Result = tuple[bytes, dict[str, str], Losses]  # a document, hashes of its images by their paths, and what is lost


def write(source: Path, target: Path, convert: Callable[[str, Path, str], Result], note: Path | None = None) -> None:
    """Make ``target`` from the Markdown file ``source``; when that fails, an earlier ``target`` stays as it was.

    The file `note` keeps hashes of the text, its images and the target. While they are as they were, nothing is made;
    what lost something is made again, to warn again.

    Args:
        convert: gets the text, the folder where paths of images start, and what error messages call the document.
    """
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: cannot read the report: {getattr(error, 'strerror', 'it is not UTF-8')}") from error
    if note and _is_current(note, text, source.parent, target):
        return
    content, images, losses = convert(text, source.parent, source.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write(target, content)
    except OSError as error:
        raise UserError(f"{target}: cannot write the report: {error.strerror}") from error
    if note and not losses:
        note.parent.mkdir(parents=True, exist_ok=True)
        files.write(note, json.dumps(_made_from(text, images, content)))


def _is_current(note: Path, text: str, folder: Path, target: Path) -> bool:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        made = json.loads(note.read_text(encoding="utf-8"))
        images = {path: _digest((folder / path).read_bytes()) for path in made["images"]}
        return made == _made_from(text, images, target.read_bytes())
    return False


def _made_from(text: str, images: dict[str, str], content: bytes) -> dict:
    programs = f"pandoc {pypandoc.get_pandoc_version()}, typst {typst.__version__}"
    modules = [Path(__file__).with_name(f"{name}.py") for name in ("html", "pandoc", "pdf")]
    code = _digest(b"".join(file.read_bytes() for file in [*modules, *sorted(TEMPLATES.iterdir())]))
    return {"programs": programs, "code": code, "text": _digest(text.encode()), "images": images,
            "content": _digest(content)}  # fmt: skip


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def run(text: str, folder: Path, work: Path, name: str, options: list[str]) -> tuple[str, dict[str, str], Losses]:
    """What pandoc makes of Markdown, as in `Result`; in ``work / "media"`` it leaves the images that the text shows.

    Args:
        folder: where the paths of images start, if they do not in `work`.
        name: what error messages call the document.

    Raises UserError if an image is missing, or pandoc refuses the text.
    """
    plain = CODE_COMMENT_OR_ANCHOR.sub(_as_block, text).lstrip()
    command = [pypandoc.get_pandoc_path(), f"--from={READER}", "--standalone", "--wrap=none", *options]
    (work / "folder").symlink_to(folder.resolve())  # whose own name may have the colon that separates paths
    command += [f"--lua-filter={TEMPLATES / 'fix.lua'}", f"--resource-path={work}{os.pathsep}{work / 'folder'}"]
    command += ["--extract-media=media", "--log=log.json"]
    # Not by pypandoc.convert_text, which changes the folder of the whole process, so of JupyterLab's server.
    done = subprocess.run(command, input=plain, cwd=work, capture_output=True, encoding="utf-8")
    if done.returncode != 0:
        raise UserError(f"{name}: pandoc cannot read this document: {' '.join(done.stderr.split())}")
    losses = []
    for message in json.loads((work / "log.json").read_text(encoding="utf-8")):
        if message["type"] == "CouldNotFetchResource":
            is_remote = re.match(r"\w+://", message["path"])
            what = "cannot be fetched; put it beside the text" if is_remote else "is missing; make it"
            raise UserError(f"{name}: the image {message['path']} {what}, or take it out of the text")
        if message["type"] == "CouldNotConvertTeXMath":
            losses.append(("this formula is shown as its source", message["contents"]))
        elif message["type"] == "ScriptingWarning":  # of the filter
            losses.append(tuple(message["message"].split("\n", 1)))
        elif message["verbosity"] == "WARNING":
            losses.append((markdown.one_line(message["pretty"]), ""))
    media = [file for file in work.glob("media/**/*") if file.is_file()]
    images = {file.relative_to(work / "media").as_posix(): _digest(file.read_bytes()) for file in media}
    return done.stdout, images, losses


def _as_block(match: re.Match) -> str:
    """A comment is a block of its own, as on GitHub, and an anchor too: a figure below it is alone in its paragraph."""
    if match[1]:
        return match[0]
    return "\n\n" if match[0].startswith("<!--") else f"{match[0]}\n\n"


def tell(losses: Losses, text: str, name: str) -> None:
    """Warn of what is lost where, each once, with its words in one line."""
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
