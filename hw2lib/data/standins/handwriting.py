"""Real handwriting for the digit stand-ins: the 1,797 digits of scikit-learn, enlarged and moved.

``load_digits`` holds 8x8 images whose pixels count the ink in 4x4 cells of a 32x32 scan (Alpaydin and Kaynak 1998, UCI
optical digits). :func:`pool` hands every pair of domain and split its own share of them, :func:`enlarge` goes back to
32x32, and :func:`write` draws one image for each label with a pen, a slant and a place of its own.
"""

from functools import lru_cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F

from hw2lib.data.image_set import DIGIT_DOMAINS, SPLITS

SIZE = 28
SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}


@lru_cache
def pool(domain: str, split: str) -> tuple[np.ndarray, ...]:
    """The handwriting of one domain and split: ten index arrays into ``load_digits``, one a class.

    The pools of two domains, or of two splits, have no digit in common.
    """
    target = load_digits().target
    rng = np.random.default_rng(1998)
    pools = []
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
    height: tuple[float, float],
    pen: tuple[float, float],
    width: tuple[float, float] = (0.85, 1.15),
    size: int = SIZE,
    beside: np.ndarray | None = None,
    tilt: float = 8.0,
    keystone: float = 0.0,
    shift: float = 1.0,
) -> torch.Tensor:
    """Draw one handwritten digit for each label.

    Args:
        domain: whose pool of handwriting is used.
        split: whose pool of handwriting is used.
        labels: ``(N,)`` digits 0 to 9.
        rng: the source of all randomness.
        height: range of the digit's height, as a part of the frame.
        width: range of the digit's width, relative to its height as written.
        pen: range of ink at which paper ends: low is a bold pen, high a thin one.
        size: side of the frame in pixels.
        beside: ``(N, 2)`` further digits, standing to the left and to the right, -1 for none.
        tilt: largest rotation in degrees; the slant (shear) varies by as much.
        keystone: strength of the perspective.
        shift: largest displacement in pixels.

    Returns:
        ``(N, 1, size, size)`` float32, 0 is paper and 1 is ink.
    """
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
