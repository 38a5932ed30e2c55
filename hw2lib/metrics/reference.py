"""What is known of a set of real images, so that generated ones are scored where the real ones are not at hand.

A reference is one small file of numbers; no image can be made of it. That of the real validation faces ships with the
repository. Beside each score of generated images belongs the reference's own, and for the distance the floor: the
distance of as many real images that are not in the set.
"""

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor

from hw2lib import data, paths, used, weights
from hw2lib.data import FACES, ImageSource
from hw2lib.errors import UserError
from hw2lib.metrics import sliced_wasserstein
from hw2lib.metrics.images import brightness, contrast, diversity, lattice, one_face, stored_images

SHIPPED = paths.ROOT / "data" / "reference"
VERSION = 2  # raise it whenever a score is computed in another way: no file of before counts then
FLOOR_COUNT = 1000  # as many as the homework has generated

AnyReference = TypeVar("AnyReference")


@dataclass(frozen=True)
class Reference:
    """A set of real faces, as its scores."""

    statistics: sliced_wasserstein.Statistics
    floor: dict[str, float]  # the distances of `floor_count` training images from this set, named as in `face_scores`
    floor_count: int
    one_face: float  # percentage with exactly one face
    lattice: float  # about 1 where there is none
    brightness: float  # in [0, 1], as contrast and diversity
    contrast: float
    diversity: float
    domain: str
    split: str
    count: int
    size: int  # height and width
    fingerprint: str  # the domain's, which changes with its images
    origin: str  # "real" or "stand-in"
    version: int = VERSION


def reference(source: ImageSource, domain: str = FACES, split: str = "val") -> Reference:
    """The reference of a split; measured once, then read from the cache.

    Raises `UserError` if the images are not there, are not 64x64, or show no face.
    """
    fingerprint = source.fingerprint(domain)
    file = paths.cache_dir() / "reference" / f"{domain}-{split}-{fingerprint[:16]}-{VERSION}.safetensors"
    with contextlib.suppress(UserError):  # never measured, or a damaged copy
        return read(file)
    images, others = stored_images(source, domain, split), stored_images(source, domain, "train", FLOOR_COUNT)
    statistics = sliced_wasserstein.statistics(images)
    found = one_face(images)
    if not found:
        raise UserError(f"{domain} {split}: no face is found in any of {len(images)} images; give images of faces")
    about = {"domain": domain, "split": split, "count": len(images), "size": images.shape[-1]}
    about |= {"fingerprint": fingerprint, "origin": source.origin}
    floor = _distances(others, statistics)
    measured = Reference(statistics, floor, len(others), found, **_appearance(images), **about)
    write(measured, file)
    return measured


def real_faces(preset: str, data_dir: str = "") -> Reference:
    """The faces that generated ones are compared with: those at hand; in ``quick`` else the numbers that ship."""
    return reference(data.source(preset, data_dir), FACES) if data_dir or preset != "quick" else shipped(FACES)


def shipped(domain: str) -> Reference:
    """The reference of a domain's real validation images that ships with the repository."""
    return read(SHIPPED / f"{domain}-val.safetensors")


def write(reference: Reference, file: Path) -> None:
    """Write a reference as one safetensors file."""
    numbers = {name: value for name, value in asdict(reference).items() if name != "statistics"}
    write_reference(file, {str(level): quantiles for level, quantiles in reference.statistics.items()}, numbers)


def read(file: Path) -> Reference:
    """The reference in a file; `UserError` if there is none, it is damaged, or it was measured in another way."""

    def make(tensors: dict[str, Tensor], numbers: dict[str, Any]) -> Reference:
        return Reference({level: tensors[str(level)] for level in sliced_wasserstein.LEVELS}, **numbers)

    return read_reference(file, make, VERSION, "reference")


def write_reference(file: Path, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
    """Write a reference of any kind: tensors, and its numbers as JSON in the metadata of safetensors."""
    weights.save(tensors, file, {"reference": json.dumps(numbers)})


def read_reference(
    file: Path, make: Callable[[dict[str, Tensor], dict[str, Any]], AnyReference], version: int, kind: str
) -> AnyReference:
    """The reference that `make` makes of the tensors and the numbers in a file.

    Raises `UserError` if there is no file, if it is damaged or no reference of that kind, or of another version.
    """
    try:
        with safe_open(file, "pt") as content:
            numbers = json.loads((content.metadata() or {})["reference"])
            reference = make({name: content.get_tensor(name) for name in content.keys()}, numbers)  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{file}: no such reference; measure it where the real images are") from None
    except (OSError, SafetensorError, LookupError, TypeError, ValueError):
        raise UserError(f"{file}: damaged, or no {kind}; get it again") from None
    if reference.version != version:
        raise UserError(f"{file}: measured in another way (version {reference.version}, not {version}); get it again")
    if not file.is_relative_to(paths.cache_dir()):  # a copy in the cache stands for images, which are noted themselves
        used.note_file(file)
    return reference


def face_scores(images: Tensor, reference: Reference) -> dict[str, float]:
    """All scores of generated faces, uint8 (N, 3, 64, 64), that need no weights; N at least 2, 1,000 for the floor.

    ``sliced_wasserstein_64``, ``_32``, ``_16`` at each level of the pyramid and their mean ``sliced_wasserstein`` are
    times 1,000, smaller is better; ``one_face`` is the percentage with exactly one face (`one_face`); `lattice`,
    ``brightness``, ``contrast``, ``diversity``, the last three in [0, 1], are best where they are the reference's.
    """
    return {**_distances(images, reference.statistics), "one_face": one_face(images), **_appearance(images)}


def _appearance(images: Tensor) -> dict[str, float]:
    return {score.__name__: score(images) for score in (lattice, brightness, contrast, diversity)}


def _distances(images: Tensor, statistics: sliced_wasserstein.Statistics) -> dict[str, float]:
    levels = sliced_wasserstein.distance(sliced_wasserstein.statistics(images), statistics)
    mean = levels.pop("mean")
    return {"sliced_wasserstein": mean, **{f"sliced_wasserstein_{level}": value for level, value in levels.items()}}
