"""What every source of images hands out: one split of one domain, as arrays."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

DIGIT_DOMAINS = ("mnistm", "svhn", "usps")
FACES = "face"
TITLES = {"mnistm": "MNIST-M", "svhn": "SVHN", "usps": "USPS", FACES: "Faces"}
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ImageSet:
    """One split of one domain.

    Attributes:
        images: ``(N, C, H, W)`` uint8, 0 to 255, maybe memory-mapped read-only. C is 1 (grey) or 3 (RGB); digits are
            28x28, faces 64x64.
        labels: ``(N,)`` int64, 0 to 9; None for faces, and digits whose labels are not known.
        domain: the domain's folder name, such as ``"mnistm"``.
        split: one of :data:`SPLITS`.
        origin: whether these are real images or the embedded stand-ins.
    """

    images: np.ndarray
    labels: np.ndarray | None
    domain: str
    split: str
    origin: Literal["real", "stand-in"]

    def __len__(self) -> int:
        return len(self.images)
