"""Tiny folders of images in the homework's layouts."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def noise(count: int, size: int = 28, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Images ``(N, C, H, W)`` uint8, no two alike."""
    return np.random.default_rng(seed).integers(0, 256, (count, channels, size, size), dtype=np.uint8)


def write_pngs(folder: Path, images: np.ndarray, first: int = 0) -> list[str]:
    """Write ``00000.png`` and so on, counting from ``first``, and return the names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{first + i:05d}.png" for i in range(len(images))]
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(folder / name)
    return names


def write_csv(path: Path, names: list[str], labels: Iterable[int]) -> None:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("image_name", "label"), *zip(names, labels, strict=True)])


def write_2022(folder: Path, images: np.ndarray, labels: Sequence[int], sizes=(6, 2, 2)) -> None:
    """The layout of 2022/23: the first images are train, the next val, the last test."""
    names = write_pngs(folder / "data", images)
    start = 0
    for split, size in zip(("train", "val", "test"), sizes, strict=True):
        write_csv(folder / f"{split}.csv", names[start : start + size], labels[start : start + size])
        start += size
