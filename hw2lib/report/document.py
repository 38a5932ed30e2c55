"""``report.md`` and ``supplement.md``: Jinja templates, filled from the records of the notebooks.

``report.md.jinja`` is what people write, for all presets; the text may say ``{% if preset == "paper" %}``. It calls the
public methods of `Document`, and of `References`, and names values by their notebook without its number::

    {{ figure("53_dann_tsne", "class") }}

    DANN {{ cite("ganin2016") }} reads {{ dann_accuracy.dann_compact_ours_mnistm_svhn_dann_test | fixed(1) }} % of the
    digits of SVHN; {{ ref("53_dann_tsne", "class") }} shows its features.

What no record holds is shown as **missing**; it is never an error and never invented.
"""

import difflib
import functools
import html
import re
import traceback
from pathlib import Path

import jinja2

from hw2lib import files, paths
from hw2lib.errors import UserError
from hw2lib.report import markdown, record, running
from hw2lib.report.references import References

REPORT, SUPPLEMENT = "report", "supplement"
PREFIX = {REPORT: "", SUPPLEMENT: "A"}  # of the numbers of figures and tables
MISSING = "**missing**"
NOTHING = {"completed": False, "figures": [], "tables": {}, "values": {}}

NOTES = {  # on top of each document
    "paper": "<!-- Rendered by hw2 report: edit {template} instead. -->\n\n",
    "smoke": "> **Preset `smoke`.** The pictures and numbers of this copy come from {images}. They show that "
    "everything works, and are compared with nobody's.\n\n",
    "quick": "> **Preset `quick`.** The trainings are those that ship, on real images, and what their weights draw has "
    "been drawn anew. What takes long is as in the committed report; its caption has the date. Where images had to be "
    "at hand, for a look at the data, for t-SNE and for a short training, they are {images}. Such numbers are compared "
    "with nobody's.\n\n",
}


class Missing(jinja2.Undefined):
    """What no record holds: it stays so in filters and sums, and is not ``defined``."""

    def __str__(self) -> str:
        return MISSING

    def _stay(self, *_) -> "Missing":
        return self

    def _no(self, _) -> bool:
        return False

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __neg__ = _stay
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __pos__ = _stay
    __lt__ = __le__ = __gt__ = __ge__ = _no


class Values:
    """The values of a notebook, as ``values.name`` or ``values["name"]`` of a template."""

    def __init__(self, values: dict) -> None:
        self._values = values

    def __getitem__(self, name: str):
        value = self._values.get(name)
        if value is None:
            return Missing(name=name)
        return markdown.plain(markdown.one_line(value)) if isinstance(value, str) else value


