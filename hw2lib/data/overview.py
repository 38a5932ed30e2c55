"""What a source of images holds, as a table."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hw2lib.data.image_set import TITLES

if TYPE_CHECKING:
    from hw2lib.data.folders import RealImages
    from hw2lib.data.standins import StandIns


def splits_table(source: "RealImages | StandIns", domains: list[str]) -> pd.DataFrame:
    """One row for each domain and split: how many images, of what size, and how even their classes are.

    Args:
        source: what :func:`hw2lib.data.source` gave.
        domains: names of domains; one that is not there has a row of None.
    """
    rows = []
    for domain in domains:
        title = TITLES.get(domain, domain)
        if domain not in source.domains():
            rows.append({"domain": title})
            continue
        for split in source.splits(domain):
            images = source.load(domain, split)
            channels, height, width = images.images.shape[1:]
            row = {"domain": title, "split": split, "images": len(images)}
            row |= {"pixels": f"{width} × {height}", "colour": "RGB" if channels == 3 else "grey"}
            if images.labels is not None:
                share = np.bincount(images.labels, minlength=10) / len(images) * 100
                row |= {"rarest class, %": round(share.min(), 1), "commonest class, %": round(share.max(), 1)}
            rows.append(row)
    columns = ["domain", "split", "images", "pixels", "colour", "rarest class, %", "commonest class, %"]
    table = pd.DataFrame(rows, columns=columns, dtype=object)
    return table.where(table.notna(), None)
