"""Noise from which images are drawn: each image has a random generator of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor


class ImageNoise:
    """Normal noise for a batch of images, of which none depends on the others.

    The numbers are drawn on the CPU, the same for all devices.

    Args:
        seed: of the whole set, which has a million images at most.
        numbers: which image of the set each of the batch is; two of one number get the same noise.
    """

    def __init__(self, seed: int, numbers: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed * 1_000_003 + number) for number in numbers]

    def draw(self, *shape: int) -> Tensor:
        """(N, *shape) float32; the next numbers at each call."""
        drawn = [torch.randn(shape, generator=generator) for generator in self._generators]
        return torch.stack(drawn) if drawn else torch.empty(0, *shape)
