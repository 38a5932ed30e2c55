"""Figures of DDIM on faces: eta, ways between noises, and fewer steps."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from torch import Tensor

from hw2lib.plots.grids import image_grid
from hw2lib.plots.style import PALETTE, WIDTH

MARKERS = ("o", "s", "^", "D", "v")


def eta_grid(faces: Mapping[float, Tensor]) -> Figure:
    """Faces uint8 (N, 3, H, W) of each eta, a row an eta, a column a noise."""
    columns = len(next(iter(faces.values())))
    rows = [images.numpy() for images in faces.values()]
    titles = [f"noise {number:02d}" for number in range(columns)]
    return image_grid(rows, [f"η = {eta:g}" for eta in faces], titles, width=0.5 * WIDTH)


def runs_grid(runs: Tensor) -> Figure:
    """Faces uint8 (runs, N, 3, H, W) from the same noise: a row a run, a column a noise."""
    titles = [f"noise {number:02d}" for number in range(runs.shape[1])]
    names = [f"run {number}" for number in range(1, len(runs) + 1)]
    return image_grid([images.numpy() for images in runs], names, titles, width=0.6 * WIDTH)


def distance_over_eta(frame: pd.DataFrame, between_noises: float) -> Figure:
    """`hw2lib.diffusion.face_experiments.distances_between_runs`: mean and range; dashed: faces of different noise."""
    figure, axes = plt.subplots(figsize=(0.7 * WIDTH, 2.5), layout="constrained")
    found = frame.groupby("eta")["distance"]
    axes.plot(found.mean().index, found.mean(), marker="o", ms=4, color=PALETTE[0])
    axes.fill_between(found.min().index, found.min(), found.max(), color=PALETTE[0], alpha=0.2, lw=0)
    axes.axhline(between_noises, ls="--", lw=0.9, color="black")
    axes.annotate("different noise", (1, between_noises), xycoords=("axes fraction", "data"), xytext=(0, 3),
                  textcoords="offset points", ha="right", fontsize="small")  # fmt: skip
    axes.set(xlabel="η", ylabel="distance, grey levels", ylim=(0, 1.12 * max(between_noises, frame["distance"].max())))
    return figure


def ways_grid(faces: Mapping[str, Tensor], alphas: Sequence[float]) -> Figure:
    """Faces uint8 (N, 3, H, W) on each way between two noises, a row a way, a column an alpha."""
    return image_grid([images.numpy() for images in faces.values()], list(faces), [f"{alpha:g}" for alpha in alphas])


def ways_measured(frame: pd.DataFrame, shell: float) -> Figure:
    """`hw2lib.diffusion.face_experiments.path_frame` over alpha; dashed: the shell on which normal noise lies."""
    panels_of = {
        "norm": "norm of the noise",
        "contrast": "contrast",
        "sharpness": "sharpness, grey levels",
        "step": "distance from the face\nbefore, grey levels",
    }
    figure, grid = plt.subplots(2, 2, figsize=(WIDTH, 4.2), layout="constrained", sharex=True)
    for axes, (column, title) in zip(grid.flat, panels_of.items(), strict=True):
        for (way, rows), colour, marker in zip(frame.groupby("way", sort=False), PALETTE, MARKERS, strict=False):
            axes.plot(rows["alpha"], rows[column], marker=marker, ms=4, color=colour, label=way)
        axes.set(ylabel=title)
    for axes in grid[1]:
        axes.set(xlabel="α")
    grid[0, 0].axhline(shell, ls="--", lw=0.9, color="black")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def steps_grid(truth: Tensor, faces: Mapping[int, Tensor]) -> Figure:
    """Faces uint8 (N, 3, H, W) of each number of steps, few first, above those that they should be."""
    rows = [images.numpy() for images in faces.values()] + [truth.numpy()]
    return image_grid(rows, [f"{steps} steps" for steps in faces] + ["truth"], [f"{n:02d}" for n in range(len(truth))])


def error_over_steps(frame: pd.DataFrame, bar: float) -> Figure:
    """`hw2lib.diffusion.face_experiments.errors`: mean over the noises, a line a way; dashed: the homework's bar."""
    figure, axes = plt.subplots(figsize=(0.85 * WIDTH, 2.9), layout="constrained")
    for (way, rows), colour, marker in zip(frame.groupby("way", sort=False), PALETTE, MARKERS, strict=False):
        found = rows.groupby("steps")["error"].mean()
        axes.plot(found.index, found, marker=marker, ms=4, color=colour, label=way)
    axes.axhline(bar, ls="--", lw=0.9, color="black")
    axes.set(xscale="log", yscale="log", xlabel="steps", ylabel="mean squared error")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sorted(frame["steps"].unique()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    figure.legend(loc="outside upper center", ncols=2)
    return figure
