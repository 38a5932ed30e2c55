"""One PNG file to one array, refusing everything that the homework's folders do not hold."""

import io
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from hw2lib.errors import UserError

COLOURS = {1: "grey", 3: "RGB"}  # by number of channels

_HEADER = struct.Struct(">16sIIB")  # how a PNG file begins, its width and height, and bits a channel
_BEGINNING = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


def read_png(path: str | Path, size: int) -> np.ndarray:
    """Decode one image.

    Args:
        path: a PNG file, grey or RGB, 8 bits a channel.
        size: its height and its width in pixels.

    Returns:
        ``(C, size, size)`` uint8, C is 1 or 3.

    Raises:
        UserError: the file is not there, truncated, no PNG, or of another size, depth or kind of colour.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
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
        if image.mode not in ("L", "RGB"):
            raise UserError(f"{path}: image of mode {image.mode}; convert it to grey (L) or RGB")
        if b"IEND" not in content:  # Pillow forgives a missing end when it has all pixels
            raise UserError(f"{path}: truncated image; copy or download it again")
        pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise UserError(f"{path}: truncated, or not a PNG image; copy or download it again") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
