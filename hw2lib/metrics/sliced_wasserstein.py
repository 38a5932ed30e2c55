"""Sliced Wasserstein distance between patches of images, level by level of a Laplacian pyramid (Karras et al. 2018).

Section 5 and the published procedure: 128 patches of 7x7 pixels an image at each level of 64, 32 and 16 pixels, each
set normalised by its own mean and deviation a channel, then the mean Wasserstein distance of one-dimensional
projections, times 1,000. The level of 64 shows how alike the finest details are, that of 16 the coarse structure.

Two choices are ours: the directions are the same in every call, and a projection is kept as 256 of its quantiles. So a
set of images shrinks to statistics of 0.8 MB, with which others can be compared when the images are not at hand. Values
compare with one another, hardly with those of papers, which are of other images.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hw2lib.metrics.images import check_images

LEVELS = (64, 32, 16)
PATCH = 7
PATCHES = 128  # an image and level
DIRECTIONS = 256
QUANTILES = 256

Statistics = dict[int, Tensor]  # level to quantiles (DIRECTIONS, QUANTILES), float32


def statistics(images: Tensor, seed: int = 0) -> Statistics:
    """What the distance needs to know of uint8 images (N, 3, 64, 64); `seed` chooses the places of the patches.

    Raises `UserError` for images of another size, or fewer than two.
    """
    check_images(images, LEVELS[0])
    generator = torch.Generator().manual_seed(seed)
    return {
        level: quantiles(normalise(patches(band, generator)).flatten(1), directions(3 * PATCH**2))
        for level, band in zip(LEVELS, laplacian_pyramid(images.cpu().float()), strict=True)
    }


def distance(a: Statistics, b: Statistics) -> dict[str, float]:
    """The distance times 1,000 at each level, ``"64"``, ``"32"`` and ``"16"``, and their ``"mean"``."""
    levels = {str(level): 1000 * wasserstein(a[level], b[level]) for level in LEVELS}
    return {**levels, "mean": sum(levels.values()) / len(levels)}


def wasserstein(a: Tensor, b: Tensor) -> float:
    """Mean over directions of the Wasserstein-1 distance between projections, given as :func:`quantiles`."""
    return (a - b).abs().mean().item()


def directions(dimensions: int) -> Tensor:
    """The fixed random unit vectors (DIRECTIONS, dimensions) on which patches are projected."""
    vectors = torch.randn(DIRECTIONS, dimensions, generator=torch.Generator().manual_seed(0))
    return F.normalize(vectors, dim=1)


def quantiles(points: Tensor, directions: Tensor) -> Tensor:
    """Project points (N, D) on directions (K, D); return (K, QUANTILES) evenly spread quantiles of the projections."""
    place = ((torch.arange(QUANTILES) + 0.5) / QUANTILES * len(points) - 0.5).clamp(0, len(points) - 1)
    below, share = place.long(), place.frac()
    above = (below + 1).clamp(max=len(points) - 1)
    rows = []
    for some in directions.split(32):  # not all at once: a projection is as long as there are patches
        ordered = torch.from_numpy(np.sort((some @ points.T).numpy(), axis=1))  # numpy sorts several times faster
        rows.append(torch.lerp(ordered[:, below], ordered[:, above], share))
    return torch.cat(rows)


def normalise(patches: Tensor) -> Tensor:
    """Give each channel of (N, C, H, W) mean 0 and deviation 1 over the whole set; one that never varies becomes 0."""
    deviation, mean = torch.std_mean(patches, (0, 2, 3), correction=0, keepdim=True)
    return (patches - mean) / deviation.clamp_min(1e-6)


def patches(images: Tensor, generator: torch.Generator) -> Tensor:
    """PATCHES patches at random places of each image (N, C, H, W): (N * PATCHES, C, PATCH, PATCH)."""
    n, channels, size, _ = images.shape
    top, left = torch.randint(size - PATCH + 1, (2, n, PATCHES, 1), generator=generator)
    inside = torch.arange(PATCH**2)
    place = ((top + inside // PATCH) * size + left + inside % PATCH).view(n, 1, -1).expand(-1, channels, -1)
    pixels = images.flatten(2).gather(2, place).view(n, channels, PATCHES, PATCH, PATCH)
    return pixels.transpose(1, 2).reshape(-1, channels, PATCH, PATCH)


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """The bands of float images (N, C, 64, 64), one for each of LEVELS: what each loses to the next, and the rest.

    Burt and Adelson 1983, with the binomial filter [1 4 6 4 1] / 16 and mirrored borders. Both ways are products with
    a matrix from the left and from the right: on a CPU much faster than convolutions of one channel.
    """
    bands = []
    for size in LEVELS[:-1]:
        blur = _blur_matrix(size)
        down, up = blur[::2], 2 * blur[:, ::2]  # up blurs what has zeros between the pixels: twice, to keep the mean
        smaller = down @ images @ down.T
        bands.append(images - up @ smaller @ up.T)
        images = smaller
    return [*bands, images]


def _blur_matrix(size: int) -> Tensor:
    """The (size, size) matrix that filters a column of pixels."""
    mirrored = F.pad(torch.eye(size)[None], (2, 2), mode="reflect")[0]
    return (mirrored.unfold(1, 5, 1) @ (torch.tensor([1.0, 4, 6, 4, 1]) / 16)).T
