"""The homework's csv files: which images make a split, and their labels."""

import csv
import io
from collections.abc import Collection
from pathlib import Path

import numpy as np

from hw2lib.errors import UserError

HEADER = ("image_name", "label")

_LABELS = {str(label): label for label in range(10)}


def read_labels(path: Path, there: Collection[str]) -> tuple[list[str], np.ndarray | None]:
    """Read a csv with the header ``image_name,label``, or ``image_name`` alone where labels are not known.

    Args:
        path: the csv file.
        there: the names of the image files that it may name.

    Returns:
        The file names, and their labels ``(N,)`` int64, 0 to 9, or None, in the order of the rows.

    Raises:
        UserError: a missing header, or a row with an unknown or repeated name, a path in place of a name, or a label
            that is not an integer from 0 to 9; with the file and its line.
    """
    labels: dict[str, int | None] = {}
    header, rows = _rows(path)
    known = header == HEADER
    for line, row in rows:
        where = f"{path}, line {line}"
        if len(row) != len(header):
            raise UserError(f"{where}: {len(row)} fields; a row is {','.join(header)}")
        name = row[0]
        if name in labels:
            raise UserError(f"{where}: {name!r} a second time; name each image once")
        if name not in there:
            raise UserError(f"{where}: {_why_not(name)}")
        if known and row[1] not in _LABELS:
            raise UserError(f"{where}: label {row[1]!r}; a label is an integer from 0 to 9")
        labels[name] = _LABELS[row[1]] if known else None
    if not labels:
        raise UserError(f"{path}: names no image; add rows {','.join(header)} or remove the file")
    return list(labels), np.fromiter(labels.values(), np.int64, len(labels)) if known else None


def _rows(path: Path) -> tuple[tuple[str, ...], list[tuple[int, list[str]]]]:
    """The header, and the rows below it, stripped, each with its line number; blank lines are passed over."""
    try:
        reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        header = tuple(field.strip() for field in next(reader, []))
        if header not in (HEADER, HEADER[:1]):
            raise UserError(f"{path}, line 1: no header; the first line must be {','.join(HEADER)} or {HEADER[0]}")
        return header, [(reader.line_num, [field.strip() for field in row]) for row in reader if row]
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a csv file in UTF-8 ({error})") from error


def _why_not(name: str) -> str:
    """Why a name is refused. Only names of files in the images' folder pass, so that no path leads out of it."""
    if "/" in name or "\\" in name or name == "..":
        return f"{name!r} is a path; give the bare name of a file in the images' folder"
    return f"{name!r} is not among the PNG files of the images' folder; add the image or remove the row"
