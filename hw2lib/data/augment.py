"""Random changes to a whole batch at once. All draws come from torch's global generator of the images' device.

Images are (N, C, H, W) float32 in [0, 1] and stay so. A probability is per image.
"""

import math

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor


class Affine(BaseModel):
    """A random affine map of each image; what it uncovers is filled by reflection."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    rotate: float = Field(0.0, ge=0, le=180, description="largest angle, degrees")
    scale: tuple[float, float] = Field((1.0, 1.0), strict=False, description="smallest and largest magnification")
    aspect: float = Field(0.0, ge=0, le=1, description="largest logarithm of width over height")
    shear: float = Field(0.0, ge=0, le=1, description="largest horizontal shear")
    shift: float = Field(0.0, ge=0, description="largest shift along each axis, pixels")

    @field_validator("scale")
    @classmethod
    def _ordered(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if not 0 < scale[0] <= scale[1]:
            raise ValueError("choose two positive magnifications, the smaller first")
        return scale


class Augmentation(BaseModel):
    """What may happen to an image in training, in this order; the default is nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    affine: Affine | None = None
    neighbours: float = Field(0.0, ge=0, le=1, description="probability of a part of another digit at each side")
    grey: float = Field(0.0, ge=0, le=1, description="probability that colour is taken away")
    invert: float = Field(0.0, ge=0, le=1, description="probability of the negative")
    jitter: float = Field(0.0, ge=0, le=1, description="largest relative change of contrast, and of brightness")
    blur: float = Field(0.0, ge=0, le=1, description="probability of a 3x3 blur")
    noise: float = Field(0.0, ge=0, le=1, description="probability of Gaussian noise, standard deviation up to 0.1")

    def __call__(self, images: Tensor) -> Tensor:
        """Return the changed images, same shape."""
        if self.affine:
            images = affine(images, self.affine)
        if self.neighbours:
            images = add_neighbours(images, self.neighbours)
        if self.grey:
            images = torch.where(_chosen(images, self.grey), images.mean(1, keepdim=True).expand_as(images), images)
        if self.invert:
            images = torch.where(_chosen(images, self.invert), 1 - images, images)
        if self.jitter:
            images = jitter(images, self.jitter)
        if self.blur:
            images = torch.where(_chosen(images, self.blur), blur(images), images)
        if self.noise:
            deviation = 0.1 * _uniform(images, 0, 1) * _chosen(images, self.noise)
            images = (images + deviation * torch.randn_like(images)).clamp(0, 1)
        return images


def _uniform(images: Tensor, low: float, high: float) -> Tensor:
    """One number for each image, (N, 1, 1, 1)."""
    return torch.empty(len(images), 1, 1, 1, device=images.device).uniform_(low, high)


def _chosen(images: Tensor, probability: float) -> Tensor:
    return _uniform(images, 0, 1) < probability


def affine(images: Tensor, limits: Affine) -> Tensor:
    """Rotate, scale, stretch, shear and shift each image by its own amounts, uniform within `limits`."""
    n, _, height, width = images.shape
    angle = _uniform(images, -limits.rotate, limits.rotate).flatten() * math.pi / 180
    scale = _uniform(images, *limits.scale).flatten()
    stretch = (_uniform(images, -limits.aspect, limits.aspect).flatten() / 2).exp()
    shear = _uniform(images, -limits.shear, limits.shear).flatten()
    shift = torch.cat([_uniform(images, -1, 1).flatten(1), _uniform(images, -1, 1).flatten(1)], dim=1) * limits.shift
    # grid_sample reads where each output pixel comes from, hence the inverse of the magnifications.
    across, down = 1 / (scale * stretch), stretch / scale
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.empty(n, 2, 3, device=images.device)
    matrix[:, 0, 0] = cos * across
    matrix[:, 0, 1] = (cos * shear - sin) * down
    matrix[:, 1, 0] = sin * across
    matrix[:, 1, 1] = (sin * shear + cos) * down
    matrix[:, :, 2] = shift * 2 / torch.tensor([width, height], device=images.device)
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
