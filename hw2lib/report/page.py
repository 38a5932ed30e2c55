"""One page of the report: figures, tables and numbers of one notebook, and the record of where they come from.

    page = report.Page("51_dann_accuracy", preset=preset, parameters={"seed": seed}, data=source)
    page.figure(fig, "tsne", caption="Features of both domains.")
    page.table("accuracy", frame, caption="Accuracy in percent.")
    page.value("dann_mean", 72.4)
    page.finish()

Everything is written to a hidden folder of this page beside the final one, and `Page.finish` swaps it in: a run that
fails never touches what an earlier run left, and of two runs at a time the last to finish stays, whole.
"""

import datetime
import json
import math
import os
import re
import time

import numpy as np

from hw2lib import environment, paths
from hw2lib.errors import UserError
from hw2lib.report import dependencies, markdown, record
from hw2lib.report.staging import Staging


class Page:
    """Collects what a notebook shows.

    Args:
        notebook: name of the notebook without its suffix.
        preset: one of ``paths.PRESETS``.
        parameters: the values of the notebook's parameters.
        data: where the images come from (`hw2lib.data.source`); its description ends every caption.

    Raises:
        UserError: no such preset, or no such notebook.
    """

    def __init__(self, notebook: str, preset: str, parameters: dict | None = None, data=None) -> None:
        paths.check_preset(preset)
        self._clock = time.monotonic()
        self._data = data
        self._name = notebook
        parameters = {"preset": preset, **(parameters or {})}
        run = json.loads(os.environ.get("HW2_RUN", "{}"))
        # Taken now and not at the end: what is edited while the notebook runs has not been part of this run. And from
        # the parameters as they were set: a notebook may have put something in the place of an empty list.
        inputs = dependencies.inputs(notebook, preset, run.get("parameters", parameters))
        self._record = {
            "notebook": notebook,
            "preset": preset,
            "parameters": parameters,
            "data": self._describe_data(inputs),
            **environment.code_version(),
            **environment.versions(),
            "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "run": run.get("id"),
            "figures": [],
            "tables": {},
            "values": {},
            "inputs": inputs,
        }
        self._staging = Staging(paths.figures_dir(preset) / notebook)

    def figure(self, fig, name: str, caption: str, provenance: str = "") -> None:
        """Save a matplotlib figure as ``NAME.png``, close it, and show it with its caption.

        Args:
            fig: the matplotlib Figure.
            name: file name without suffix; a second figure of that name replaces the first.
            caption: what is to be seen. The description of the data and then ``provenance`` are added to it.
            provenance: whose weights, how many steps, which seed.
        """
        import matplotlib.pyplot as plt
        from IPython.display import Image, Markdown, display

        file = self._file(name).with_suffix(".png")
        caption = self._caption(caption, provenance)
        fig.savefig(file, bbox_inches="tight")
        plt.close(fig)
        others = [figure for figure in self._record["figures"] if figure["file"] != file.name]
        self._record["figures"] = [*others, {"file": file.name, "caption": caption}]
        display(Image(data=file.read_bytes(), format="png", alt=caption))
        display(Markdown(caption), metadata={"hw2lib": "caption"})

    def table(self, name: str, frame, caption: str, provenance: str = "") -> None:
        """Keep a pandas DataFrame and show it; an index that is more than row numbers becomes its first columns.

        Args:
            name: the name under which the report finds it.
            frame: cells are str, bool, int, finite float or None.
            caption: see `figure`.
            provenance: see `figure`.

        Raises:
            UserError: a cell is of another type, or is not finite.
        """
        from IPython.display import Markdown, display

        self._file(name)
        if frame.index.names != [None] or frame.index.dtype.kind not in "iu":
            frame = frame.reset_index()
        columns = [str(column) for column in frame.columns]
        rows = [
            [self._scalar(cell, f"table {name!r}, row {i}, column {columns[j]!r}") for j, cell in enumerate(row)]
            for i, row in enumerate(frame.itertuples(index=False, name=None))
        ]
        caption = self._caption(caption, provenance)
        self._record["tables"][name] = {"caption": caption, "columns": columns, "rows": rows}
        display(Markdown(markdown.pipe_table(columns, rows, caption)))

    def value(self, name: str, value) -> None:
        """Keep a number or a word for the text of the report.

        Raises:
            UserError: not a str, bool, int or finite float.
        """
        self._file(name)
        self._record["values"][name] = self._scalar(value, f"value {name!r}")

    def finish(self) -> None:
        """Write the record and put the folder into its place."""
        self._require_open()
        seconds = round(time.monotonic() - self._clock, 1)
        self._record |= {"hardware": environment.hardware(), "seconds": seconds, "completed": True}
        record.write(self._staging.folder / record.FILE, self._record)
        self._staging.swap_in()

    def _describe_data(self, inputs: dict[str, str]) -> dict | None:
        if self._data is None:
            return None
        fingerprints = dependencies.data_fingerprints(inputs)
        description = self._data.describe(list(fingerprints))
        return {"origin": self._data.origin, "description": description, "fingerprints": fingerprints}

    def _caption(self, caption: str, provenance: str) -> str:
        data = self._record["data"]
        source = "; ".join(filter(None, [data["description"] if data else "", provenance.strip(" .")]))
        sentence = markdown.one_line(caption).rstrip(".") + "."
        return f"{sentence} Source: {source}." if source else sentence

    def _file(self, name: str):
        self._require_open()
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise UserError(f"{self._name}: {name!r} is no good name; use letters, digits, _ and -")
        return self._staging.folder / name

    def _require_open(self) -> None:
        if not self._staging.folder.is_dir():
            raise UserError(f"{self._name}: this page is finished; make a new one with report.Page")

    def _scalar(self, value, where: str):
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{self._name}: {where} is {value}; a result that is missing is None or a word")
        if value is not None and not isinstance(value, str | bool | int | float):
            raise UserError(f"{self._name}: {where} is a {type(value).__name__}; give a number or a word")
        return value
