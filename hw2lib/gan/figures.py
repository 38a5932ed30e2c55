"""Figures of the GAN part: images, and training seen through its losses and through the images."""

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
from hw2lib.plots.grids import dashed, image_grid, measures

STRIP_ROWS, STRIP_COLUMNS = 5, 8
QUALITY = {"sliced_wasserstein": "sliced Wasserstein x 1000", "brightness": "brightness", "contrast": "contrast"}


def samples(images: Tensor, columns: int = 8) -> Figure:
    """Images (N, C, H, W) uint8 row by row."""
    return image_grid([row.numpy() for row in images.split(columns)])


def strip(rows: dict[int, np.ndarray]) -> Figure:
    """The same noise in the course of training: some of the rows of `hw2lib.gan.sample.read_strip`."""
    shown = np.array(list(rows))[np.linspace(0, len(rows) - 1, min(len(rows), STRIP_ROWS)).round().astype(int)]
    return image_grid([rows[step][:STRIP_COLUMNS] for step in shown], [f"{step:,}" for step in shown])


def losses_and_quality(card: dict[str, Any], reference: Reference) -> Figure:
    """Losses of both networks above the quality of the images over the steps of one training; dashed: real faces.

    Losses above 99 % of all are cut off, such as those of a start far from where training stays.
    """
    figure, panels = plt.subplots(1 + len(QUALITY), 1, figsize=(WIDTH, 5.6), sharex=True, layout="constrained")
    losses = np.array(card["losses"])
    for column, name in enumerate(("discriminator", "generator"), 1):
        panels[0].plot(losses[:, 0], losses[:, column], lw=0.7, color=PALETTE[column - 1], label=name)
    panels[0].set(ylabel="loss", ylim=(None, 1.1 * np.quantile(losses[:, 1:3], 0.99)))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    for axes, (key, title) in zip(panels[1:], QUALITY.items(), strict=True):
        axes.plot([mark["step"] for mark in card["curve"]], [mark[key] for mark in card["curve"]], "o-", ms=3)
        dashed(axes, _real(reference, key))
        axes.set(ylabel=title.replace(" x", "\nx"))
    panels[-1].set(xlabel="step")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
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
