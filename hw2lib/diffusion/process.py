"""The forward process, from an image to noise, and what training needs of it."""

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
