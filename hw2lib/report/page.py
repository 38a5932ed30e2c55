"""One page of the report: figures, tables and numbers of one notebook, and the record of where they come from.

    page = report.Page("51_dann_accuracy")
    page.figure(fig, "tsne", caption="Features of both domains.")
    page.table("accuracy", frame, caption="Accuracy in percent.")
    page.value("dann_mean", 72.4)
    page.finish()

Any of these lines may run again, before and after the last. `Page.finish` puts the whole page into its place at once:
a run that fails never touches what an earlier run left, and of two runs at a time the last to finish stays, whole.
"""

import datetime
import functools
import io
import json
import math
import os
import re
import sys
import time
from collections.abc import Collection

import numpy as np

from hw2lib import environment, files, paths, used
from hw2lib.errors import UserError
from hw2lib.report import age, markdown, parameters, record
from hw2lib.report.record import Staging

COLOURS = 256  # of a palette
DRAWING = 0.85  # share of pixels in so many colours, of what is drawn and shows no image: others are blends at edges


class Page:
    """Collects what a notebook shows, all figures in one style.

    Open it in the first cell below the parameters, before any of them is used. It reads and checks them; a missing or
    wrong one is a UserError. `notebook` is the name of the notebook without its suffix.
    """

    def __init__(self, notebook: str) -> None:
        from hw2lib.plots import use_style  # matplotlib, which who runs notebooks need not wait for

        self._began, self._start = time.time(), time.monotonic()
        self._name, self._data = notebook, None
        # Taken now and not at the end: what is edited while the notebook runs has not been part of this run.
        self._parameters = parameters.values_in(sys._getframe(1).f_globals, notebook)
        self._inputs = age.notebook_inputs(notebook, self._parameters) | age.loaded_modules()
        self._code = environment.code_version()
        paths.check_preset(self._parameters["preset"])
        use_style()
        self._figures: dict[str, tuple[bytes, dict]] = {}
        self._tables: dict[str, dict] = {}
        self._values: dict[str, str | bool | int | float] = {}

    def images(self):
        """Where the images of `preset` and `data_dir` come from (`hw2lib.data.source`); sources begin with it."""
        from hw2lib import data

        self._data = data.source(self._parameters["preset"], self._parameters["data_dir"])
        return self._data

    def figure(self, fig, name: str, caption: str, provenance: str = "", images=None) -> None:
        """Keep a matplotlib figure as ``NAME.png``, close it, and show it with its caption.

        Args:
            name: file name without suffix; a second figure of that name replaces the first.
            caption: what is to be seen, in a sentence or two. The record keeps its source apart: the description of the
                data and then ``provenance``.
            provenance: whose weights, how many steps, which seed.
            images: the source of what it shows, where that is not `images`.
        """
        import matplotlib.pyplot as plt

        self._check_name(name)
        png = _small_png(fig)
        plt.close(fig)
        self._show(png, {"file": f"{name}.png"} | self._described(caption, provenance, images))

    def earlier_figure(self, name: str) -> None:
        """Show a figure as an earlier run left it, if there is one: what it was drawn from is not at hand.

        The earlier run is the last one; in ``quick`` it is that of the committed report, and the caption says its date.
        The record says when and by which commit the figure was drawn.
        """
        file = record.path(self._earlier_preset, self._name).with_name(f"{name}.png")
        for figure in self._earlier["figures"]:
            if figure["file"] == file.name and file.is_file():
                origin = figure.get("earlier", self._origin)
                dated = {"earlier": origin, "caption": self._dated(figure["caption"], origin)}
                self._show(file.read_bytes(), figure | dated)

    def earlier_table(self, name: str) -> None:
        """Show a table as an earlier run left it, if there is one (`earlier_figure`)."""
        if table := self._earlier["tables"].get(name):
            origins = {row[0]: self._origin for row in table["rows"]} | table.get("earlier", {})
            dated = {"earlier": origins, "caption": self._dated(table["caption"], self._origin)}
            self._show_table(name, table | dated)

    @functools.cached_property
    def _earlier(self) -> dict:
        """The record of the earlier run."""
        file = record.path(self._earlier_preset, self._name)
        if self._is_quick and file.is_file():
            used.note_file(file)
        nothing = {"figures": [], "tables": {}, "values": {}, "commit": None, "started": None}
        found = record.read(self._earlier_preset, self._name)
        if found is None and file.is_file():
            raise UserError(f"{file}: damaged, and this page shows parts of it; restore its folder, or remove it")
        return found or nothing

    @property
    def _is_quick(self) -> bool:
        return self._parameters["preset"] == "quick"

    @property
    def _earlier_preset(self) -> str:
        return "paper" if self._is_quick else self._parameters["preset"]

    @property
    def _origin(self) -> dict:
        return {key: self._earlier[key] for key in ("commit", "started")}

    def _dated(self, caption: str, origin: dict) -> str:
        return f"{caption} As in the committed report, {origin['started'][:10]}." if self._is_quick else caption

    def _show(self, png: bytes, figure: dict) -> None:
        from IPython.display import Image, Markdown, display

        self._figures[figure["file"]] = png, figure
        caption = _with_source(figure)
        display(Image(data=png, format="png", alt=caption))
        display(Markdown(caption), metadata={"hw2lib": "caption"})

    def table(self, name: str, frame, caption: str, provenance: str = "", earlier: Collection[str] = ()) -> None:
        """Keep a pandas DataFrame and show it; an index that is more than row numbers becomes its first columns.

        Cells are str, bool, int, finite float or None; others raise UserError. For the captions see `figure`. A row
        whose first cell is in `earlier` is as an earlier run left it, if it did (`earlier_figure`).
        """
        self._check_name(name)
        if frame.index.names != [None] or frame.index.dtype.kind not in "iu":
            frame = frame.reset_index()
        columns = [str(column) for column in frame.columns]
        rows = [
            [self._scalar(cell, f"table {name!r}, row {i}, column {columns[j]!r}") for j, cell in enumerate(row)]
            for i, row in enumerate(frame.itertuples(index=False, name=None))
        ]
        table = self._described(caption, provenance) | {"columns": columns, "rows": rows}
        before = self._earlier["tables"].get(name, {}) if earlier else {}
        if before.get("columns") == columns:
            kept = {row[0]: row for row in before["rows"] if row[0] in earlier}
            rows[:] = [kept.get(row[0], row) for row in rows]
            table["earlier"] = {row: before.get("earlier", {}).get(row, self._origin) for row in kept}
        self._show_table(name, table)

    def _show_table(self, name: str, table: dict) -> None:
        from IPython.display import Markdown, display

        self._tables[name] = table
        display(Markdown(markdown.pipe_table(table["columns"], table["rows"], _with_source(table))))

    def value(self, name: str, value) -> None:
        """Keep a str, bool, int or finite float for the text of the report; anything else raises UserError."""
        self._check_name(name)
        self._values[name] = self._scalar(value, f"value {name!r}")

    def values(self, values: dict) -> None:
        """Keep several numbers or words, see `value`."""
        for name, value in values.items():
            self.value(name, value)

    def earlier_values(self, *beginnings: str) -> None:
        """Keep the values of an earlier run whose names begin so, "" for all: those of what is shown as it left it."""
        kept = self._earlier["values"].items()
        self.values({name: value for name, value in kept if name.startswith(beginnings)})

    def finish(self) -> None:
        """Write figures and record, and put them into their place; again, if it is called again."""
        preset = self._parameters["preset"]
        inputs = age.loaded_modules() | self._inputs | used.notes()
        images = self._origin_of_images()
        staging = Staging(record.page(preset, self._name))
        for file, (png, _) in self._figures.items():
            files.write(staging.folder / file, png)
        content = {
            "notebook": self._name,
            "preset": preset,
            "parameters": self._parameters,
            "data": {"origin": self._data.origin, "description": images} if images else None,
            **self._code,
            **environment.versions(),
            "started": datetime.datetime.fromtimestamp(self._began).astimezone().isoformat(timespec="seconds"),
            "run": json.loads(os.environ.get("HW2_RUN", "null")),
            "figures": [figure for _, figure in self._figures.values()],
            "tables": self._tables,
            "values": self._values,
            "inputs": inputs,
            "hardware": environment.hardware(),
            "seconds": round(time.monotonic() - self._start, 1),
            "completed": True,
        }
        files.write_json(staging.folder / record.FILE, content)
        staging.swap_in()

    def _origin_of_images(self) -> str:
        """The images that were used so far, in words."""
        domains = age.domains(used.notes())
        return self._data.describe(domains) if self._data and domains else ""

    def _described(self, caption: str, provenance: str, images=None) -> dict[str, str]:
        origin = images.describe() if images else self._origin_of_images()
        source = "; ".join(filter(None, [origin, provenance.strip(" .")]))
        return {"caption": markdown.one_line(caption).rstrip(".") + ".", "source": source}

    def _check_name(self, name: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise UserError(f"{self._name}: {name!r} is no good name; use letters, digits, _ and -")

    def _scalar(self, value, where: str):
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{self._name}: {where} is {value}; a result that is missing is None or a word")
        if value is not None and not isinstance(value, str | bool | int | float):
            raise UserError(f"{self._name}: {where} is a {type(value).__name__}; give a number or a word")
        return value


def _with_source(shown: dict) -> str:
    """The caption below a figure or table of the notebook itself."""
    return markdown.plain(f"{shown['caption']} Source: {shown['source']}." if shown["source"] else shown["caption"])


def _small_png(fig) -> bytes:
    """The figure as a PNG file, packed as well as PNG can: RGB, or a palette for a drawing."""
    from PIL import Image

    content, packed = io.BytesIO(), io.BytesIO()
    fig.savefig(content, format="png", bbox_inches="tight")
    with Image.open(content) as picture:
        small = picture.convert("RGB")
        pixels = small.width * small.height
        counts = sorted((count for count, _ in small.getcolors(pixels)), reverse=True)
        if sum(counts[:COLOURS]) > DRAWING * pixels:
            small = small.quantize(COLOURS, kmeans=2, dither=Image.Dither.NONE)
        small.save(packed, "PNG", optimize=True)
    return packed.getvalue()
