"""Each split as one uint8 array in a file, decoded once from its PNG files and memory-mapped ever after.

A cached split is a folder ``<split>-<stamp>`` that holds ``images.npy``, ``labels.npy`` (digits only) and ``sha256``.
The stamp changes with the images' folder, so a folder never changes once it is in place: it is made under a temporary
name and renamed. Two processes may build the same split at the same time; the first wins, the other drops its copy.
"""

import functools
import hashlib
import os
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory
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
    """The split cached in a folder; None if there is none, or one that is damaged."""
    try:
        file = folder / "images.npy"
        time_and_size = (file.stat().st_mtime_ns, file.stat().st_size)
        digest = (folder / "sha256").read_text()
        images = np.lib.format.open_memmap(file, mode="r")  # np.load would take an archive as well
        labels = np.lib.format.open_memmap(folder / "labels.npy", "r") if (folder / "labels.npy").exists() else None
        found = _digest_of_images(file, *time_and_size)
    except Exception:  # numpy raises of many kinds where a file is damaged
        return None
    if images.dtype != np.uint8 or images.ndim != 4:
        return None
    return Cached(images, labels, digest) if digest == _with_labels(found, labels) else None


def _with_labels(digest: str, labels: np.ndarray | None) -> str:
    """The digest of a split from that of its images (`hw2lib.data.png.decode`)."""
    return digest if labels is None else hashlib.sha256(digest.encode() + labels.tobytes()).hexdigest()


@functools.cache
def _digest_of_images(file: Path, mtime_ns: int, size: int) -> str:
    """What `hw2lib.data.png.decode` has returned; taken once as long as the file's time and size stay."""
    images = np.lib.format.open_memmap(file, mode="r")
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(images)
    return digest.hexdigest()


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
            (made / "sha256").write_text(_with_labels(digest, rows.labels))
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
