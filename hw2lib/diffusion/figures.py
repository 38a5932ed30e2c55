"""Figures of the diffusion part: digits, the way to them, and what guidance and steps do to them."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from torch import Tensor

from hw2lib.data.prepare import to_uint8
from hw2lib.plots.grids import image_grid
from hw2lib.plots.style import PALETTE, WIDTH

MARKERS = ("o", "s", "^", "D", "v")


def reverse_process(ways: Mapping[str, Mapping[int, Tensor]]) -> Figure:
    """One image on its way from noise.

    Args:
        ways: title of a sampler to the state (C, H, W) in about [-1, 1] at each step t, the same steps in each.
    """
    steps = list(next(iter(ways.values())))
    rows = [to_uint8(torch.stack([states[t] for t in steps])).numpy() for states in ways.values()]
    return image_grid(rows, list(ways), [f"t = {t:,}" for t in steps])


def guidance_grid(sets: Mapping[float, Tensor], columns: int = 10) -> Figure:
    """The same noise and digits under several weights: uint8 (N, C, H, W) of each weight, `columns` of them a row."""
    rows = [images[:columns].numpy() for images in sets.values()]
    return image_grid(rows, [f"w = {w:g}" for w in sets])


def accuracy_and_diversity(frame: pd.DataFrame, real_accuracy: float | None) -> Figure:
    """Both over the guidance weight, mean and range over the seeds; dashed: accuracy on real digits."""
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.5), layout="constrained")
    names = {"accuracy": ("accuracy, %", real_accuracy), "diversity": ("diversity within a digit", None)}
    for axes, (key, (title, real)) in zip(panels, names.items(), strict=True):
        _line(axes, frame, "guidance_weight", key, PALETTE[0], "o")
        if real is not None:
            axes.axhline(real, ls="--", lw=0.9, color="black")
        axes.set(xlabel="guidance weight w", ylabel=title)
    return figure


def scores_over_steps(frame: pd.DataFrame, real_accuracy: float | None) -> Figure:
    """Accuracy and Fréchet distance over the number of steps, a line a way to sample; dashed: accuracy on real digits.

    The first panel leaves out what lies far below the rest, the second is logarithmic.
    """
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.9), layout="constrained")
    for axes, (key, title) in zip(
        panels, {"accuracy": "accuracy, %", "frechet": "Fréchet distance"}.items(), strict=True
    ):
        for (way, rows), colour, marker in zip(frame.groupby("way", sort=False), PALETTE, MARKERS, strict=False):
            if key in rows:  # there is no distance under a classifier of the user's
                _line(axes, rows, "steps", key, colour, marker, way)
        axes.set(xscale="log", xlabel="steps", ylabel=title)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    if real_accuracy is not None:
        panels[0].axhline(real_accuracy, ls="--", lw=0.9, color="black")
    panels[0].set_ylim(bottom=frame["accuracy"].quantile(0.1) - 2)
    panels[1].set_yscale("log")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _line(axes: Axes, frame: pd.DataFrame, x: str, y: str, colour: str, marker: str, title: str = "") -> None:
    seeds = frame.groupby(x)[y]
    middle, low, high = seeds.mean(), seeds.min(), seeds.max()
    axes.plot(middle.index, middle, marker=marker, ms=4, color=colour, label=title)
    axes.fill_between(middle.index, low, high, color=colour, alpha=0.2, lw=0)
