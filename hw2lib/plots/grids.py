"""Pictures in rows and columns."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from hw2lib.plots import WIDTH

GAP = 2  # pixels of an image between two of them


def image_grid(
    rows: Sequence[np.ndarray], row_titles: Sequence[str] = (), column_titles: Sequence[str] = (), width: float = WIDTH
) -> Figure:
    """Images in rows, each with a title to its left, under the titles of the columns.

    Args:
        rows: arrays ``(columns, C, H, W)`` uint8 of one size; C is 1 (grey) or 3 (RGB). A shorter row ends white.
        row_titles, column_titles: one for each, or none; else a ValueError.
        width: of the whole figure, in inches; it is as high as its images need.
    """
    grid = mosaic(rows)
    columns, (h, w) = max(len(row) for row in rows), rows[0].shape[2:]
    for titles, count, what in ((row_titles, len(rows), "rows"), (column_titles, columns, "columns")):
        if len(titles) not in (0, count):
            raise ValueError(f"{len(titles)} titles for {count} {what}")
    left, top = 0.09 * max(map(len, row_titles), default=0), 0.25 if column_titles else 0.0  # inches, for the letters
    across = width - left
    down = across * grid.shape[0] / grid.shape[1]
    figure = plt.figure(figsize=(width, down + top))
    axes = figure.add_axes((left / width, 0, across / width, down / (down + top)))
    axes.imshow(grid, interpolation="nearest", aspect="auto")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize="medium", top=True, labeltop=True, bottom=False, labelbottom=False)
    for ticks, size, titles in ((axes.set_yticks, h, row_titles), (axes.set_xticks, w, column_titles)):
        ticks([(size + GAP) * (i + 0.5) - GAP / 2 - 0.5 for i in range(len(titles))], titles)
    return figure


def digit_grid(images: Tensor) -> Figure:
    """Digits (10 n, C, H, W) uint8 in the order 0 to 9, 0 to 9, …: a row a digit, a column a noise."""
    return image_grid([images[digit::10].numpy() for digit in range(10)], list("0123456789"), width=0.75 * WIDTH)


def mosaic(rows: Sequence[np.ndarray]) -> np.ndarray:
    """The images of :func:`image_grid` as one picture, ``(H, W, 3)`` uint8, white between them."""
    if not rows or not all(len(row) for row in rows):
        raise ValueError("a grid needs an image in each row")
    height, width = rows[0].shape[2:]
    columns = max(len(row) for row in rows)
    grid = np.full((len(rows) * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        if row.dtype != np.uint8 or row.shape[1] not in (1, 3) or row.shape[2:] != (height, width):
            raise ValueError(f"row {i} is {row.shape} {row.dtype}, not (columns, 1 or 3, {height}, {width}) uint8")
        for j, image in enumerate(row):
            y, x = i * (height + GAP), j * (width + GAP)
            grid[y : y + height, x : x + width] = image.transpose(1, 2, 0)  # one channel fills all three
    return grid
