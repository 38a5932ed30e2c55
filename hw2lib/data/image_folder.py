"""A folder of PNG images: read to be scored or classified, or written as a set of drawn images.

A set is never written over others' files, each image of it is whole, and an interrupted set is completed. Two hidden
files belong to it: one says what the set is, the other is locked while a process writes.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm

from hw2lib import files
from hw2lib.data.png import read_png
from hw2lib.errors import UserError

MARKER = ".hw2-images.json"
LOCK = ".hw2-images.lock"


def png_names(folder: Path) -> list[str]:
    """The names of the PNG files in a folder, sorted, without clutter. `UserError` if it cannot be read."""
    try:
        return sorted(
            name for name in os.listdir(folder) if name.lower().endswith(".png") and not files.is_clutter(name)
        )
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}; name a folder of PNG images") from None


def read_folder(folder: Path, size: int) -> tuple[list[str], Tensor]:
    """The names of `png_names`, and their images, uint8 (N, 3, size, size); grey ones become RGB.

    Raises `UserError` for fewer than two images, and for an image that cannot be read or is of another size.
    """
    names = png_names(folder)
    if len(names) < 2:
        raise UserError(f"{folder}: holds {len(names) or 'no'} PNG image; a score needs two at least, better 1,000")
    # One process: to start others takes longer than a thousand images.
    images = np.empty((len(names), 3, size, size), np.uint8)
    for i, name in enumerate(tqdm(names, desc=str(folder), unit=" images")):
        images[i] = read_png(folder / name, size)
    return names, torch.from_numpy(images)


def labels_in_names(folder: Path, names: list[str]) -> Tensor:
    """The digits (N,) that names such as ``7_001.png`` begin with; `UserError` for no digit, or a number of several."""
    for name in names:
        if not re.match(r"[0-9](?![0-9])", name):
            raise UserError(f"{folder / name}: the name does not begin with the image's digit, as 7_001.png does")
    return torch.tensor([int(name[0]) for name in names])


class Batch(NamedTuple):
    """Images that are drawn together."""

    names: list[str]
    draw: Callable[[], Tensor]  # uint8 (n, 3, H, W), in the order of the names; what is beyond them is left out


def write_images(folder: Path, batches: Sequence[Batch], settings: dict[str, Any], overwrite: bool = False) -> None:
    """Write what is missing of a set; a batch that is all there is not drawn.

    Args:
        settings: all that the images depend on, as plain JSON data.
        overwrite: write all of it anew, in place of an earlier set and of files of the same names; other files stay.

    Raises `UserError` if the folder holds other files or another set, if another process writes there, or if the disk
    is at fault.
    """
    names = [name for batch in batches for name in batch.names]
    try:
        with _claimed(folder, names, settings, overwrite):
            there = {name for name in set(os.listdir(folder)).intersection(names) if _is_whole(folder / name)}
            with tqdm(total=len(names), initial=len(there), desc=str(folder), unit=" images") as bar:
                for batch in batches:
                    missing = [i for i, name in enumerate(batch.names) if name not in there]
                    images = batch.draw().permute(0, 2, 3, 1).cpu().numpy() if missing else ()
                    for i in missing:
                        # One that a power cut damages is drawn again.
                        with files.whole(folder / batch.names[i], durable=False) as temporary:
                            Image.fromarray(images[i]).save(temporary, "PNG")
                    bar.update(len(missing))
    except OSError as error:
        where = error.filename or folder
        raise UserError(f"{where}: {error.strerror}; mend that, and the same command goes on") from None


def _is_whole(file: Path) -> bool:
    """Whether an image can be read; not so one that a power cut or a disk has damaged."""
    with suppress(OSError, SyntaxError, ValueError), Image.open(file) as image:
        image.load()
        return True
    return False


@contextmanager
def _claimed(folder: Path, names: list[str], settings: dict[str, Any], overwrite: bool) -> Iterator[None]:
    """Hold the folder for one process and make it the home of this set."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: not a folder; choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted(name for name in os.listdir(folder) if not files.is_clutter(name))
    if others and not overwrite and _earlier_set(folder) is None:
        raise UserError(
            f"{folder}: holds other files, such as {others[0]}; choose another folder, or add --overwrite, which "
            "replaces files of the same names and leaves all others"
        )
    lock = files.try_lock(folder / LOCK)
    if lock is None:
        raise UserError(f"{folder}: another process is writing here; wait for it or stop it")
    try:
        before, earlier_names = _earlier_set(folder) or (None, [])
        if before is not None and before != settings and not overwrite:
            keys = sorted(key for key in before | settings if before.get(key) != settings.get(key))
            differences = "; ".join(f"{key} is {before.get(key)} there and {settings.get(key)} here" for key in keys)
            other = f"{folder}: holds images of other settings ({differences})"
            raise UserError(f"{other}; choose another folder, or add --overwrite")
        if before != settings or overwrite:
            # Old images go before the file says that what is there is new.
            for name in {*earlier_names, *names}:
                (folder / name).unlink(missing_ok=True)
            files.write(folder / MARKER, json.dumps({"settings": settings, "names": names}))
        for left in folder.glob(".*.png.*.partial"):  # by a process that was killed
            left.unlink()
        yield
    finally:
        lock.release()


def _earlier_set(folder: Path) -> tuple[dict[str, Any], list[str]] | None:
    """Settings and names of the set that is there. Names come from a file, and may only be of images beside it."""
    try:
        content = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return dict(content["settings"]), [n for n in content["names"] if Path(n).name == n and n.endswith(".png")]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None
