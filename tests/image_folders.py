"""Tiny folders of images in the homework's layouts."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
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


def write_2023(face: Path, size: int, network: dict[str, torch.Tensor]) -> None:
    """What the edition of 2023 has in place of faces: noise, truth and a network."""
    for i, image in enumerate(noise(10, size)):
        write_pngs(face / "GT", image[None])
        (face / "GT/00000.png").rename(face / f"GT/{i:02d}.png")
    (face / "noise").mkdir()
    for i in range(10):
        torch.save(
            torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(i)), face / f"noise/{i:02d}.pt"
        )
    torch.save(network, face / "UNet.pt")


def litter(folder: Path) -> None:
    """What systems leave in folders."""
    for name in ("._00000.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX/._00000.png").write_bytes(b"\x00\x05\x16\x07")
