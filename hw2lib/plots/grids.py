"""Pictures, and charts by seaborn, in rows and columns.

Seaborn is imported where a chart is drawn: it takes a second or two, and most notebooks show pictures alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from hw2lib.plots import PALETTE, WIDTH

if TYPE_CHECKING:
    import pandas as pd
    from seaborn import FacetGrid

GAP = 2  # pixels of an image between two of them
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # one for each colour of the palette


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


def charts(
    frame: pd.DataFrame,
    kind: str,
    height: float,
    width: float = WIDTH,
    colours: Mapping[str, str] | None = None,
    legend_columns: int = 3,
    **columns: Any,
) -> FacetGrid:
    """A panel for each value of the column `col`, below one legend.

    Args:
        frame: a row a measurement; where none has an x and a y, what comes back is one panel without marks.
        kind: ``line``, the mean of y over x and its range as a band; or one mark a row: ``scatter``, ``strip``.
        height, width: of the whole figure, in inches.
        colours: of the values of the column `hue` that are drawn, in their order; None: all, in those of the palette.
        columns: ``x``, ``y``, ``col``, ``hue`` and seaborn's other arguments; axes are shared if they say so.
    """
    import seaborn as sns

    frame = frame.dropna(subset=[columns["x"], columns["y"]])
    shared = {name: columns.pop(name, False) for name in ("sharex", "sharey", "legend_out")}
    if hue := columns.get("hue"):
        known = dict.fromkeys(frame[hue])
        colours = colours or dict(zip(known, cycle(PALETTE)))
        columns |= {"palette": colours, "hue_order": [name for name in colours if name in known]}
    if kind == "line":
        marks = {"style": hue, "markers": dict(zip(colours, cycle(MARKERS)))} if hue else {"marker": MARKERS[0]}
        columns |= {"dashes": False, "markersize": 4.5, "markeredgewidth": 0, "err_kws": {"lw": 0}} | marks
        columns.setdefault("errorbar", ("pi", 100))
    if frame.empty:
        grid = sns.FacetGrid(frame)
    elif kind == "strip":
        grid = sns.catplot(frame, kind=kind, **shared, **columns)
    else:
        grid = sns.relplot(frame, kind=kind, facet_kws=shared, **columns)
    grid.set_titles("{col_name}" if grid.axes_dict else "")
    grid.figure.set(size_inches=(width, height), layout_engine="constrained")
    for axes in grid.axes.flat:
        axes.grid(True)
    if grid.legend:
        scale = 3 if kind == "scatter" else 1
        sns.move_legend(grid, "outside upper center", ncols=legend_columns, title=None, markerscale=scale)
    return grid


def measures(frame: pd.DataFrame, titles: Mapping[str, str], height: float, **columns: Any) -> FacetGrid:
    """Lines of several columns over the same x: `charts` with a panel for each that `frame` has, by its title."""
    frame = frame.rename(columns=titles)
    known = [title for title in titles.values() if title in frame]
    frame = frame.melt([columns["x"], columns["hue"]], known, "measure")
    return charts(frame, "line", height, y="value", col="measure", col_order=known, sharex=True, **columns)


def confusion(read: Mapping[str, tuple[Sequence[int], Sequence[int]]], row: str, column: str) -> Figure:
    """Which digit is taken for which, a heat map for each title: percentages of the images of a row's digit.

    Args:
        read: title to the digits (N,) that the images are of, and those (N,) that they are read as.
        row, column: what the two are called.
    """
    import seaborn as sns

    width = min(WIDTH, 0.6 * WIDTH * len(read))
    figure, panels = plt.subplots(
        1, len(read), figsize=(width, 0.25 + width / len(read)), squeeze=False, layout="constrained"
    )
    for axes, (title, (true, seen)) in zip(panels[0], read.items(), strict=True):
        counts = np.histogram2d(true, seen, bins=10, range=[[0, 10], [0, 10]])[0]
        percent = 100 * counts / counts.sum(axis=1, keepdims=True).clip(1)
        words = np.char.mod("%.0f", percent)
        words[words == "0"] = ""
        look = {"cmap": "Blues", "vmin": 0, "vmax": 100, "cbar": False, "square": True, "linewidths": 0.5}
        sns.heatmap(percent, annot=words, fmt="", annot_kws={"fontsize": 7}, ax=axes, **look)
        axes.set(title=title, xlabel=column)
        axes.tick_params(length=0, rotation=0)
    panels[0][0].set_ylabel(row)
    return figure


def dashed(axes: Axes, height: float | None) -> None:
    """A value to compare with, if it is known."""
    if height is not None:
        axes.axhline(height, ls="--", lw=0.9, color="black")
