"""Figures of the diffusion part: digits and faces, the way to them, and what guidance, steps and eta do to them."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from torch import Tensor

from hw2lib.data.prepare import to_uint8
from hw2lib.plots import WIDTH
from hw2lib.plots.grids import charts, dashed, image_grid, measures

SCORES = {"accuracy": "accuracy, %", "frechet": "Fréchet distance", "diversity": "diversity within a digit"}


def reverse_process(ways: Mapping[str, Mapping[int, Tensor]]) -> Figure:
    """One image on its way from noise: of each sampler the states (C, H, W) in about [-1, 1] at the same steps t."""
    steps = list(next(iter(ways.values())))
    rows = [to_uint8(torch.stack([states[t] for t in steps])).numpy() for states in ways.values()]
    return image_grid(rows, list(ways), [f"t = {t:,}" for t in steps])


def guidance_grid(sets: Mapping[str, Tensor], columns: int = 10) -> Figure:
    """The same noise and digits under several guidances: uint8 (N, C, H, W) of each, `columns` of them a row."""
    return image_grid([images[:columns].numpy() for images in sets.values()], list(sets), width=0.8 * WIDTH)


def scores_over_weights(frames: Iterable[pd.DataFrame], real_accuracy: float | None) -> Figure:
    """Scores of sweeps over the guidance weight, a line for each interval; dashed: accuracy on real digits."""
    frame = pd.concat(frames, ignore_index=True)
    frame["way"] = "guided t/T: " + frame["guided"]
    grid = measures(frame, SCORES, 2.6, x="guidance_weight", hue="way")
    dashed(grid.axes_dict[SCORES["accuracy"]], real_accuracy)
    return grid.set_axis_labels("guidance weight w", "").figure


def scores_over_steps(frame: pd.DataFrame, real_accuracy: float | None) -> Figure:
    """Accuracy and Fréchet distance over the number of steps, a line a way to sample; dashed: accuracy on real digits.

    The first panel leaves out what lies far below the rest.
    """
    steps, titles = sorted(frame["steps"].unique()), {key: SCORES[key] for key in ("accuracy", "frechet")}
    grid = measures(frame, titles, 2.4, x="steps", hue="way").set(xscale="log").set_axis_labels("steps", "")
    for axes in grid.axes.flat:
        axes.set_xticks(steps, [f"{count:,}" for count in steps])
        axes.minorticks_off()
    accuracy = grid.axes.flat[0]
    accuracy.set_ylim(bottom=frame["accuracy"].quantile(0.1) - 4)
    dashed(accuracy, real_accuracy)
    return grid.figure


def eta_grid(faces: Mapping[float, Tensor]) -> Figure:
    """The first two runs side by side: faces uint8 (runs, N, 3, H, W) of each eta, a row an eta, a column a noise."""
    rows = [torch.cat([first, torch.full_like(first[:1], 255), second]) for first, second, *_ in faces.values()]
    first, second = ([f"{noise:02d}, run {run}" for noise in range(len(rows[0]) // 2)] for run in (1, 2))
    width = min(1, 0.11 * len(rows[0])) * WIDTH
    return image_grid([row.numpy() for row in rows], [f"η = {e:g}" for e in faces], [*first, "", *second], width)


def distance_over_eta(frame: pd.DataFrame, between_noises: float) -> Figure:
    """`hw2lib.diffusion.face_experiments.distances_between_runs`: mean and range; dashed: faces of different noise."""
    axes = charts(frame, "line", 2.1, x="eta", y="distance").ax
    dashed(axes, between_noises)
    axes.annotate("different noise", (1, between_noises), xycoords=("axes fraction", "data"), xytext=(0, 3),
                  textcoords="offset points", ha="right", fontsize="small")  # fmt: skip
    axes.set(xlabel="η", ylabel="distance, grey levels", ylim=(0, 1.12 * max(between_noises, frame["distance"].max())))
    return axes.figure


def ways_grid(faces: Mapping[str, Tensor], alphas: Sequence[float]) -> Figure:
    """Faces uint8 (N, 3, H, W) on each way between two noises, a row a way, a column an alpha."""
    return image_grid([images.numpy() for images in faces.values()], list(faces), [f"{alpha:g}" for alpha in alphas])


def ways_measured(frame: pd.DataFrame, shell: float) -> Figure:
    """`hw2lib.diffusion.face_experiments.path_frame` over alpha; dashed: the shell on which normal noise lies."""
    titles = {"norm": "norm of the noise", "contrast": "contrast", "sharpness": "sharpness, grey levels"}
    grid = measures(frame, titles, 2.3, x="alpha", hue="way").set_axis_labels("α", "")
    dashed(grid.axes_dict[titles["norm"]], shell)
    return grid.figure


def steps_grid(truth: Tensor, faces: Mapping[int, Tensor]) -> Figure:
    """Faces uint8 (N, 3, H, W) of each number of steps, few first, above those that they should be."""
    rows = [images.numpy() for images in faces.values()] + [truth.numpy()]
    return image_grid(rows, [f"{steps} steps" for steps in faces] + ["truth"], [f"{n:02d}" for n in range(len(truth))])


def error_over_steps(frame: pd.DataFrame, bar: float) -> Figure:
    """`hw2lib.diffusion.face_experiments.errors`: mean over the noises, a line a way; dashed: the homework's bar."""
    axes = charts(frame, "line", 2.9, 0.85 * WIDTH, x="steps", y="error", hue="way", errorbar=None).ax
    dashed(axes, bar)
    axes.set(xscale="log", yscale="log", xlabel="steps", ylabel="mean squared error")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sorted(frame["steps"].unique()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    return axes.figure
