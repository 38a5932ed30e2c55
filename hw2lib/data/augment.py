"""Random changes to a whole batch at once. All draws come from torch's global generator of the images' device.

Images are (N, C, H, W) float32 in [0, 1] and stay so. A probability is per image.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from hw2lib.errors import UserError


class Affine(BaseModel):
    """A random affine map of each image; what it uncovers is filled by reflection."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    rotate: float = Field(0.0, ge=0, le=180, description="largest angle, degrees")
    scale: tuple[float, float] = Field((1.0, 1.0), strict=False, description="smallest and largest magnification")
    aspect: float = Field(0.0, ge=0, le=1, description="largest deviation of ln(width over height) from its middle")
    aspect_middle: float = Field(0.0, ge=-1, le=1, description="0: as often stretched as squeezed")
    shear: float = Field(0.0, ge=0, le=1, description="largest deviation of the horizontal shear from its middle")
    shear_middle: float = Field(0.0, ge=-1, le=1, description="above 0: the top goes to the right more often")
    shift: float = Field(0.0, ge=0, description="largest shift along each axis, pixels")

    @field_validator("scale")
    @classmethod
    def _ordered(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scale[0] <= scale[1]:
            raise ValueError("choose two positive magnifications, the smaller first")
        return scale


def _share(description: str) -> Any:
    """A field from 0 to 1, by default 0."""
    return Field(0.0, ge=0, le=1, description=description)


class Augmentation(BaseModel):
    """What may happen to an image in training, in this order; the default is nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    affine: Affine | None = None
    backgrounds: float = _share("probability of being painted onto a patch of another domain")
    neighbours: float = _share("probability of a part of another digit at each side")
    grey: float = _share("probability that colour is taken away")
    invert: float = _share("probability of the negative")
    invert_channels: float = _share("probability of the negative, of each channel by itself")
    shuffle_channels: float = _share("probability that the channels change places")
    jitter: float = _share("largest relative change of contrast, and of brightness")
    blur: float = _share("probability of a 3x3 blur")
    noise: float = _share("probability of Gaussian noise, standard deviation up to 0.1")
    cutout: float = _share("probability of a square hole, 6 to 12 pixels wide")

    def __call__(self, images: Tensor, others: Tensor | None = None) -> Tensor:
        """The changed images, same shape; `backgrounds` takes its patches from `others`, of the same shape too.

        Raises `UserError` where it needs them and there are none.
        """
        if self.affine:
            images = affine(images, self.affine)
        if self.backgrounds:
            if others is None:
                raise UserError("backgrounds: no other domain to take patches from; only augment_source has one")
            images = _change_some(images, self.backgrounds, partial(painted, others=others))
        if self.neighbours:
            images = add_neighbours(images, self.neighbours)
        images = _change_some(images, self.grey, lambda some: some.mean(1, keepdim=True).expand_as(some))
        images = _change_some(images, self.invert, lambda some: 1 - some)
        if self.invert_channels:
            chosen = torch.rand(*images.shape[:2], 1, 1, device=images.device) < self.invert_channels
            images = torch.where(chosen, 1 - images, images)
        images = _change_some(images, self.shuffle_channels, shuffle_channels)
        if self.jitter:
            images = jitter(images, self.jitter)
        images = _change_some(images, self.blur, blur)
        if self.noise:
            deviation = 0.1 * _uniform(images, 0, 1) * (_uniform(images, 0, 1) < self.noise)
            images = (images + deviation * torch.randn_like(images)).clamp(0, 1)
        return _change_some(images, self.cutout, cut_out)


def _uniform(images: Tensor, low: float, high: float) -> Tensor:
    """One number for each image, (N, 1, 1, 1)."""
    return torch.empty(len(images), 1, 1, 1, device=images.device).uniform_(low, high)


def _change_some(images: Tensor, probability: float, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Change each image with this probability; 0 draws nothing."""
    if not probability:
        return images
    chosen = _uniform(images, 0, 1) < probability
    return torch.where(chosen, change(images), images)


def affine(images: Tensor, limits: Affine) -> Tensor:
    """Rotate, scale, stretch, shear and shift each image by its own amounts, uniform within `limits`."""
    height, width = images.shape[2:]
    angle = _uniform(images, -limits.rotate, limits.rotate).flatten() * math.pi / 180
    scale = _uniform(images, *limits.scale).flatten()
    stretch = ((_uniform(images, -limits.aspect, limits.aspect).flatten() + limits.aspect_middle) / 2).exp()
    shear = _uniform(images, -limits.shear, limits.shear).flatten() + limits.shear_middle
    shift = torch.cat([_uniform(images, -1, 1), _uniform(images, -1, 1)], dim=1).flatten(1) * limits.shift
    right, below = (shift * 2 / torch.tensor([width, height], device=images.device)).unbind(1)
    # grid_sample reads where each output pixel comes from, hence the inverse of the magnifications.
    across, down = 1 / (scale * stretch), stretch / scale
    cos, sin = angle.cos(), angle.sin()
    rows = [cos * across, (cos * shear - sin) * down, right], [sin * across, (sin * shear + cos) * down, below]
    matrix = torch.stack([torch.stack(row, 1) for row in rows], 1)  # (N, 2, 3)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def add_neighbours(images: Tensor, probability: float) -> Tensor:
    """Paste 2 to 8 columns of another image of the batch at the left and right edge, as on a house number."""
    n, _, _, width = images.shape
    other = images[torch.randperm(n, device=images.device)]
    column = torch.arange(width, device=images.device).expand(n, width)
    parts = torch.randint(2, 9, (2, n, 1), device=images.device) * (
        torch.rand(2, n, 1, device=images.device) < probability
    )
    left, right = column < parts[0], column >= width - parts[1]
    # A neighbour's ink begins about five columns from its own edge: show its near side.
    origin = torch.where(left, column - parts[0] + width - 5, column - width + parts[1] + 5)
    origin = torch.where(left | right, origin, column)[:, None, None, :].expand_as(images)
    return torch.where((left | right)[:, None, None, :], other.gather(3, origin), images)


def jitter(images: Tensor, amount: float) -> Tensor:
    """Change contrast about the mean by a factor of 1 - `amount` to 1 + `amount`, then add up to half of it."""
    mean = images.mean((1, 2, 3), keepdim=True)
    contrast = _uniform(images, 1 - amount, 1 + amount)
    brightness = _uniform(images, -amount / 2, amount / 2)
    return ((images - mean) * contrast + mean + brightness).clamp(0, 1)


def blur(images: Tensor) -> Tensor:
    """The binomial 3x3 filter (1 2 1), reflected at the edge."""
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    rows = (padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]) / 4
    return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 4


