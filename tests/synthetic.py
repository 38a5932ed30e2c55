"""Tiny sources of images that a network learns in seconds: ten patterns, in two domains that look different."""

import csv
import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from hw2lib.adaptation.recipe import DANNRecipe
from hw2lib.data import DIGIT_DOMAINS, FACES, SPLITS, ImageSet
from hw2lib.data.standins.faces import faces

COUNTS = {"train": 200, "val": 30, "test": 100}


class Synthetic:
    """A source like `hw2lib.data.source` returns: MNIST-M is clear, USPS pale and grey, SVHN like MNIST-M, and faces
    are patterns of 64x64 without labels.

    `counts` are the images of each split that exists.
    """

    origin = "stand-in"

    def __init__(self, counts: dict[str, int] | None = None) -> None:
        self.counts = COUNTS if counts is None else counts

    def splits(self, domain: str) -> tuple[str, ...]:
        return tuple(self.counts)

    def load(self, domain: str, split: str) -> ImageSet:
        if domain == FACES:
            faces = np.random.default_rng(SPLITS.index(split)).integers(0, 256, (self.counts[split], 3, 4, 4), np.uint8)
            return ImageSet(faces.repeat(16, 2).repeat(16, 3), None, domain, split, self.origin)
        patterns = np.random.default_rng(0).uniform(0, 1, (10, 1, 7, 7)).round().repeat(4, 2).repeat(4, 3)
        rng = np.random.default_rng([DIGIT_DOMAINS.index(domain), SPLITS.index(split)])
        labels = rng.permutation(np.arange(self.counts[split]) % 10)
        images = patterns[labels] + rng.normal(0, 0.3, (len(labels), 1 if domain == "usps" else 3, 28, 28))
        images = 0.45 + 0.1 * images if domain == "usps" else images
        return ImageSet((images.clip(0, 1) * 255).astype(np.uint8), labels, domain, split, self.origin)

    def fingerprint(self, domain: str) -> str:
        return hashlib.sha256(f"{domain} {self.counts}".encode()).hexdigest()

    def kept_key(self) -> dict:
        return self.counts

    def describe(self, domains=()) -> str:
        return "patterns"


class Portraits(Synthetic):
    """Drawn faces in place of patterns, in which a detector finds one."""

    def load(self, domain: str, split: str) -> ImageSet:
        images = faces(self.counts[split], np.random.default_rng(SPLITS.index(split))).clamp(0, 1)
        return ImageSet((255 * images).byte().numpy(), None, domain, split, self.origin)


def write_folder(source: Synthetic, root: Path) -> Path:
    """The same images as a folder in the homework's layout."""
    for domain in ("mnistm", "usps"):
        home = root / "digits" / domain
        (home / "data").mkdir(parents=True)
        for split in source.splits(domain):
            digits = source.load(domain, split)
            rows = [("image_name", "label")]
            for i, (image, label) in enumerate(zip(digits.images, digits.labels, strict=True)):
                Image.fromarray(image.transpose(1, 2, 0).squeeze()).save(home / "data" / f"{split}{i:05d}.png")
                rows.append((f"{split}{i:05d}.png", label))
            with open(home / f"{split}.csv", "w", newline="") as file:
                csv.writer(file).writerows(rows)
    return root


def recipe(method: str = "dann", seed: int = 0, network: str = "dann-compact", **settings) -> DANNRecipe:
    """A short recipe from MNIST-M to USPS."""
    short = {"batch": 16, "steps": 40, "evaluations": 4} | settings
    return DANNRecipe.choose(network, "ours", "mnistm", "usps", method, seed, "smoke", short)
