"""The forward process, from an image to noise, and what training needs of it."""

import torch
from torch import Tensor

from hw2lib.diffusion.schedule import Schedule


def noised(images: Tensor, noise: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """Images (N, ...) at steps t (N,): sqrt(alpha_bar) x + sqrt(1 - alpha_bar) noise (Ho et al. 2020, equation 4)."""
    alpha_bar = schedule.alpha_bar.to(t.device)[t].reshape(-1, *[1] * (images.ndim - 1))
    return alpha_bar.sqrt().to(images.dtype) * images + (1 - alpha_bar).sqrt().to(images.dtype) * noise


def velocity(images: Tensor, noise: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """What a network may predict in place of the noise: sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) images.

    So Salimans and Ho 2022, appendix D. Where there is much noise, it is the image and not the noise that is asked for,
    and a network need not learn to pass on what it reads.

    Args:
        images, noise: (N, ...).
        t: (N,) steps.
        schedule: the noise schedule.
    """
    return noised(noise, -images, t, schedule)


def noise_of(velocity: Tensor, noisy: Tensor, t: Tensor, schedule: Schedule) -> Tensor:
    """The noise in images at steps t, by `velocity`: sqrt(alpha_bar) velocity + sqrt(1 - alpha_bar) noisy."""
    return noised(velocity, noisy, t, schedule)


def min_snr_weights(t: Tensor, schedule: Schedule, cap: float) -> Tensor:
    """Weights (N,) of the loss of noise at steps t (N,): min(SNR, cap) / SNR (Hang et al. 2023, section 3.4).

    The signal-to-noise ratio is alpha_bar / (1 - alpha_bar). Where there is little noise, its loss is large and says
    little about what the image is of; without these weights it drowns the steps at which that is decided.
    """
    alpha_bar = schedule.alpha_bar.to(t.device)[t]
    return (cap * (1 - alpha_bar) / alpha_bar).clamp(max=1).float()


def dropped(labels: Tensor, probability: float) -> Tensor:
    """Labels (N,), each on its own replaced by -1, no label, with that probability (Ho and Salimans 2022)."""
    gone = torch.rand(labels.shape, device=labels.device) < probability
    return labels.masked_fill(gone, -1)
