"""Noise from which images are drawn: each image has a random generator of its own."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hw2lib.errors import UserError

PLACES = 1_000_003  # a seed has so many: of images, or of steps of a training
LARGEST_SEED = 2**32 // PLACES - 2  # a CPU generator takes 32 bits of what it is given: others would repeat these


class ImageNoise:
    """Normal noise for a batch of images, of which none depends on the others, drawn on the CPU for all devices alike.

    The seed, 0 to `LARGEST_SEED` or a `UserError`, is of a set of a million images at most. The numbers say which image
    of the set each of the batch is; two of one number get the same noise.
    """

    def __init__(self, seed: int, numbers: Sequence[int]) -> None:
        if not 0 <= seed <= LARGEST_SEED:
            raise UserError(f"seed {seed}: give 0 to {LARGEST_SEED}")
        self._generators = [torch.Generator().manual_seed(seed * PLACES + number) for number in numbers]

    def draw(self, *shape: int) -> Tensor:
        """(N, *shape) float32; the next numbers at each call."""
        drawn = [torch.randn(shape, generator=generator) for generator in self._generators]
        return torch.stack(drawn) if drawn else torch.empty(0, *shape)
