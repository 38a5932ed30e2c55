"""Figures of the GAN part: images, and training seen through its losses and through the images."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from hw2lib.metrics.reference import Reference
from hw2lib.plots import PALETTE, WIDTH
from hw2lib.plots.grids import dashed, image_grid, measures, mosaic

STRIP_ROWS, STRIP_COLUMNS = 4, 4
METHODS = {"gan-plain": "A: gan-plain", "dcgan": "B: dcgan"}
QUALITY = {"sliced_wasserstein": "sliced Wasserstein x 1000", "brightness": "brightness", "contrast": "contrast"}


def samples(images: Tensor, columns: int = 8) -> Figure:
    """Images (N, C, H, W) uint8 row by row."""
    return image_grid([row.numpy() for row in images.split(columns)])


def beside(grids: Mapping[str, Sequence[np.ndarray]], row_titles: Mapping[str, Sequence[str]] | None = None) -> Figure:
    """Images of several networks side by side: rows ``(columns, C, H, W)`` uint8 by the name above them."""
    pictures = {name: mosaic(rows) for name, rows in grids.items()}
    height = WIDTH / len(grids) * max(picture.shape[0] / picture.shape[1] for picture in pictures.values())
    size = (WIDTH, height + 0.3)
    figure, panels = plt.subplots(1, len(grids), figsize=size, squeeze=False, layout="constrained")
    for axes, (name, picture) in zip(panels[0], pictures.items(), strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set(title=METHODS.get(name, name), xticks=[])
        axes.spines[:].set_visible(False)
        titles = (row_titles or {}).get(name, [])
        middles = (np.arange(len(titles)) + 0.5) * picture.shape[0] / max(len(titles), 1)
        axes.set_yticks(middles, titles)
        axes.tick_params(length=0)
        axes.grid(False)
    return figure


def faces(images: Mapping[str, Tensor], columns: int = 6) -> Figure:
    """Images (N, C, H, W) uint8 of several networks side by side."""
    return beside({name: [row.numpy() for row in one.split(columns)] for name, one in images.items()})


def strips(kept: Mapping[str, Mapping[int, np.ndarray]]) -> Figure:
    """The same noises in the course of several trainings, rows of `hw2lib.gan.sample.read_strip` by network."""
    grids, titles = {}, {}
    for name, rows in kept.items():
        steps = np.array(list(rows))[np.linspace(0, len(rows) - 1, min(len(rows), STRIP_ROWS)).round().astype(int)]
        grids[name] = [rows[step][:STRIP_COLUMNS] for step in steps]
        titles[name] = [f"{step:,}" for step in steps]
    return beside(grids, titles)


def losses_and_distance(cards: Sequence[dict[str, Any]], reference: Reference) -> Figure:
    """Losses of both networks above the distance of the images from real faces, a column for each training.

    Losses above 99 % of all are cut off, such as those of a start far from where training stays.
    """
    figure, panels = plt.subplots(
        2, len(cards), figsize=(WIDTH, 3.1), sharex="col", squeeze=False, layout="constrained"
    )
    for (upper, lower), card in zip(panels.T, cards, strict=True):
        losses = np.array(card["losses"])
        for column, name in enumerate(("discriminator", "generator"), 1):
            upper.plot(losses[:, 0], losses[:, column], lw=0.7, color=PALETTE[column - 1], label=name)
        network = card["settings"]["network"]
        upper.set(title=METHODS.get(network, network), ylim=(None, 1.1 * np.quantile(losses[:, 1:3], 0.99)))
        marks = [[mark["step"], mark["sliced_wasserstein"]] for mark in card["curve"]]
        lower.plot(*zip(*marks, strict=True), "o-", ms=3, color=PALETTE[2])
        dashed(lower, _real(reference, "sliced_wasserstein"))
        lower.set(xlabel="step", ylim=(0, None))
        lower.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    panels[0][0].set_ylabel("loss")
    panels[1][0].set_ylabel(QUALITY["sliced_wasserstein"].replace(" x", "\nx"))
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def study(frame: pd.DataFrame, titles: dict[tuple[str, str], str], reference: Reference) -> Figure:
    """Quality over the steps for each variant: mean of the seeds and the range between them; dashed: real faces."""
    runs = frame.assign(variant=list(map(titles.get, zip(frame["network"], frame["recipe"], strict=True))))
    runs = runs.dropna(subset="variant").explode("curve", ignore_index=True)
    marks = runs[["variant"]].join(pd.DataFrame(list(runs["curve"])))
    look = {"colours": dict(zip(titles.values(), cycle(PALETTE))), "legend_columns": len(titles)}
    grid = measures(marks, QUALITY, 2.6, x="step", hue="variant", **look)
    for key, title in QUALITY.items():
        dashed(grid.axes_dict[title], _real(reference, key))
        grid.axes_dict[title].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    return grid.set_axis_labels("step", "").figure


def _real(reference: Reference, key: str) -> float:
    """A measure of real faces."""
    return {**vars(reference), **reference.floor}[key]
