"""Each split as one uint8 array in a file, decoded once from its PNG files and memory-mapped ever after.

A cached split is a folder ``<split>-<stamp>`` that holds ``images.npy``, ``labels.npy`` (digits only) and ``sha256``.
The stamp changes with the images' folder, so a folder never changes once it is in place: it is made under a temporary
name and renamed. Two processes may build the same split at the same time; the first wins, the other drops its copy.
"""

import hashlib
import os
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from tokenize import TokenError
from typing import NamedTuple

import numpy as np

from hw2lib.errors import UserError

_BUILDING = ".building-"
_DAY = 24 * 3600


class Rows(NamedTuple):
    """What a split is made of: the images' folder, their names in order, and their labels (None for faces)."""

    folder: Path
    names: list[str]
    labels: np.ndarray | None


class Cached(NamedTuple):
    """A split as it lies in the cache."""

    images: np.ndarray  # (N, C, H, W) uint8, memory-mapped read-only
    labels: np.ndarray | None  # (N,) int64
    digest: str  # SHA-256 (hex) of pixels and labels: the same for the same images wherever they lie


def read(folder: Path) -> Cached | None:
    """The split cached in a folder; None if there is none, or one that cannot be read."""
    try:
        digest = (folder / "sha256").read_text()
        images = np.lib.format.open_memmap(folder / "images.npy", mode="r")  # np.load would take an archive as well
        labels = np.lib.format.open_memmap(folder / "labels.npy", "r") if (folder / "labels.npy").exists() else None
    except (OSError, ValueError, EOFError, SyntaxError, ArithmeticError, TypeError, TokenError):  # of numpy, damaged
        return None
    if images.dtype != np.uint8 or images.ndim != 4:
        return None
    return Cached(images, labels, digest)


def build(folder: Path, rows: Rows, size: int, title: str) -> Cached:
    """Decode a split and cache it in a folder ``<split>-<stamp>``; the split's other stamps are removed.

    Raises `UserError` for an image that is not as it should be, and for a cache that cannot be written.
    """
    from hw2lib.data.png import decode  # only here: reading what is cached does not wait for Pillow

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=_BUILDING) as building:
            made = Path(building) / folder.name
            made.mkdir()
            digest = decode(rows.folder, rows.names, size, made / "images.npy", title)
            if rows.labels is not None:
                np.save(made / "labels.npy", rows.labels)
                digest = hashlib.sha256(digest.encode() + rows.labels.tobytes()).hexdigest()
            (made / "sha256").write_text(digest)
            try:
                os.rename(made, folder)
            except OSError:  # there is one: another process was faster, or a damaged one is in the way
                if read(folder) is None:
                    shutil.rmtree(folder)
                    os.rename(made, folder)
    except OSError as error:
        raise UserError(
            f"{folder.parent}: the cache cannot be written: {error.strerror}; "
            "make room or get the rights, or set HW2_BUILD to another folder"
        ) from error
    _remove_stale(folder)
    cached = read(folder)
    if cached is None:
        raise UserError(f"{folder}: removed by another process, which saw other images; leave them alone during a run")
    return cached


def _remove_stale(folder: Path) -> None:
    """Remove the split's other stamps, and what killed builds left behind."""
    split = folder.name.rpartition("-")[0]
    stale = [other for other in folder.parent.glob(f"{split}-*") if other != folder]
    killed = [left for left in folder.parent.glob(f"{_BUILDING}*") if time.time() - left.stat().st_mtime > _DAY]
    for unneeded in stale + killed:
        shutil.rmtree(unneeded, ignore_errors=True)
