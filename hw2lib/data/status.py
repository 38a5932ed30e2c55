"""What images are where: ``hw2 data status``."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from hw2lib.data.fetch import registry
from hw2lib.data.folders import DIGIT_SIZE, FACE_SIZE, RealImages
from hw2lib.data.image_set import DIGIT_DOMAINS, FACES, SPLITS
from hw2lib.data.png import COLOURS, read_png
from hw2lib.errors import UserError


class Status(NamedTuple):
    """One domain: how it lies there, its number of images in each split, and how far that is verified."""

    domain: str
    layout: str
    colour: str
    counts: dict[str, int]
    verified: str
    error: bool = False


def statuses(data_dir: str | Path = "") -> Iterator[Status]:
    """The state of every domain that is there or could be; looks, and decodes one image of each that was never read.

    Args:
        data_dir: the folder of images, else :func:`hw2lib.data.folders.images_dir` says which.

    Raises:
        UserError: there is no such folder, or no image in it.
    """
    images = RealImages(data_dir)
    there = images.domains()
    missing = (domain for domain in (*DIGIT_DOMAINS, FACES) if domain not in there)
    for domain in there:
        try:
            yield _status(images, domain)
        except UserError as error:
            yield Status(domain, "-", "-", {}, str(error), error=True)
    for domain in missing:
        yield Status(domain, "-", "-", {}, f"not there; {_how_to_get(domain)}")


def table(found: list[Status]) -> str:
    """Statuses as lines of text, one a domain."""
    rows = [("domain", "layout", "colour", *SPLITS, "verified")]
    for status in found:
        counts = (f"{status.counts[split]:,}" if split in status.counts else "-" for split in SPLITS)
        rows.append((status.domain, status.layout, status.colour, *counts, status.verified))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _status(images: RealImages, domain: str) -> Status:
    splits = images.splits(domain)
    if not splits:
        raise UserError(f"{images.folder(domain)}: no split is there; see data/README.md for what goes there")
    rows = {split: images.rows(domain, split) for split in splits}
    counts = {split: len(found.names) for split, found in rows.items()}
    if all(images.cached(domain, split) for split in splits):
        read = "every image decoded"
    else:
        read = "not all images decoded yet"
    first = next(iter(rows.values()))
    channels = len(read_png(first.folder / first.names[0], FACE_SIZE if domain == FACES else DIGIT_SIZE))
    return Status(domain, images.layout(domain), COLOURS[channels], counts, f"{read}; {_compared(domain, counts)}")


def _compared(domain: str, counts: dict[str, int]) -> str:
    """The counts beside the published ones."""
    published = registry().get(domain)
    if published is None:
        return "no published counts to compare with"
    here = {"train": counts.get("train", 0) + counts.get("val", 0), "test": counts.get("test", 0)}
    names = {"train": "train + val", "test": "test"}
    short = [f"{names[part]} {n:,} of {published[part]:,}" for part, n in here.items() if n != published[part]]
    return "not the published counts: " + ", ".join(short) if short else "counts equal the published ones"


def _how_to_get(domain: str) -> str:
    if domain == FACES:
        return "CelebA, to be asked for: see data/README.md"
    size = registry()[domain].get("megabytes")
    return f"hw2 data fetch {domain}" + (f" ({size} MB)" if size else "")
