"""``record.json``: what a notebook found, from what, and on which machine. The report quotes nothing else."""

import json
import os
import shutil
import uuid
from pathlib import Path

from hw2lib import paths
from hw2lib.files import has_shape, locked, try_lock

FILE = "record.json"
PAGE = "HW2_PAGE"  # names the folder that a run puts its page into, where that is not its place in the report
SHOWN = {"caption": str, "source": (str, None)}  # none in those of before 2026-12
SHAPE = {  # of what is read of a record
    "completed": bool,
    "parameters": {str: (str, int, float, list)},
    "inputs": {str: str},
    "data": ({"origin": str, "description": str}, None),
    "commit": (str, None),
    "started": str,
    "torch": str,
    "seconds": (int, float),
    "hardware": {"cpu": str, "cores": int, "gpu": (str, None)},
    "figures": [SHOWN | {"file": str}],
    "tables": {str: SHOWN | {"columns": [str], "rows": [list]}},
    "values": {str: (str, int, float, None)},
}


def path(preset: str, notebook: str) -> Path:
    """Where the record of a notebook is once the notebook has run."""
    return paths.figures_dir(preset) / notebook / FILE


def page(preset: str, notebook: str) -> Path:
    """The folder that a run of a notebook puts its figures and its record into."""
    return Path(os.environ.get(PAGE) or path(preset, notebook).parent)


def executed(preset: str, notebook: str) -> Path:
    """Where the copy of a notebook with its outputs is kept."""
    if folder := os.environ.get(PAGE):
        return Path(f"{folder}.ipynb")
    return paths.executed_dir(preset) / f"{notebook}.ipynb"


def read(preset: str, notebook: str) -> dict | None:
    """The record of a notebook in the report, or None: see `load`."""
    return load(path(preset, notebook))


def load(file: Path) -> dict | None:
    """The record in a file, of a notebook that ran to its end, or None, also for a damaged one."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        json.dumps(record, ensure_ascii=False).encode()  # half a character is an error
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    if not has_shape(record, SHAPE) or not record["completed"]:
        return None
    for shown in (*record["figures"], *record["tables"].values()):
        if "source" not in shown:  # of before 2026-12, when it ended the caption
            caption, _, source = shown["caption"].partition(" Source: ")
            shown |= {"caption": caption, "source": source.removesuffix(".")}
    return record


def write(file: Path, record: dict) -> None:
    """Write strict JSON: a NaN is an error, because no other reader would take it."""
    file.write_text(json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


LOCK = ".lock"


class Staging:
    """A hidden folder `folder` beside ``final``, of this object alone, and the swap that puts it there.

    What dead processes left, half-made folders or a swap cut short, is tidied when the next one is opened.
    """

    def __init__(self, final: Path) -> None:
        self._final = final
        self._old = final.with_name(f".{final.name}.old")
        self.folder = final.with_name(f".{final.name}.{uuid.uuid4().hex}.partial")
        final.parent.mkdir(parents=True, exist_ok=True)
        with locked(final.with_name(LOCK)):
            self._heal()
            for other in final.parent.glob(f".{final.name}.*.partial"):
                if abandoned := try_lock(other / LOCK):
                    shutil.rmtree(other, ignore_errors=True)
                    abandoned.release()
            self.folder.mkdir()
            self._alive = try_lock(self.folder / LOCK)

    def swap_in(self) -> None:
        """Put the folder into its place, instead of what is there."""
        with locked(self._final.with_name(LOCK)):
            self._heal()
            (self.folder / LOCK).unlink()
            if self._final.exists():
                self._final.rename(self._old)
            self.folder.rename(self._final)
            shutil.rmtree(self._old, ignore_errors=True)
        self._alive.release()

    def discard(self) -> None:
        """Remove the folder."""
        with locked(self._final.with_name(LOCK)):  # nobody is just looking whether it has been abandoned
            shutil.rmtree(self.folder, ignore_errors=True)
        self._alive.release()

    def _heal(self) -> None:
        """Undo a swap that was killed half-way: the earlier result goes back to its place."""
        if self._old.exists() and not self._final.exists():
            self._old.rename(self._final)
        elif self._old.exists():
            shutil.rmtree(self._old)
