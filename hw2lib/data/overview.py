"""Which images are there: a table for the report, and the lines of ``hw2 data status``."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hw2lib.data import DIGIT_DOMAINS, DIGIT_SIZE, FACE_SIZE, FACES, SPLITS, TITLES, ImageSource
from hw2lib.data.folders import RealImages
from hw2lib.data.png import COLOURS, read_png
from hw2lib.errors import UserError


def splits_table(source: ImageSource, domains: list[str]) -> pd.DataFrame:
    """One row for each domain and split: how many images, of what size, and how even their classes are.

    A domain that is not there has a row of None; in place of the split of faces it says what else is in their folder.
    """
    rows = []
    for domain in domains:
        title = TITLES.get(domain, domain)
        if domain not in source.domains():
            others = source.instead_of_faces() if domain == FACES and isinstance(source, RealImages) else ""
            rows.append({"domain": title, "split": others or None})
            continue
        for split in source.splits(domain):
            images = source.load(domain, split)
            channels, height, width = images.images.shape[1:]
            row = {"domain": title, "split": split, "images": f"{len(images):,}"}
            row |= {"pixels": f"{width} × {height}", "colour": COLOURS[channels]}
            if images.labels is not None:
                share = np.bincount(images.labels, minlength=10) / len(images) * 100
                row |= {"rarest class, %": f"{share.min():.1f}", "commonest class, %": f"{share.max():.1f}"}
            rows.append(row)
    columns = ["domain", "split", "images", "pixels", "colour", "rarest class, %", "commonest class, %"]
    table = pd.DataFrame(rows, columns=columns, dtype=object)
    return table.where(table.notna(), None)


def status(data_dir: str | Path = "") -> tuple[str, bool]:
    """Lines of text, one for each domain that is there or could be, and whether all that are there can be read.

    A line has the layout, the colour (one image is decoded), the number of images in each split, and how far they are
    verified. The folder is that of `hw2lib.data.folders.images_dir`; `UserError` if it or its images are not there.
    """
    from hw2lib.data.fetch import registry  # only here: `splits_table` does not wait for what downloads need

    images, published = RealImages(data_dir), registry()
    rows, readable = [("domain", "layout", "colour", *SPLITS, "verified")], True
    for domain in images.domains():
        try:
            rows.append(_row(images, domain, published.get(domain)))
        except UserError as error:
            rows.append((domain, *"-----", str(error)))
            readable = False
    for domain in (*DIGIT_DOMAINS, FACES):
        if domain == FACES and (others := images.instead_of_faces()):
            is_2023 = (images.root / FACES / "UNet.pt").is_file()
            used = "; notebooks 40 to 42 use them" if is_2023 else ""
            rows.append((domain, "2023" if is_2023 else "-", *"----", f"neither train/ nor val/, but {others}{used}"))
        elif domain not in images.domains():
            how = f"hw2 data fetch {domain}" if domain in published else "CelebA, to be asked for: see data/README.md"
            size = published.get(domain, {}).get("megabytes")
            rows.append((domain, *"-----", f"not there; {how}" + (f" ({size} MB)" if size else "")))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows), readable


def _row(images: RealImages, domain: str, published: dict[str, Any] | None) -> tuple[str, ...]:
    splits = images.splits(domain)
    if not splits:
        raise UserError(f"{images.folder(domain)}: no split is there; see data/README.md for what goes there")
    rows = {split: images.rows(domain, split) for split in splits}
    counts = {split: len(rows[split].names) for split in splits}
    decoded = "every image decoded" if all(images.cached(domain, s) for s in splits) else "not all images decoded yet"
    folder, names, _ = rows[splits[0]]
    channels = len(read_png(folder / names[0], FACE_SIZE if domain == FACES else DIGIT_SIZE))
    shown = (f"{counts[split]:,}" if split in counts else "-" for split in SPLITS)
    return (domain, images.layout(domain), COLOURS[channels], *shown, f"{decoded}; {_compared(counts, published)}")


def _compared(counts: dict[str, int], published: dict[str, Any] | None) -> str:
    if published is None:
        return "no published counts to compare with"
    here = {"train": counts.get("train", 0) + counts.get("val", 0), "test": counts.get("test", 0)}
    names = {"train": "train + val", "test": "test"}
    short = [f"{names[part]} {n:,} of {published[part]:,}" for part, n in here.items() if n != published[part]]
    return "not the published counts: " + ", ".join(short) if short else "counts equal the published ones"
