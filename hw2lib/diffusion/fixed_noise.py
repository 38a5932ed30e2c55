"""The noise 00 to 09 from which the homework has faces drawn: named, so that all draw the same, or the user's files."""

import io
import os
from pathlib import Path

import torch
from torch import Tensor

from hw2lib import weights as weights_files
from hw2lib.errors import UserError
from hw2lib.noise import ImageNoise

SEED = 0
LARGEST = 1024  # pixels
NAMES = tuple(f"{number:02d}" for number in range(10))


def named(size: int) -> Tensor:
    """(10, 3, size, size) float32, normal: the first ten of seed 0, with which faces 0000 to 0009 begin as well."""
    return ImageNoise(SEED, range(len(NAMES))).draw(3, size, size)


def write(folder: Path, size: int, overwrite: bool = False) -> None:
    """Write `named` as ``00.pt`` to ``09.pt``, float32 (1, 3, size, size) each, as the homework has them.

    Raises:
        UserError: a size of none, files of these names that are there and not to be overwritten, or a bad disk; what
            was there stays then.
    """
    if not 1 <= size <= LARGEST:
        raise UserError(f"size {size}: give 1 to {LARGEST} pixels")
    if not overwrite and (there := [name for name in NAMES if (folder / f"{name}.pt").exists()]):
        raise UserError(f"{folder}: has {there[0]}.pt already; choose another folder, or add --overwrite")
    partial = {folder / f".{name}.pt.partial": folder / f"{name}.pt" for name in NAMES}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for temporary, noise in zip(partial, named(size).split(1), strict=True):
            content = io.BytesIO()
            torch.save(noise.clone(), content)  # a view would bring all ten along
            temporary.write_bytes(content.getvalue())
        for temporary, file in partial.items():
            os.replace(temporary, file)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: {error.strerror}; choose a folder that can be written") from None
    finally:
        for temporary in partial:
            if temporary.parent.is_dir():
                temporary.unlink(missing_ok=True)


def read(folder: Path, size: int) -> Tensor:
    """The noise in ``00.pt`` to ``09.pt``, (10, 3, size, size) float32.

    Raises:
        UserError: a file is missing or damaged, holds code, or holds anything but one finite noise of that size.
    """
    return torch.cat([_read_one(folder / f"{name}.pt", size) for name in NAMES])


def _read_one(file: Path, size: int) -> Tensor:
    give = f"a tensor (1, 3, {size}, {size}) of floats in a file of torch.save; hw2 noise --size {size} writes such"
    noise = weights_files.read_torch(file, give)
    if not weights_files.is_plain(noise):
        raise UserError(f"{file}: holds a {type(noise).__name__} that is no plain tensor; give {give}")
    if noise.shape not in ((1, 3, size, size), (3, size, size)) or not noise.is_floating_point():
        raise UserError(f"{file}: holds {tuple(noise.shape)} {str(noise.dtype).removeprefix('torch.')}; give {give}")
    noise = noise.detach().float().reshape(1, 3, size, size)
    if not noise.isfinite().all():
        raise UserError(f"{file}: holds numbers that are not finite; give {give}")
    return noise


def fixed(folder: str, size: int) -> Tensor:
    """Noise 00 to 09, (10, 3, size, size): that of a folder, or, where `folder` is empty, `named`."""
    return read(Path(folder).expanduser(), size) if folder else named(size)
