"""Images as every score takes them: uint8 tensors (N, 3, H, W), 0 to 255."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hw2lib.errors import UserError

if TYPE_CHECKING:
    from hw2lib.data.folders import RealImages
    from hw2lib.data.standins import StandIns


def check_images(images: Tensor, size: int = 0) -> None:
    """Refuse what cannot be scored.

    Args:
        images: what should be uint8 (N, 3, H, W) with N of at least 2.
        size: the height and width that they must have, where a score is defined for one size only.

    Raises:
        UserError: it says what they are instead.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise UserError(f"images of {images.dtype} {tuple(images.shape)} cannot be scored; give uint8 (N, 3, H, W)")
    if len(images) < 2:
        raise UserError(f"{len(images)} image(s) cannot be scored; give at least two, the homework asks for 1,000")
    if size and images.shape[2:] != (size, size):
        raise UserError(f"images of {images.shape[3]}x{images.shape[2]} pixels cannot be scored; give {size}x{size}")


def stored_images(source: "RealImages | StandIns", domain: str, split: str, count: int = 0) -> Tensor:
    """`count` images spread evenly over a split, or all where `count` is 0 or too many; grey becomes RGB."""
    images = source.load(domain, split).images
    if 0 < count < len(images):
        images = images[np.arange(count) * len(images) // count]
    return torch.tensor(images).expand(-1, 3, -1, -1)
