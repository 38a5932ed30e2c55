"""A split's PNG files into one .npy file, on all cores, with a progress bar."""

import hashlib
import warnings
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from hw2lib.data.png import COLOURS, read_png
from hw2lib.errors import UserError

_CHUNK = 512  # images that a worker decodes before it hands them back


def decode(folder: Path, names: list[str], size: int, npy: Path, title: str) -> str:
    """Decode images into ``npy``, an array ``(N, C, size, size)`` uint8 in the order of ``names``.

    It is written with plain writes: on a full disk these raise, where a memory map would kill the process.

    Args:
        folder: the images' folder.
        names: their file names, at least one.
        size: height and width of every image in pixels.
        npy: the file to write.
        title: what the progress bar says.

    Returns:
        SHA-256 (hex) of shape and pixels.

    Raises:
        UserError: an image that is not as it should be, or grey and RGB images mixed.
        OSError: the file cannot be written.
    """
    channels = len(read_png(folder / names[0], size))
    shape = (len(names), channels, size, size)
    digest = hashlib.sha256(repr(shape).encode())
    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),  # joblib's, on work dropped after an error
        open(npy, "wb") as file,
        tqdm(total=len(names), desc=title, unit=" images", mininterval=0.5) as bar,
        closing(_chunks(folder, names, size, channels)) as chunks,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for images in chunks:
            file.write(images)
            digest.update(images)
            bar.update(len(images))
    return digest.hexdigest()


def _chunks(folder: Path, names: list[str], size: int, channels: int) -> Generator[np.ndarray, None, None]:
    """The images in order, ``(n, C, H, W)`` at a time, by one worker process a core."""
    chunks = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    in_workers = Parallel(n_jobs=-1 if len(chunks) > 1 else 1, return_as="generator")
    return in_workers(delayed(_decode_chunk)(folder, chunk, size, channels) for chunk in chunks)


def _decode_chunk(folder: Path, names: list[str], size: int, channels: int) -> np.ndarray:
    images = np.empty((len(names), channels, size, size), np.uint8)
    for i, name in enumerate(names):
        image = read_png(f"{folder}/{name}", size)
        if len(image) != channels:
            this, others = COLOURS[len(image)], COLOURS[channels]
            raise UserError(f"{folder}/{name}: {this} among {others} images; make the split all grey or all RGB")
        images[i] = image
    return images
