"""Real digits as a grader sees them, in numbers, so that generated digits are scored without the images.

A reference is one small file; no image can be made of it. That of the real MNIST-M test digits under the grader that
ships lies in the repository. It was made by::

    write(reference(data.source("paper"), grader()), SHIPPED / "mnistm-test.safetensors")
"""

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from hw2lib import data
from hw2lib.errors import UserError
from hw2lib.metrics.accuracy import accuracy
from hw2lib.metrics.fidelity import Extractor, Gaussian, gaussian, gaussian_distance, stored_features
from hw2lib.metrics.reference import FLOOR_COUNT, SHIPPED, read_reference, write_reference

DOMAIN = "mnistm"
VERSION = 1  # raise it whenever a score is computed in another way: no file of before counts then


@dataclass(frozen=True)
class DigitReference:
    """A set of real digits, as one grader sees them."""

    features: Gaussian
    floor: float  # Fréchet distance of `floor_count` validation digits from this set
    floor_count: int
    accuracy: float  # percentage of the set that the grader classifies rightly
    grader: str  # its name
    split: str  # of MNIST-M
    count: int
    fingerprint: str  # the domain's, which changes with its images
    origin: str  # "real" or "stand-in"
    version: int = VERSION


def reference(source, grader: Extractor, split: str = "test") -> DigitReference:
    """The reference of a split of MNIST-M from `hw2lib.data.source`; what the grader sees in it is cached.

    Raises UserError if the images or their labels are not there.
    """
    labels = source.load(DOMAIN, split).labels
    if labels is None:
        raise UserError(f"{DOMAIN} {split}: has no labels, and they are needed; give a csv with image_name,label")
    seen = stored_features(source, DOMAIN, split, grader)
    others = stored_features(source, DOMAIN, "val", grader, FLOOR_COUNT)
    features = gaussian(seen.features)
    floor = gaussian_distance(gaussian(others.features), features)
    right = accuracy(seen.logits, torch.tensor(labels))
    count, fingerprint = len(seen.features), source.fingerprint(DOMAIN)
    whose = (grader.name, split, count, fingerprint, source.origin)
    return DigitReference(features, floor, len(others.features), right, *whose)


def shipped() -> DigitReference:
    """The reference of the real test digits under the grader that ships."""
    return read(SHIPPED / f"{DOMAIN}-test.safetensors")


def real_digits(grader: Extractor) -> DigitReference:
    """The real test digits as a grader sees them: what ships if it is the one that ships, else from real images.

    Raises UserError if what ships is damaged, or for another grader without real images at hand.
    """
    standing = shipped()
    return standing if standing.grader == grader.name else reference(data.source("paper"), grader)


def if_known(grader: Extractor) -> DigitReference | None:
    """`real_digits`, or None for a grader of the user's where no real digits are at hand."""
    shipped()  # damaged: an error
    with contextlib.suppress(UserError):
        return real_digits(grader)


def write(reference: DigitReference, file: Path) -> None:
    """Write a reference as one safetensors file."""
    numbers = {name: value for name, value in asdict(reference).items() if name != "features"}
    write_reference(file, reference.features._asdict(), numbers)


def read(file: Path) -> DigitReference:
    """The reference in a file. Raises UserError if there is none, it is damaged, or measured in another way."""
    return read_reference(
        file, lambda tensors, numbers: DigitReference(Gaussian(**tensors), **numbers), VERSION, "reference of digits"
    )


def real_row(real: DigitReference | None) -> dict[str, str]:
    """The last row of a table of generated digits: the real ones, if they are known."""
    share, floor = (f"{real.accuracy:.1f}", f"{real.floor:.2f}") if real else ("–", "–")
    return {"digits": "real MNIST-M", "accuracy, %": share, "Fréchet distance": floor}
