"""What discriminator and generator minimise. All losses are taken in float32."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Literal["bce", "hinge", "wasserstein"]


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
        label = torch.full_like(real, 1 - label_smoothing)
        return F.binary_cross_entropy(real, label) + F.binary_cross_entropy(fake, torch.zeros_like(fake))
    if kind == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    return fake.mean() - real.mean()


def generator_loss(kind: Loss, fake: Tensor) -> Tensor:
    """The loss of a generator from the discriminator's outputs (N,) on its images; non-saturating for ``bce``."""
    fake = fake.float()
    if kind == "bce":
        return F.binary_cross_entropy(fake, torch.ones_like(fake))
    return -fake.mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """Mean squared distance from 1 of the norm of the critic's gradient (Gulrajani et al. 2017, equation 3).

    The gradient is taken at points drawn uniformly between pairs of real and generated images (N, C, H, W). Call it
    outside of autocast: a second derivative in bfloat16 is mostly noise.
    """
    mix = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = torch.lerp(fake.detach().float(), real.float(), mix).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
