"""Differentiable augmentation (Zhao et al. 2020): the same random changes to what the discriminator sees, real or not.

The generator learns through them, so that they do not leak into its images.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Change = Literal["colour", "translation", "cutout"]


def augment(images: Tensor, changes: tuple[Change, ...]) -> Tensor:
    """Images (N, C, H, W) in [-1, 1], each changed on its own.

    ``colour`` moves brightness by up to 0.5, saturation by up to a factor of 2 and contrast by 0.5 to 1.5;
    ``translation`` shifts by up to an eighth of the size, grey outside; ``cutout`` greys a square of half the size.
    """
    for change in changes:
        images = _CHANGES[change](images)
    return images


def _uniform(images: Tensor, low: float, high: float) -> Tensor:
    return torch.empty(len(images), 1, 1, 1, device=images.device).uniform_(low, high)


def _colour(images: Tensor) -> Tensor:
    images = images + _uniform(images, -0.5, 0.5)
    images = torch.lerp(images.mean(1, keepdim=True), images, _uniform(images, 0.0, 2.0))
    return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, _uniform(images, 0.5, 1.5))


def _translation(images: Tensor) -> Tensor:
    n, _, height, width = images.shape
    most = max(1, height // 8)
    down, right = torch.randint(2 * most + 1, (2, n, 1), device=images.device)
    rows = torch.arange(height, device=images.device) + down
    columns = torch.arange(width, device=images.device) + right
    # Memory that is laid out pixel by pixel stays so: (N, H, W, C).
    padded = F.pad(images, (most, most, most, most)).permute(0, 2, 3, 1)
    which = torch.arange(n, device=images.device)
    return padded[which[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _cutout(images: Tensor) -> Tensor:
    n, _, height, width = images.shape
    top = torch.randint(-(height // 4), height - height // 4 + 1, (n, 1, 1), device=images.device)
    left = torch.randint(-(width // 4), width - width // 4 + 1, (n, 1, 1), device=images.device)
    rows = torch.arange(height, device=images.device)[:, None]
    columns = torch.arange(width, device=images.device)[None, :]
    hole = (rows >= top) & (rows < top + height // 2) & (columns >= left) & (columns < left + width // 2)
    return images.masked_fill(hole[:, None], 0.0)


_CHANGES = {"colour": _colour, "translation": _translation, "cutout": _cutout}