class Document:
    """What a template may call to show figures and tables of the records and to refer to them.

    Args:
        name: `REPORT` or `SUPPLEMENT`.
        preset: whose records are shown.
        records: those of all notebooks, by name.
        drafts: earlier fillings of both documents, by name. They hold the numbers of what stands further below.
    """

    def __init__(self, name: str, preset: str, records: dict[str, dict], drafts: dict[str, "Document"]) -> None:
        self._name, self._preset, self._records, self._drafts = name, preset, records, drafts
        self._counts = {"figure": 0, "table": 0}
        self._labels: dict[tuple[str, str, str], tuple[str, str]] = {}  # of what is shown: words and anchor
        self.references = References(drafts[name].references if drafts else None)

    def figure(self, notebook: str, name: str, optional: bool = False) -> str:
        """A figure with its numbered caption, in HTML because Markdown's image shows none on GitHub.

        An optional one is left out where its notebook has run and not drawn it, as samples of real images are.
        """
        content = self._record(notebook)
        captions = {figure["file"]: html.escape(figure["caption"]) for figure in content["figures"]}
        file = record.path(self._preset, notebook).with_name(f"{name}.png")
        caption = captions.get(file.name)
        if caption is None or not file.is_file():
            return self._left_out("figure", notebook, name, optional and content["completed"] and caption is None)
        words, anchor = self._number("figure", notebook, name)
        source = file.relative_to(paths.report_dir(self._preset)).as_posix()
        shown = f"<figcaption><b>{words}.</b> {caption}</figcaption>"
        return f'<figure id="{anchor}">\n<img src="{source}" alt="{caption}">\n{shown}\n</figure>'

    def table(self, notebook: str, name: str, optional=False, columns: list | None = None, rows: list | None = None):
        """A table with its numbered caption; an optional one is left out where its notebook has run without it.

        `columns` and `rows` show a part of it, in their order: columns by their names, rows by their first cells.
        """
        content = self._record(notebook)
        table = content["tables"].get(name)
        if not table:
            return self._left_out("table", notebook, name, optional and content["completed"])
        names, lines = table["columns"], table["rows"]
        if rows is not None:
            none = [MISSING] * (len(names) - 1)
            lines = [line for row in rows for line in [x for x in lines if x[0] == row] or [[row, *none]]]
        if columns is not None:
            cells = [dict(zip(names, line, strict=True)) for line in lines]
            names, lines = columns, [[line.get(column, MISSING) for column in columns] for line in cells]
        words, anchor = self._number("table", notebook, name)
        caption = markdown.plain(markdown.one_line(table["caption"]))
        return f'<span id="{anchor}"></span>**{words}.** {caption}\n\n{markdown.pipe_table(names, lines)}'

    def cell(self, notebook: str, name: str, row: str | list, column: str):
        """One cell of a table, such as ``71.0 ± 0.6``, in the row whose first cells are those of `row`."""
        table = self._record(notebook)["tables"].get(name)
        first = [row] if isinstance(row, str) else row
        found = [line for line in table["rows"] if line[: len(first)] == first] if table else []
        if len(found) != 1 or column not in table["columns"]:
            return Missing(name=name)
        return found[0][table["columns"].index(column)]

    def ref(self, notebook: str, name: str, kind: str = "") -> str:
        """``[Figure 12](#fig-...)`` of what either document shows; `kind` is needed where both have that name."""
        self._record(notebook)
        if not self._drafts:
            return ""
        for document in sorted(self._drafts, key=lambda other: other != self._name):
            labels = self._drafts[document]._labels
            found = [labels[key] for key in labels if key[1:] == (notebook, name) and kind in ("", key[0])]
            if len(found) > 1:
                raise UserError(f'{name} of {notebook} is a figure and a table: add kind="figure" or kind="table"')
            if found:
                (words, anchor), file = found[0], "" if document == self._name else f"{document}.md"
                return f"[{words}]({file}#{anchor})" if anchor else words
        raise UserError(f"neither document shows a figure or table {name} of {notebook}")

    def runs(self) -> str:
        """One row for each notebook: what its results come from, and when, on what and how long it ran."""
        columns = ["notebook", "results from", "date", "commit", "machine", "torch", "minutes"]
        rows = [[name, *_run(content)] for name, content in self._records.items()]
        return markdown.pipe_table(columns, rows)

    def _record(self, notebook: str) -> dict:
        if notebook not in self._records:
            raise UserError(f"there is no notebook {notebook}")
        return self._records[notebook]

    def _left_out(self, kind: str, notebook: str, name: str, silently: bool) -> str:
        self._labels.setdefault((kind, notebook, name), (MISSING, ""))
        return "" if silently else f"{MISSING}: {kind} {name} of {notebook}"

    def _number(self, kind: str, notebook: str, name: str) -> tuple[str, str]:
        """The words ``Figure 12`` and the anchor of what is shown next; what is shown again is another."""
        self._counts[kind] += 1
        number = f"{PREFIX[self._name]}{self._counts[kind]}"
        anchor = f"{kind[:3]}-{notebook}-{name}".replace("_", "-").lower()
        key = (kind, notebook, name)
        label = f"{kind.capitalize()} {number}", anchor if key not in self._labels else f"{anchor}-{number.lower()}"
        self._labels.setdefault(key, label)
        return label


def render(name: str, preset: str) -> str:
    """The text of a document (`REPORT` or `SUPPLEMENT`). A mistake in its template is a UserError with its line."""
    notebooks = {notebook: record.read(preset, notebook) or NOTHING for notebook in running.names()}
    drafts = {}
    for other in PREFIX:
        drafts[other] = Document(other, preset, notebooks, {})
        _fill(other, drafts[other], preset, notebooks)
    text = _fill(name, Document(name, preset, notebooks, drafts), preset, notebooks)
    return _with_note(re.sub(r"\n{3,}", "\n\n", text), name, preset, notebooks)


