"""``record.json``: what a notebook found, from what, and on which machine. The report quotes nothing else."""

import functools
import json
import os
import shutil
import sys
import uuid
from pathlib import Path

from hw2lib import paths
from hw2lib.errors import UserError
from hw2lib.files import has_shape, locked, read_json, try_lock

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
    """The record in a file, of a notebook that ran to its end, or None; a damaged one is none, and stderr names it."""
    if _aside(file.parent).exists():
        with locked(file.parent.with_name(LOCK)):
            _heal(file.parent)
    if not file.is_file():
        return None
    try:
        record = read_json(file)
        json.dumps(record, ensure_ascii=False).encode()  # half a character is an error
    except (UserError, ValueError):
        _tell_damaged(file)
        return None
    if not has_shape(record, SHAPE) or not record["completed"]:
        return None
    for shown in (*record["figures"], *record["tables"].values()):
        if "source" not in shown:  # of before 2026-12, when it ended the caption
            caption, _, source = shown["caption"].partition(" Source: ")
            shown |= {"caption": caption, "source": source.removesuffix(".")}
    return record


@functools.cache  # once
def _tell_damaged(file: Path) -> None:
    print(f"hw2: {file}: damaged; its notebook has to run again", file=sys.stderr)


LOCK = ".lock"


def _aside(final: Path) -> Path:
    """Where an earlier result is while another takes its place."""
    return final.with_name(f".{final.name}.old")


def _heal(final: Path) -> None:
    """Undo a swap that was killed half-way, with the lock held: the earlier result goes back to its place."""
    old = _aside(final)
    if old.exists() and not final.exists():
        old.rename(final)
    elif old.exists():
        shutil.rmtree(old)


class Staging:
    """A hidden folder `folder` beside ``final``, of this object alone, and the swap that puts it there.

    What dead processes left, half-made folders or a swap cut short, is tidied when the next one is opened.
    """

    def __init__(self, final: Path) -> None:
        self._final = final
        self.folder = final.with_name(f".{final.name}.{uuid.uuid4().hex}.partial")
        final.parent.mkdir(parents=True, exist_ok=True)
        with locked(final.with_name(LOCK)):
            _heal(final)
            for other in final.parent.glob(f".{final.name}.*.partial"):
                if abandoned := try_lock(other / LOCK):
                    shutil.rmtree(other, ignore_errors=True)
                    abandoned.release()
            self.folder.mkdir()
            self._alive = try_lock(self.folder / LOCK)

    def swap_in(self) -> None:
        """Put the folder into its place, instead of what is there."""
        with locked(self._final.with_name(LOCK)):
            _heal(self._final)
            (self.folder / LOCK).unlink()
            if self._final.exists():
                self._final.rename(_aside(self._final))
            self.folder.rename(self._final)
            shutil.rmtree(_aside(self._final), ignore_errors=True)
        self._alive.release()

    def discard(self) -> None:
        """Remove the folder."""
        with locked(self._final.with_name(LOCK)):  # nobody is just looking whether it has been abandoned
            shutil.rmtree(self.folder, ignore_errors=True)
        self._alive.release()
