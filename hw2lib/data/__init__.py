"""Images: the homework's folders, downloads, and the embedded stand-ins.

Example::

    images = source("quick").load("usps", "train").images   # (N, C, 28, 28) uint8
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from hw2lib.paths import check_preset

DIGIT_DOMAINS = ("mnistm", "svhn", "usps")
FACES = "face"
TITLES = {"mnistm": "MNIST-M", "svhn": "SVHN", "usps": "USPS", FACES: "Faces"}
SPLITS = ("train", "val", "test")
DIGIT_SIZE = 28  # height and width in pixels
FACE_SIZE = 64

Origin = Literal["real", "stand-in"]


@dataclass(frozen=True)
class ImageSet:
    """One split of one domain. Digits are 28x28, faces 64x64; C is 1 (grey) or 3 (RGB)."""

    images: np.ndarray  # (N, C, H, W) uint8, 0 to 255, maybe memory-mapped read-only
    labels: np.ndarray | None  # (N,) int64, 0 to 9; None for faces, and for digits whose labels are not known
    domain: str  # such as "mnistm"
    split: str  # one of SPLITS
    origin: Origin

    def __len__(self) -> int:
        return len(self.images)


class ImageSource(Protocol):
    """Where images come from: real ones in folders, or the embedded stand-ins."""

    origin: Origin

    def domains(self) -> tuple[str, ...]:
        """The names of the domains: first those of digits, then ``face``."""

    def splits(self, domain: str) -> tuple[str, ...]:
        """The splits of a domain, in the order of `SPLITS`; `UserError` for an unknown domain."""

    def load(self, domain: str, split: str) -> ImageSet:
        """One split; its arrays are read-only. `UserError` if there is none, or it cannot be read."""

    def fingerprint(self, domain: str) -> str:
        """SHA-256 (hex) that changes exactly when the images or labels of a domain do."""

    def kept_key(self) -> dict[str, Any]:
        """What results that are kept (`hw2lib.kept`) depend on; it changes whenever an image may have changed."""

    def describe(self, domains: Sequence[str] = ()) -> str:
        """One line for a caption: where the images of these domains come from; of all domains by default."""


def source(preset: str, data_dir: str = "") -> ImageSource:
    """The images that a preset works on: real ones for ``paper``, and the embedded stand-ins for the others.

    A `data_dir` of real images is used whatever the preset. Without it, ``paper`` takes the folder of ``HW2_DATA``,
    else ``images`` in the build folder. Real images are never replaced by stand-ins: `UserError` for a folder that is
    not there or cannot be read, and for an unknown preset.
    """
    check_preset(preset)
    if data_dir or preset == "paper":
        from hw2lib.data.folders import RealImages

        return RealImages(data_dir)

    from hw2lib.data.standins import StandIns

    return StandIns()
