"""What defines the training of a generator against its discriminator: its recipe and the losses.

Losses are taken in float32.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from hw2lib.data import FACES
from hw2lib.networks import names
from hw2lib.training.recipe import NetworkRecipe

Loss = Literal["bce", "hinge", "wasserstein"]
Change = Literal["colour", "translation", "cutout"]  # of what the discriminator sees
SCORING = ("wgan-gp-sn", "sagan")  # discriminators without a sigmoid
Decay = Annotated[float, Field(ge=0, lt=1)]


class Recipe(NetworkRecipe):
    """One run. A step is an update of the generator, and of the discriminator `critic_steps` before it."""

    task = "gan"

    network: Literal[names("gan")]
    domain: Literal["face", "mnistm"]
    loss: Loss
    critic_steps: int = Field(gt=0)
    gradient_penalty: float = Field(ge=0, description="weight; 0: none")
    generator_rate: float = Field(gt=0)
    discriminator_rate: float = Field(gt=0)
    discriminator_optimiser: Literal["adam", "sgd"]
    betas: tuple[Decay, Decay] = Field(strict=False, description="of Adam")
    label_smoothing: float = Field(ge=0, lt=1, description="for the loss bce only")
    flip: bool = Field(description="mirror half of the real images")
    augment: tuple[Change, ...] = Field(strict=False, description="differentiable augmentation")
    class_weight: float = Field(default=1.0, ge=0, description="of the class loss for the generator")
    fake_class_weight: float = Field(default=1.0, ge=0, description="of that of generated images for the discriminator")
    scored: int = Field(default=1000, gt=1, description="images that are scored for each evaluation")

    @field_validator("domain", "loss", "label_smoothing")
    @classmethod
    def _fitting(cls, value: Any, info: ValidationInfo) -> Any:
        network = info.data.get("network")
        if info.field_name == "domain" and (value == FACES) == (network == "acgan"):
            raise ValueError("acgan draws digits, the others draw faces")
        if info.field_name == "loss" and (value == "bce") == (network in SCORING):
            raise ValueError(f"{', '.join(SCORING)} give scores, the others a probability, for which there is bce")
        if info.field_name == "label_smoothing" and value and info.data.get("loss") != "bce":
            raise ValueError("only the loss bce has labels that can be smoothed")
        return value

    @property
    def domains(self) -> tuple[str, ...]:
        return (self.domain,)


def discriminator_loss(kind: Loss, real: Tensor, fake: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The loss of a discriminator from its outputs (N,) on real and on generated images.

    Outputs are probabilities for ``bce`` (Goodfellow et al. 2014, equation 1), whose real label is one minus
    `label_smoothing` (Salimans et al. 2016, section 3.4), and scores for ``hinge`` (Lim and Ye 2017; Zhang et al. 2019,
    equation 4) and ``wasserstein`` (Arjovsky et al. 2017, equation 2), to be used with `gradient_penalty`.
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

    The gradient is taken at points drawn uniformly between pairs of real and generated images (N, C, H, W), outside
    of autocast: a second derivative in bfloat16 is mostly noise.
    """
    mix = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = torch.lerp(fake.detach().float(), real.float(), mix).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def augment(images: Tensor, changes: tuple[Change, ...]) -> Tensor:
    """Differentiable augmentation (Zhao et al. 2020): random changes of each image (N, C, H, W) in [-1, 1].

    The generator learns through them, so that they do not leak into its images. ``colour`` moves brightness by up to
    0.5, saturation by up to a factor of 2 and contrast by 0.5 to 1.5; ``translation`` shifts by up to an eighth of the
    size, grey outside; ``cutout`` greys a square of half the size.
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
    which, rows, columns = (torch.arange(size, device=images.device) for size in (n, height, width))
    # Memory that is laid out pixel by pixel stays so: (N, H, W, C).
    padded = F.pad(images, (most, most, most, most)).permute(0, 2, 3, 1)
    moved = padded[which[:, None, None], (rows + down)[:, :, None], (columns + right)[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _cutout(images: Tensor) -> Tensor:
    n, _, height, width = images.shape
    top = torch.randint(-(height // 4), height - height // 4 + 1, (n, 1, 1), device=images.device)
    left = torch.randint(-(width // 4), width - width // 4 + 1, (n, 1, 1), device=images.device)
    rows, columns = torch.arange(height, device=images.device)[:, None], torch.arange(width, device=images.device)
    hole = (rows >= top) & (rows < top + height // 2) & (columns >= left) & (columns < left + width // 2)
    return images.masked_fill(hole[:, None], 0.0)


_CHANGES = {"colour": _colour, "translation": _translation, "cutout": _cutout}
