"""What discriminator and generator minimise, in float32, and the augmentation of what the discriminator sees."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Literal["bce", "hinge", "wasserstein"]
Change = Literal["colour", "translation", "cutout"]


def discriminator_loss(kind: Loss, real: Tensor, fake: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The loss of a discriminator from its outputs (N,) on real and on generated images.

    Args:
        kind: ``bce``: outputs are probabilities (Goodfellow et al. 2014, equation 1). ``hinge``: scores (Lim and Ye
            2017; Zhang et al. 2019, equation 4). ``wasserstein``: scores (Arjovsky et al. 2017, equation 2), to be
            used with `gradient_penalty`.
        real: outputs on real images.
        fake: outputs on generated images.
        label_smoothing: for ``bce``, the real label is one minus this (Salimans et al. 2016, section 3.4).
    """
    real, fake = real.float(), fake.float()
    if kind == "bce":
        return _cross_entropy(real, 1 - label_smoothing) + _cross_entropy(fake, 0.0)
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return fake.mean() - real.mean()


def generator_loss(kind: Loss, fake: Tensor) -> Tensor:
    """The loss of a generator from the discriminator's outputs (N,) on its images; non-saturating for ``bce``."""
    fake = fake.float()
    return _cross_entropy(fake, 1.0) if kind == "bce" else -fake.mean()


def _cross_entropy(probability: Tensor, label: float) -> Tensor:
    """The binary cross-entropy, which is NaN where a probability is; torch's own ends a process on a GPU then."""
    known = probability.nan_to_num(0.5)
    return F.binary_cross_entropy(known, torch.full_like(known, label)) + 0 * probability.sum()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Mean squared distance from 1 of the norm of the critic's gradient (Gulrajani et al. 2017, equation 3).

    The gradient is taken at points drawn uniformly between pairs of real and generated images (N, C, H, W). Call it
    outside of autocast: a second derivative in bfloat16 is mostly noise.
    """
    mix = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = torch.lerp(fake.detach().float(), real.float(), mix).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def augment(images: Tensor, changes: tuple[Change, ...]) -> Tensor:
    """Differentiable augmentation (Zhao et al. 2020): random changes of each image (N, C, H, W) in [-1, 1].

    The discriminator sees real and generated images after the same changes. The generator learns through them, so that
    they do not leak into its images. ``colour`` moves brightness by up to 0.5, saturation by up to a factor of 2 and
    contrast by 0.5 to 1.5; ``translation`` shifts by up to an eighth of the size, grey outside; ``cutout`` greys a
    square of half the size.
    """
    for change in changes:
        images = _CHANGES[change](images)
    return images


def _colour(images: Tensor) -> Tensor:
    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(len(images), 1, 1, 1, device=images.device).uniform_(low, high)

    images = images + uniform(-0.5, 0.5)
    images = torch.lerp(images.mean(1, keepdim=True), images, uniform(0.0, 2.0))
    return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, uniform(0.5, 1.5))


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