PATCH = Affine(rotate=180, scale=(1.8, 3.0), shift=8)  # of another image, so large that nothing is read in it
CONTRAST = (0.25, 0.8)  # between the ink and what it is painted on


def painted(images: Tensor, others: Tensor) -> Tensor:
    """Each image as ink on an enlarged patch of another: where it is 1 there is the ink, and where it is 0 the patch.

    The ink is lighter or darker than the mean of its patch by `CONTRAST`, whichever there is room for, and a little
    tinted. It is for white digits on black.
    """
    patch = affine(others, PATCH)
    mean = patch.mean((1, 2, 3), keepdim=True)
    lighter = _uniform(images, 0, 1) < 1 - mean
    distance = _uniform(images, *CONTRAST) * torch.where(lighter, 1.0, -1.0)
    tint = torch.empty(*images.shape[:2], 1, 1, device=images.device).uniform_(-0.15, 0.15)
    ink = (mean + distance + tint).clamp(0, 1)
    return images * ink + (1 - images) * patch


def shuffle_channels(images: Tensor) -> Tensor:
    """The channels of each image in an order of its own."""
    order = torch.rand(images.shape[:2], device=images.device).argsort(1)
    return images.gather(1, order[:, :, None, None].expand_as(images))


def cut_out(images: Tensor) -> Tensor:
    """A square of 6 to 12 pixels, somewhere, in the image's mean (DeVries and Taylor 2017)."""
    height, width = images.shape[-2:]
    half = _uniform(images, 3, 6)
    down = (torch.arange(height, device=images.device)[:, None] - _uniform(images, 0, height)).abs() <= half
    across = (torch.arange(width, device=images.device) - _uniform(images, 0, width)).abs() <= half
    return torch.where(down & across, images.mean((1, 2, 3), keepdim=True), images)
