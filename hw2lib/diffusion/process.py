"""The forward process, from an image to noise, and what training needs of it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hw2lib.diffusion.schedule import Schedule


def noised(images: Tensor, noise: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """Images (N, ...) at steps t (N,): sqrt(alpha_bar) x + sqrt(1 - alpha_bar) noise (Ho et al. 2020, equation 4)."""
    alpha_bar = schedule.alpha_bar.to(t.device)[t].reshape(-1, *[1] * (images.ndim - 1))
    return alpha_bar.sqrt().to(images.dtype) * images + (1 - alpha_bar).sqrt().to(images.dtype) * noise


def dropped(labels: Tensor, probability: float) -> Tensor:
    """Labels (N,), each on its own replaced by -1, no label, with that probability (Ho and Salimans 2022)."""
    gone = torch.rand(labels.shape, device=labels.device) < probability
    return labels.masked_fill(gone, -1)


class ImageNoise:
    """Normal noise for a batch in which each image has a random generator of its own.

    So an image does not depend on the batch that it is drawn in. The numbers are drawn on the CPU, the same for all
    devices.

    Args:
        seed: of the whole set.
        numbers: which image of the set each of the batch is; two of one number get the same noise.
    """

    def __init__(self, seed: int, numbers: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed * 1_000_003 + number) for number in numbers]

    def draw(self, *shape: int) -> Tensor:
        """(N, *shape) float32; the next numbers at each call."""
        return torch.stack([torch.randn(shape, generator=generator) for generator in self._generators])
