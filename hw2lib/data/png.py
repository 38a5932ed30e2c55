"""PNG files as arrays, refusing everything that the homework's folders do not hold."""

import hashlib
import io
import struct
import warnings
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from hw2lib.errors import UserError
from hw2lib.files import check_is_file

COLOURS = {1: "grey", 3: "RGB"}  # by number of channels

_HEADER = struct.Struct(">16sIIB")  # how a PNG file begins, its width and height, and bits a channel
_BEGINNING = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_CHUNK = 512  # images that a worker decodes before it hands them back


def read_png(path: str | Path, size: int) -> np.ndarray:
    """The pixels of a PNG file, grey or RGB, 8 bits a channel: ``(C, size, size)`` uint8, C is 1 or 3.

    Raises `UserError` if it is not there, truncated, no PNG, or of another size, depth or kind of colour.
    """
    try:
        check_is_file(Path(path))
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        beginning, width, height, depth = _HEADER.unpack_from(content)
        if beginning != _BEGINNING:
            raise ValueError("no PNG")
        if (width, height) != (size, size):  # seen here, since Pillow raises errors of its own for a huge one
            raise UserError(f"{path}: {width}x{height} pixels; it must be {size}x{size}")
        if depth == 16:  # Pillow would scale 16-bit RGB to 8 without a word
            raise UserError(f"{path}: 16-bit image; convert it to 8 bits a channel")
        image = Image.open(io.BytesIO(content), formats=("PNG",))
        if image.size != (size, size):
            raise ValueError("a second header, with another size")
        if image.mode not in ("L", "RGB"):
            raise UserError(f"{path}: image of mode {image.mode}; convert it to grey (L) or RGB")
        if b"IEND" not in content:  # Pillow forgives a missing end when it has all pixels
            raise UserError(f"{path}: truncated image; copy or download it again")
        pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: truncated, or not a PNG image; copy or download it again") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def decode(folder: Path, names: list[str], size: int, npy: Path, title: str) -> str:
    """Decode the images of a folder on all cores into the file ``npy``: ``(N, C, size, size)`` uint8, in order.

    Returns SHA-256 (hex) of shape and pixels. The progress bar has the title. Raises `UserError` for an image that is
    not as it should be, and for grey and RGB images mixed; OSError where the file cannot be written.
    """
    from joblib import Parallel, delayed  # only here: reading one image does not wait for it

    channels = len(read_png(folder / names[0], size))
    shape = (len(names), channels, size, size)
    digest = hashlib.sha256(repr(shape).encode())
    parts = [names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    workers = Parallel(n_jobs=-1 if len(parts) > 1 else 1, return_as="generator")
    with (
        warnings.catch_warnings(action="ignore", category=UserWarning),  # joblib's, on work dropped after an error
        open(npy, "wb") as file,  # no memory map: on a full disk it would kill the process
        tqdm(total=len(names), desc=title, unit=" images", mininterval=0.5) as bar,
        closing(workers(delayed(_decode_chunk)(folder, part, size, channels) for part in parts)) as chunks,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for images in chunks:
            file.write(images)
            digest.update(images)
            bar.update(len(images))
    return digest.hexdigest()


def _decode_chunk(folder: Path, names: list[str], size: int, channels: int) -> np.ndarray:
    images = np.empty((len(names), channels, size, size), np.uint8)
    for i, name in enumerate(names):
        image = read_png(f"{folder}/{name}", size)
        if len(image) != channels:
            this, others = COLOURS[len(image)], COLOURS[channels]
            raise UserError(f"{folder}/{name}: {this} among {others} images; make the split all grey or all RGB")
        images[i] = image
    return images
