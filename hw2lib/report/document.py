"""``report.md``: its figures, tables and numbers come from records, through cog blocks.

In the source a block is a comment, with what it made under it::

    <!-- [[[cog document.figure("51_dann_accuracy", "tsne") ]]] -->
    <!-- [[[end]]] -->

``document`` is a `Document`; where plain ``cog`` is at work, the first block of ``report.md`` makes it. What no record
holds is shown as **missing**; it is never an error and never invented.

Passages between ``<!-- only: paper -->`` and ``<!-- end only -->`` discuss the real results and are left out elsewhere;
``<!-- only: paper quick -->`` keeps one in ``quick`` too, whose records have to hold every value in it. A passage for
other presets is one comment, so that readers of ``report.md`` do not see it::

    <!-- only: quick smoke
    It may not hold a block or another comment.
    -->
"""

import difflib
import html
import io
import re
import string
from pathlib import Path

from hw2lib import files, paths
from hw2lib.errors import UserError
from hw2lib.report import markdown, record

MISSING = "**missing**"

NOTES = {  # on top of each report but the committed one
    "smoke": "The pictures and numbers of this copy come from {images}. They show that everything works, and are "
    "compared with nobody's.",
    "quick": "The trainings are those that ship, on real images, and what their weights draw has been drawn anew. What "
    "takes long is as in the committed report; its caption has the date. Where images had to be at hand, for a look at "
    "the data, for t-SNE and for a short training, they are {images}. Such numbers are compared with nobody's.",
}


class Document:
    """What a block may call; each method passes Markdown to `write`, from the records of a preset."""

    def __init__(self, preset: str, write) -> None:
        self._preset, self._write = preset, write

    def figure(self, notebook: str, name: str, optional: bool = False) -> None:
        """A figure with its caption, in HTML because Markdown's image shows none on GitHub.

        An optional one is left out where its notebook has run and not drawn it, as samples of real images are.
        """
        content = self._read(notebook)
        captions = {figure["file"]: html.escape(figure["caption"]) for figure in content["figures"]}
        file = record.path(self._preset, notebook).with_name(f"{name}.png")
        text, caption = f"{MISSING}: figure {name} of {notebook}", captions.get(file.name)
        if optional and caption is None and content["completed"]:
            return
        if caption is not None and file.is_file():
            source = file.relative_to(paths.report_dir(self._preset)).as_posix()
            text = f'<figure>\n<img src="{source}" alt="{caption}">\n<figcaption>{caption}</figcaption>\n</figure>'
        self._write(text)

    def table(self, notebook: str, name: str, optional: bool = False) -> None:
        """A table with its caption; an optional one is left out where its notebook has run without it."""
        content = self._read(notebook)
        table = content["tables"].get(name)
        if table or not (optional and content["completed"]):
            self._write(
                markdown.pipe_table(*map(table.get, ("columns", "rows", "caption")))
                if table
                else f"{MISSING}: table {name} of {notebook}"
            )

    def text(self, template: str) -> None:
        """Prose with values: ``"DANN reaches {51_dann_accuracy.dann_mean:.1f} %"``; a brace of LaTeX is doubled."""
        self._write(markdown.paragraphs(_Values(self._read).format(template).strip()))

    def provenance(self, notebook: str) -> None:
        """How the results of a notebook were made, in one sentence."""
        run = self._read(notebook)
        if not run["completed"]:
            self._write(f"{MISSING}: {notebook}")
            return
        commit = f", commit {run['commit'][:10]}" if run["commit"] else ""
        commit += " with changes" if run["dirty"] else ""
        machine = run["hardware"]["gpu"] or "{cpu}, {cores} cores".format(**run["hardware"])
        images = f" Images: {run['data']['description']}." if run["data"] else ""
        took = f"took {run['seconds'] / 60:.1f} minutes on {machine}, with torch {run['torch']}."
        self._write(f"`{notebook}` (preset {run['preset']}{commit}) {took}{images}")

    def _read(self, notebook: str) -> dict:
        nothing = {"completed": False, "figures": [], "tables": {}, "values": {}}
        return record.read(self._preset, notebook) or nothing


class _Values(string.Formatter):
    """Looks up ``{notebook.value:format}``."""

    def __init__(self, read) -> None:
        self._read = read

    def get_field(self, field_name, args, kwargs):
        notebook, _, name = field_name.partition(".")
        return self._read(notebook)["values"].get(name), field_name

    def format_field(self, value, format_spec):
        return MISSING if value is None else super().format_field(value, format_spec)


def source() -> Path:
    """The report that people write; for the preset ``paper`` it is also the one that is filled."""
    return paths.ROOT / "report.md"


def fill(text: str, preset: str) -> str:
    """The report of a preset from its source. Raises UserError for a block or passage that cannot be understood."""
    import cogapp

    if preset != "paper":
        text = _select_passages(text, preset)
    cog = cogapp.Cog()
    cog.options.delete_code = preset != "paper"
    filled = io.StringIO()
    document = Document(preset, write=lambda text: cog.cogmodule.outl(text))
    try:
        cog.process_file(io.StringIO(text), filled, fname="report.md", globals={"document": document})
    except (cogapp.cogapp.CogError, SyntaxError) as error:
        raise UserError(f"report.md: {markdown.one_line(str(error))}") from None
    return filled.getvalue() if preset == "paper" else _with_note(filled.getvalue(), preset)


def write(preset: str) -> Path:
    """Fill the report of a preset and put it into its place; a report that already says so is not touched."""
    text = fill(_read_source(), preset)
    target = paths.report_dir(preset) / "report.md"
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write(target, text)
    return target


def differences() -> list[str]:
    """The lines in which ``report.md`` and the records of the preset ``paper`` differ, as a unified diff."""
    written = _read_source()
    lines = written.splitlines(), fill(written, "paper").splitlines()
    return list(difflib.unified_diff(*lines, "report.md", "records", n=0, lineterm=""))


def _read_source() -> str:
    try:
        return source().read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no {source()}") from None


def _select_passages(text: str, preset: str) -> str:
    for passage in (r"<!-- only: (paper[\w ]*) -->\n(.*?)<!-- end only -->\n?", r"<!-- only: ([\w ]+)\n(.*?)-->\n?"):
        chosen = re.compile(passage, flags=re.DOTALL)
        text = chosen.sub(lambda found: found[2] if preset in found[1].split() else "", text)
    if left := re.search(r"<!-- (only:|end only).*", text):
        raise UserError(f"report.md: {left[0]!r} has no counterpart")
    return text


def _with_note(text: str, preset: str) -> str:
    """Say on top, below the front matter, what this copy of the report is made from."""
    records = [record.read(preset, file.parent.name) for file in paths.figures_dir(preset).glob(f"[!.]*/{record.FILE}")]
    images: dict[str, str] = {}  # of each origin the longest description: others are of some of its domains
    for data in (found["data"] for found in records if found and found["data"]):
        images[data["origin"]] = max(images.get(data["origin"], ""), data["description"], key=len)
    sources = " and ".join(images.values()) or "no images"
    note = f"> **Preset `{preset}`.** {NOTES[preset].format(images=sources)}\n\n"
    front = re.match(r"---\n.*?\n---\n+", text, flags=re.DOTALL)
    return text[: front.end()] + note + text[front.end() :] if front else note + text
