"""Figures of the diffusion part: digits and faces, the way to them, and what guidance, steps and eta do to them."""

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from torch import Tensor

from hw2lib.data.prepare import to_uint8
from hw2lib.plots import PALETTE, WIDTH
from hw2lib.plots.grids import image_grid

MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # one for each colour of the palette


def reverse_process(ways: Mapping[str, Mapping[int, Tensor]]) -> Figure:
    """One image on its way from noise: of each sampler the states (C, H, W) in about [-1, 1] at the same steps t."""
    steps = list(next(iter(ways.values())))
    rows = [to_uint8(torch.stack([states[t] for t in steps])).numpy() for states in ways.values()]
    return image_grid(rows, list(ways), [f"t = {t:,}" for t in steps])


def guidance_grid(sets: Mapping[str, Tensor], columns: int = 10) -> Figure:
    """The same noise and digits under several guidances: uint8 (N, C, H, W) of each, `columns` of them a row."""
    return image_grid([images[:columns].numpy() for images in sets.values()], list(sets))


def scores_over_weights(frames: Iterable[pd.DataFrame], real_accuracy: float | None) -> Figure:
    """Scores of sweeps over the guidance weight, a line for each interval; dashed: accuracy on real digits."""
    frame = pd.concat(frames, ignore_index=True)
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 2.6), layout="constrained")
    titles = {"accuracy": "accuracy, %", "frechet": "Fréchet distance", "diversity": "diversity within a digit"}
    for axes, (key, title) in zip(panels, titles.items(), strict=True):
        if key in frame:  # there is no distance under a classifier of the user's
            _lines(axes, frame.assign(way="guided t/T: " + frame["guided"]), "guidance_weight", key)
        axes.set(xlabel="guidance weight w", ylabel=title)
    _dashed(panels[0], real_accuracy)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def scores_over_steps(frame: pd.DataFrame, real_accuracy: float | None) -> Figure:
    """Accuracy and Fréchet distance over the number of steps, a line a way to sample; dashed: accuracy on real digits.

    The first panel leaves out what lies far below the rest, the second is logarithmic. Rows without scores are left
    out.
    """
    frame = frame.dropna(subset="accuracy")
    steps = sorted(frame["steps"].unique())
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.9), layout="constrained")
    titles = {"accuracy": "accuracy, %", "frechet": "Fréchet distance"}
    for axes, (key, title) in zip(panels, titles.items(), strict=True):
        if key in frame:  # there is no distance under a classifier of the user's
            _lines(axes, frame, "steps", key)
        axes.set(xscale="log", xlabel="steps", ylabel=title)
        axes.set_xticks(steps, [f"{count:,}" for count in steps])
        axes.minorticks_off()
    _dashed(panels[0], real_accuracy)
    panels[0].set_ylim(bottom=frame["accuracy"].quantile(0.1) - 2)
    panels[1].set_yscale("log")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def eta_grid(faces: Mapping[float, Tensor]) -> Figure:
    """Faces uint8 (N, 3, H, W) of each eta, a row an eta, a column a noise."""
    return _noise_grid(list(faces.values()), [f"η = {eta:g}" for eta in faces], 0.5)


def runs_grid(runs: Tensor) -> Figure:
    """Faces uint8 (runs, N, 3, H, W) from the same noise: a row a run, a column a noise."""
    return _noise_grid(runs, [f"run {number}" for number in range(1, len(runs) + 1)], 0.6)


def _noise_grid(rows: Sequence[Tensor], names: list[str], width: float) -> Figure:
    titles = [f"noise {number:02d}" for number in range(len(rows[0]))]
    return image_grid([images.numpy() for images in rows], names, titles, width=width * WIDTH)


def distance_over_eta(frame: pd.DataFrame, between_noises: float) -> Figure:
    """`hw2lib.diffusion.face_experiments.distances_between_runs`: mean and range; dashed: faces of different noise."""
    figure, axes = plt.subplots(figsize=(0.7 * WIDTH, 2.5), layout="constrained")
    _line(axes, frame, "eta", "distance")
    _dashed(axes, between_noises)
    axes.annotate("different noise", (1, between_noises), xycoords=("axes fraction", "data"), xytext=(0, 3),
                  textcoords="offset points", ha="right", fontsize="small")  # fmt: skip
    axes.set(xlabel="η", ylabel="distance, grey levels", ylim=(0, 1.12 * max(between_noises, frame["distance"].max())))
    return figure


def ways_grid(faces: Mapping[str, Tensor], alphas: Sequence[float]) -> Figure:
    """Faces uint8 (N, 3, H, W) on each way between two noises, a row a way, a column an alpha."""
    return image_grid([images.numpy() for images in faces.values()], list(faces), [f"{alpha:g}" for alpha in alphas])


def ways_measured(frame: pd.DataFrame, shell: float) -> Figure:
    """`hw2lib.diffusion.face_experiments.path_frame` over alpha; dashed: the shell on which normal noise lies."""
    titles = {"norm": "norm of the noise", "contrast": "contrast", "sharpness": "sharpness, grey levels"}
    titles["step"] = "distance from the face\nbefore, grey levels"
    figure, grid = plt.subplots(2, 2, figsize=(WIDTH, 4.2), layout="constrained", sharex=True)
    for axes, (column, title) in zip(grid.flat, titles.items(), strict=True):
        _lines(axes, frame, "alpha", column, band=False)
        axes.set(ylabel=title, xlabel="α" if axes in grid[1] else "")
    _dashed(grid[0, 0], shell)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def steps_grid(truth: Tensor, faces: Mapping[int, Tensor]) -> Figure:
    """Faces uint8 (N, 3, H, W) of each number of steps, few first, above those that they should be."""
    rows = [images.numpy() for images in faces.values()] + [truth.numpy()]
    return image_grid(rows, [f"{steps} steps" for steps in faces] + ["truth"], [f"{n:02d}" for n in range(len(truth))])


def error_over_steps(frame: pd.DataFrame, bar: float) -> Figure:
    """`hw2lib.diffusion.face_experiments.errors`: mean over the noises, a line a way; dashed: the homework's bar."""
    figure, axes = plt.subplots(figsize=(0.85 * WIDTH, 2.9), layout="constrained")
    _lines(axes, frame, "steps", "error", band=False)
    _dashed(axes, bar)
    axes.set(xscale="log", yscale="log", xlabel="steps", ylabel="mean squared error")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sorted(frame["steps"].unique()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _lines(axes: Axes, frame: pd.DataFrame, x: str, y: str, band: bool = True) -> None:
    """A line for each ``way``."""
    for number, (way, rows) in enumerate(frame.groupby("way", sort=False)):
        _line(axes, rows, x, y, band, number, way)


def _line(axes: Axes, frame: pd.DataFrame, x: str, y: str, band: bool = True, number: int = 0, title: str = "") -> None:
    """The mean of y over x, and its range as a band."""
    values, colour = frame.groupby(x)[y], PALETTE[number % len(PALETTE)]
    mean, marker = values.mean(), MARKERS[number % len(MARKERS)]
    axes.plot(mean.index, mean, marker=marker, ms=4, color=colour, label=title)
    if band:
        axes.fill_between(mean.index, values.min(), values.max(), color=colour, alpha=0.2, lw=0)


def _dashed(axes: Axes, height: float | None) -> None:
    if height is not None:
        axes.axhline(height, ls="--", lw=0.9, color="black")
