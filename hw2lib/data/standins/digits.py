"""The digit stand-ins: real handwriting, drawn in one way for each of the three domains.

The handwriting is the 1,797 digits of scikit-learn's ``load_digits``: 8x8 images whose pixels count the ink in 4x4
cells of a 32x32 scan (Alpaydin and Kaynak 1998, UCI optical digits). `pool` gives every pair of domain and split its
own share of them, `enlarge` goes back to 32x32, and `write` draws one image for each label with a pen, a slant and a
place of its own. The three domains add to it what makes the real ones differ.
"""

from functools import lru_cache

import numpy as np
import torch
from sklearn.datasets import load_digits, load_sample_images
from torch.nn import functional as F

from hw2lib.data import DIGIT_DOMAINS, SPLITS

SIZE = 28
SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


def mnistm(split: str, labels: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Colour-blended digits, ``(N, 3, 28, 28)``: the absolute difference of a patch of a photograph and the digit."""
    ink = write("mnistm", split, labels, rng, height=(0.68, 0.8), pen=(0.35, 0.6), tilt=12, shift=2)
    return (_patches(len(labels), rng) - ink).abs()


def svhn(split: str, labels: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Photographed street numbers, ``(N, 3, 28, 28)``: paint on a wall, neighbours, uneven light, blur and noise."""
    n = len(labels)

    def vary(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(low, high, (n, *shape) if shape else (n, 1, 1, 1)).astype(np.float32))

    beside = np.where(rng.random((n, 2)) < 0.6, rng.integers(0, 10, (n, 2)), -1)
    ink = write("svhn", split, labels, rng, height=(0.72, 1.0), pen=(0.25, 0.5), beside=beside, keystone=0.15, shift=2)
    # Paint and wall differ in lightness by a quarter at least; most of both are greyish.
    wall = vary(0.1, 0.9)
    contrast = vary(0.25, 0.6)
    paint = torch.where(wall > vary(0.35, 0.65), wall - contrast, wall + contrast)
    tint = vary(0, 1) ** 3 * 0.5
    wall, paint = wall + tint * vary(-0.5, 0.5, 3, 1, 1), paint + tint * vary(-0.5, 0.5, 3, 1, 1)
    image = wall + (paint - wall) * ink
    light = _smooth(rng.uniform(-1, 1, (n, 1, 3, 3))) * vary(0, 0.3) + 1
    stains = _smooth(rng.uniform(-1, 1, (n, 3, 8, 8))) * vary(0.02, 0.08)
    image = _blur((image + stains) * light, vary(0.3, 1.3))
    grain = torch.from_numpy(rng.standard_normal(image.shape, dtype=np.float32))
    return image + grain * vary(0.005, 0.03)


def usps(split: str, labels: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Scanned post codes, ``(N, 1, 28, 28)``: bright ink on black that fills the frame, 16x16 pixels enlarged."""
    form = {"height": (0.9, 1.0), "width": (1.0, 1.3), "pen": (0.38, 0.6)}
    ink = write("usps", split, labels, rng, **form, size=2 * SIZE, shift=0.5)
    scan = F.interpolate(ink, (16, 16), mode="area")
    return F.interpolate(scan, (SIZE, SIZE), mode="bicubic", align_corners=False)


@lru_cache
def pool(domain: str, split: str) -> tuple[np.ndarray, ...]:
    """Ten index arrays into ``load_digits``, one a class; those of two domains or splits have no digit in common."""
    target, rng, pools = load_digits().target, np.random.default_rng(1998), []
    for label in range(10):
        shuffled = rng.permutation(np.flatnonzero(target == label))
        share = np.array_split(shuffled, len(DIGIT_DOMAINS))[DIGIT_DOMAINS.index(domain)]
        ends = (np.cumsum(list(SHARES.values())) * len(share)).round().astype(int)
        pools.append(np.split(share, ends[:-1])[SPLITS.index(split)])
    return tuple(pools)


@lru_cache
def enlarge() -> torch.Tensor:
    """All digits of ``load_digits`` as ink at 32x32, ``(1797, 1, 32, 32)`` float32, 0 to 1.

    Bicubic enlargement alone is a blur. Adding back what it lost, cell by cell, and clipping to the range of ink gives
    a stroke with an edge whose 4x4 means are the original pixels.
    """
    ink = torch.from_numpy(load_digits().images / 16).float()[:, None]
    large = torch.zeros(len(ink), 1, 32, 32)
    for _ in range(12):
        lost = ink - F.avg_pool2d(large, 4)
        large = (large + F.interpolate(lost, scale_factor=4, mode="bicubic", align_corners=False)).clamp(0, 1)
    return large


def write(
    domain: str,
    split: str,
    labels: np.ndarray,
    rng: np.random.Generator,
    *,
    height: tuple[float, float],  # range of the digit's height, as a part of the frame
    pen: tuple[float, float],  # range of ink at which paper ends: low is a bold pen, high a thin one
    width: tuple[float, float] = (0.85, 1.15),  # range of the digit's width, relative to its height as written
    size: int = SIZE,  # side of the frame in pixels
    beside: np.ndarray | None = None,  # (N, 2) further digits, standing to the left and to the right, -1 for none
    tilt: float = 8.0,  # largest rotation in degrees; the slant (shear) varies by as much
    keystone: float = 0.0,  # strength of the perspective
    shift: float = 1.0,  # largest displacement in pixels
) -> torch.Tensor:
    """A digit of the domain's and split's handwriting for each label ``(N,)``: ``(N, 1, size, size)``, 1 is ink."""
    n = len(labels)

    def vary(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (n, 1, 1)).astype(np.float32)

    # Where each pixel of the frame looks in the 32x32 scan, whose corners are (-1, -1) and (1, 1).
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    x, y = x + vary(-1, 1) * shift * 2 / size, y + vary(-1, 1) * shift * 2 / size
    depth = 1 + keystone * (vary(-1, 1) * x + vary(-1, 1) * y)
    angle, slant = np.radians(vary(-tilt, tilt)), np.radians(vary(-tilt, tilt))
    scale = 1 / vary(*height)
    x, y = (
        scale / depth / vary(*width) * (np.cos(angle) * x - np.sin(angle - slant) * y),
        scale / depth * (np.sin(angle) * x + np.cos(angle) * y),
    )
    wobble = torch.from_numpy(rng.uniform(-0.1, 0.1, (n, 2, 4, 4)).astype(np.float32))
    wobble = F.interpolate(wobble, (size, size), mode="bicubic", align_corners=True).numpy()
    x, y = x + wobble[:, 0], y + wobble[:, 1]

    def scanned(digits: np.ndarray, x: np.ndarray) -> torch.Tensor:
        present = np.flatnonzero(digits >= 0)
        picks, pools = rng.random(len(present)), pool(domain, split)
        rows = [pools[d][int(p * len(pools[d]))] for d, p in zip(digits[present], picks, strict=True)]
        grid = torch.from_numpy(np.stack([x, y], axis=-1)[present])
        ink = torch.zeros(n, 1, size, size)
        ink[present] = F.grid_sample(enlarge()[rows], grid, mode="bilinear", align_corners=False)
        return ink

    ink = scanned(labels, x)
    if beside is not None:
        apart = vary(1.35, 1.7)
        ink = torch.maximum(ink, torch.maximum(scanned(beside[:, 0], x + apart), scanned(beside[:, 1], x - apart)))
    # Half a pixel of soft edge on either side of the level where paper ends.
    return ((ink - torch.from_numpy(vary(*pen))[:, None]) / 0.35 + 0.5).clamp(0, 1)


def _patches(n: int, rng: np.random.Generator) -> torch.Tensor:
    """``(n, 3, 28, 28)`` patches of scikit-learn's photographs, some mirrored, colours exchanged, faded, re-exposed.

    They are by danielbuechele and vultilion of flickr.com, under CC BY 2.0: a page that shows them names both.
    """
    photographs = torch.from_numpy(np.stack(load_sample_images().images)).permute(0, 3, 1, 2).float() / 255
    height, width = photographs.shape[2:]
    step = rng.uniform(0.7, 1.4, n) * np.where(rng.random(n) < 0.5, -1, 1)
    axis = np.arange(SIZE) - (SIZE - 1) / 2
    reach = np.abs(step) * SIZE / 2
    y = (reach + rng.random(n) * (height - 2 * reach))[:, None] + np.abs(step)[:, None] * axis
    x = (reach + rng.random(n) * (width - 2 * reach))[:, None] + step[:, None] * axis
    y, x = np.clip(y.round().astype(int), 0, height - 1), np.clip(x.round().astype(int), 0, width - 1)
    which = rng.integers(0, len(photographs), n)[:, None, None, None]
    colours = rng.permuted(np.tile(np.arange(3), (n, 1)), axis=1)[:, :, None, None]
    patches = photographs[which, colours, y[:, None, :, None], x[:, None, None, :]]
    exposure, grey, haze = (
        torch.from_numpy(rng.uniform(low, high, (n, channels, 1, 1)).astype(np.float32))
        for low, high, channels in ((0.8, 1.6, 3), (0, 0.8, 1), (0, 0.6, 1))
    )
    patches = patches**exposure
    patches = torch.lerp(patches, patches.mean(1, keepdim=True), grey)
    # A digit is the inverse of what it lies on: on black and white at once nobody could read it.
    patches = torch.lerp(patches, patches.mean((2, 3), keepdim=True), haze)
    return 0.08 + 0.84 * patches


def _smooth(coarse: np.ndarray) -> torch.Tensor:
    """A smooth field of the size of an image through a coarse grid of values."""
    coarse = torch.from_numpy(coarse.astype(np.float32))
    return F.interpolate(coarse, (SIZE, SIZE), mode="bicubic", align_corners=True)


def _blur(images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Gaussian blur, one ``sigma`` in pixels for each image, ``(N, 1, 1, 1)``."""
    taps = torch.arange(-3, 4)
    weights = torch.exp(-(taps**2) / (2 * sigma**2))
    weights = (weights / weights.sum(-1, keepdim=True)).unbind(-1)
    for dim, pad in ((2, (0, 0, 3, 3)), (3, (3, 3, 0, 0))):
        padded = F.pad(images, pad, mode="replicate")
        images = sum(w[..., None] * padded.narrow(dim, k, SIZE) for k, w in enumerate(weights))
    return images
