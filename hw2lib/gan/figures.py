"""Figures of the GAN part: images, and training seen through its losses and through the images."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from hw2lib.metrics.reference import Reference
from hw2lib.plots import PALETTE, WIDTH
from hw2lib.plots.grids import image_grid

STRIP_ROWS = 6
QUALITY = {"sliced_wasserstein": "sliced Wasserstein\nx 1000", "brightness": "brightness", "contrast": "contrast"}


def samples(images: Tensor, columns: int = 8) -> Figure:
    """Images (N, C, H, W) uint8 row by row."""
    return image_grid([row.numpy() for row in images.split(columns)])


def strip(rows: dict[int, np.ndarray]) -> Figure:
    """The same noise in the course of training: some of the rows of `hw2lib.gan.sample.read_strip`."""
    shown = np.array(list(rows))[np.linspace(0, len(rows) - 1, min(len(rows), STRIP_ROWS)).round().astype(int)]
    return image_grid([rows[step] for step in shown], [f"{step:,}" for step in shown])


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
        _draw_real(axes, reference, key)
        axes.set(ylabel=title)
    panels[-1].set(xlabel="step")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def study(frame: pd.DataFrame, titles: dict[tuple[str, str], str], reference: Reference) -> Figure:
    """Quality over the steps for each variant: mean of the seeds and the range between them; dashed: real faces."""
    figure, panels = plt.subplots(1, len(QUALITY), figsize=(WIDTH, 2.6), layout="constrained")
    curves = dict(list(frame.groupby(["network", "recipe"])["curve"]))
    for axes, (key, title) in zip(panels, QUALITY.items(), strict=True):
        for colour, (variant, name) in zip(PALETTE, titles.items(), strict=False):
            if variant in curves:
                steps = [mark["step"] for mark in curves[variant].iloc[0]]
                values = np.array([[mark[key] for mark in curve] for curve in curves[variant]])
                axes.plot(steps, values.mean(0), "o-", ms=3, color=colour, label=name)
                axes.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.2, lw=0)
        _draw_real(axes, reference, key)
        axes.set(xlabel="step", title=title.replace("\n", " "))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(titles))
    return figure


def digit_accuracy(scores: dict[str, float]) -> Figure:
    """Accuracy of each digit asked for (`hw2lib.grader.scores.digit_scores`), in percent; dashed: of all images."""
    figure, axes = plt.subplots(figsize=(WIDTH, 2.2), layout="constrained")
    of_each = {name[-1]: value for name, value in scores.items() if name.startswith("accuracy_")}
    axes.plot(list(of_each), list(of_each.values()), "o", ms=6, clip_on=False)
    axes.axhline(scores["accuracy"], ls="--", lw=0.9, color="black")
    axes.set(xlabel="digit asked for", ylabel="read as that digit, %", ylim=(min(80, min(of_each.values()) - 2), 100.5))
    return figure


def _draw_real(axes: Axes, reference: Reference, key: str) -> None:
    axes.axhline({**vars(reference), **reference.floor}[key], ls="--", lw=0.9, color="black")