def write(name: str, preset: str) -> Path:
    """Render a document and put it into its place; one that already says so is not touched."""
    text = render(name, preset)
    target = paths.report_dir(preset) / f"{name}.md"
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write(target, text)
    return target


def differences() -> list[str]:
    """The lines in which the committed documents and the records of ``paper`` differ, as unified diffs."""
    found = []
    for name in PREFIX:
        file = paths.ROOT / f"{name}.md"
        written = file.read_text(encoding="utf-8") if file.exists() else ""
        lines = written.splitlines(), render(name, "paper").splitlines()
        found += difflib.unified_diff(*lines, file.name, "records", n=0, lineterm="")
    return found


def _fill(name: str, document: Document, preset: str, records: dict[str, dict]) -> str:
    values = {notebook.partition("_")[2]: Values(content["values"]) for notebook, content in records.items()}
    file = f"{name}.md.jinja"
    calls = [document.figure, document.table, document.cell, document.ref, document.runs]
    calls += [document.references.cite, document.references.references]
    names = {call.__name__: call for call in calls}
    try:
        return _environment().get_template(file).render(values | names, preset=preset)
    except jinja2.TemplateNotFound as error:
        raise UserError(f"there is no {paths.ROOT / error.name}") from None
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"{error.name}, line {error.lineno}: {error.message}") from None
    except (jinja2.UndefinedError, UserError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename.endswith(file)]
        raise UserError(f"{file}, line {lines[-1]}: {markdown.one_line(str(error))}") from None


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_load),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"fixed": _fixed, "commas": _commas}
    environment.filters = {name: _keeps_missing(apply) for name, apply in environment.filters.items()}
    return environment


def _load(name: str) -> tuple[str, str, None] | None:
    file = paths.ROOT / name
    if not file.is_file():
        return None
    # A value and a full stop as the first word of a line would begin a list there.
    source = re.sub(r"^(\{\{.*?\}\})\.(?=\s)", r"\1\\.", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return source, str(file), None


def _fixed(value: float, digits: int) -> str:
    return f"{value:.{digits}f}"


def _commas(value: float) -> str:
    return f"{value:,.0f}"


def _keeps_missing(apply):
    """The filter `apply`, of which **missing** comes out where it goes in."""

    @functools.wraps(apply)
    def filtered(*args, **options):
        missing = [value for value in args if isinstance(value, Missing)]
        return missing[0] if missing else apply(*args, **options)

    return filtered


def _run(content: dict) -> list:
    """A notebook's row of `Document.runs`, without its name."""
    if not content["completed"]:
        return [MISSING] * 6
    machine = content["hardware"]["gpu"] or "{cpu}, {cores} cores".format(**content["hardware"])
    commit = (content["commit"] or "")[:7] + (" with changes" if content["dirty"] else "")
    minutes = f"{content['seconds'] / 60:.1f}"
    return [_sources(content), content["started"][:10], commit, machine, content["torch"], minutes]


def _sources(content: dict) -> str:
    """What the figures and tables of a record come from, each once; on which machine is in the tables of trainings."""
    origins, shown = set(), {}
    for entry in (*content["figures"], *content["tables"].values()):
        for part in re.sub(r"[;,] on [^;]*$", "", entry["source"]).split("; "):
            origin, _, what = part.rpartition(": ")
            shown.setdefault(what, what if origin in origins else part)
            origins.add(origin)
    return "; ".join(filter(None, shown.values()))


def _with_note(text: str, name: str, preset: str, records: dict[str, dict]) -> str:
    """Say on top, below the front matter, what this copy is made from."""
    images: dict[str, str] = {}  # of each origin the longest description: others are of some of its domains
    for data in (content["data"] for content in records.values() if content.get("data")):
        description = markdown.plain(markdown.one_line(data["description"]))
        images[data["origin"]] = max(images.get(data["origin"], ""), description, key=len)
    note = NOTES[preset].format(images=" and ".join(images.values()) or "no images", template=f"{name}.md.jinja")
    front = re.match(r"---\n.*?\n---\n+", text, flags=re.DOTALL)
    return text[: front.end()] + note + text[front.end() :] if front else note + text
