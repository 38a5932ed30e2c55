"""A folder of images, read to be scored."""

import os
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from hw2lib.data.png import read_png
from hw2lib.errors import UserError

_DIGIT_FIRST = re.compile(r"[0-9](?![0-9])")


def png_names(folder: Path) -> list[str]:
    """The names of the PNG files in a folder, sorted; hidden ones do not count. `UserError` if it cannot be read."""
    try:
        return sorted(name for name in os.listdir(folder) if name.lower().endswith(".png") and name[0] != ".")
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}; name a folder of PNG images") from None


def read_folder(folder: Path, size: int) -> tuple[list[str], Tensor]:
    """All PNG files of a folder.

    Args:
        folder: the folder; what lies in folders below it is not read, nor are hidden files.
        size: height and width that every image must have.

    Returns:
        Their names, sorted, and the images, uint8 (N, 3, size, size); grey ones become RGB.

    Raises:
        UserError: no such folder, fewer than two images, or an image that cannot be read or is of another size.
    """
    names = png_names(folder)
    if len(names) < 2:
        raise UserError(f"{folder}: holds {len(names) or 'no'} PNG image; a score needs two at least, better 1,000")
    # One process: to start others takes longer than a thousand images.
    images = np.empty((len(names), 3, size, size), np.uint8)
    for i, name in enumerate(tqdm(names, desc=str(folder), unit=" images")):
        images[i] = read_png(folder / name, size)
    return names, torch.from_numpy(images)


def labels_of(folder: Path, names: list[str]) -> Tensor:
    """The digits (N,) that names such as ``7_001.png`` begin with.

    Raises:
        UserError: a name that begins with no digit, or with a number of several.
    """
    for name in names:
        if not _DIGIT_FIRST.match(name):
            raise UserError(f"{folder / name}: the name does not begin with the image's digit, as 7_001.png does")
    return torch.tensor([int(name[0]) for name in names])
