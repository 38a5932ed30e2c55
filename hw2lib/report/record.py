"""``record.json``: what a notebook found, from what, and on which machine. The report quotes nothing else."""

import json
from pathlib import Path

from hw2lib import paths

FILE = "record.json"


def path(preset: str, notebook: str) -> Path:
    """Where the record of a notebook is once the notebook has run."""
    return paths.figures_dir(preset) / notebook / FILE


def read(preset: str, notebook: str) -> dict | None:
    """The record of a notebook that ran to its end, or None."""
    try:
        record = json.loads(path(preset, notebook).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return record if isinstance(record, dict) and record.get("completed") is True else None


def write(file: Path, record: dict) -> None:
    """Write strict JSON: a NaN is an error, because no other reader would take it."""
    file.write_text(json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
