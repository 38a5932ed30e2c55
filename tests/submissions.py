"""Submissions as tests hand them in: images and csv files, good ones, and what makes them bad."""

import csv
import shutil
from pathlib import Path

import dlib
import numpy as np
from PIL import Image

from hw2lib.grading import problem

NAMES = [f"{7 * i:05d}.png" for i in range(40)]  # of the target's images
LABELS = [i % 10 for i in range(40)]
IMAGES = {"2021": "test", "2022": "val", "2023": "val"}


def write(folder: Path, images: np.ndarray, names: list[str]) -> Path:
    """Images (N, 3, H, W) as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / name)
    return folder


def write_csv(file: Path, rows, header=("image_name", "label")) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", newline="") as content:
        csv.writer(content).writerows([header, *rows])
    return file


def ten_names() -> list[str]:
    return [f"{i:02d}.png" for i in range(10)]


def digit_names(count: int) -> list[str]:
    """In turn 0 to 9."""
    return [f"{digit}_{i + 1:03d}.png" for i in range(count) for digit in range(10)]


class Hand:
    """Hands in good submissions, with few images."""

    def __init__(self, folder: Path, images: Path, handwriting, people, classifier: Path) -> None:
        self.folder, self.images, self.handwriting, self.people = folder, images, handwriting, people
        self.classifier = classifier

    def in_(self, edition: str, number: str) -> tuple[Path, list[str]]:
        """A folder, and the options that its grading needs."""
        folder, kind = self.folder / "submission", problem(edition, number).kind
        if kind == "faces":
            write(folder, self.people["one"][:40], [f"{i:04d}.png" for i in range(40)])
        elif kind == "digits":
            write(folder, self.handwriting["right"][:2].reshape(-1, 3, 28, 28), digit_names(2))
        elif kind == "truth":
            folder = Path(shutil.copytree(self.images / "face/GT", folder))
        else:
            part = slice(20) if IMAGES[edition] == "val" else slice(20, 40)
            for pair in problem(edition, number).baselines:
                write_csv(folder / f"{pair}.csv", zip(NAMES[part], LABELS[part], strict=True))
                wrong = [0 if label in (1, 2) else label for label in LABELS[part]]
                write_csv(self.folder / f"dann/{pair}.csv", zip(NAMES[part], wrong, strict=True))
        options = {"digits": ["--classifier", str(self.classifier)]}.get(kind, [])
        return folder, options + (["--beside", str(self.folder / "dann")] if number == "bonus" else [])


def plain_count_faces(images: np.ndarray) -> list[int]:
    detector = dlib.get_frontal_face_detector()
    return [len(detector(np.ascontiguousarray(image.transpose(1, 2, 0)), 1)) for image in images]


# What makes a good one bad


def first(folder: Path) -> Path:
    return min(folder.glob("*.png"))


def change(folder: Path, how) -> None:
    """Change the pixels of all images."""
    for file in folder.glob("*.png"):
        Image.fromarray(how(np.asarray(Image.open(file)).astype(int)).clip(0, 255).astype(np.uint8)).save(file)


def convert(file: Path, mode: str) -> None:
    Image.open(file).convert(mode).save(file)


def copies(folder: Path, count: int | None) -> None:
    for file in sorted(folder.glob("*.png"))[1:count]:
        shutil.copy(first(folder), file)


def rows_of(folder: Path, how) -> None:
    """Change the rows of all csv files, each a name and a label."""
    for file in folder.glob("*.csv"):
        rows = list(csv.reader(file.open()))
        write_csv(file, how(rows[1:]))


def text_of(folder: Path, how) -> None:
    for file in folder.glob("*.csv"):
        file.write_text(how(file.read_text()))
