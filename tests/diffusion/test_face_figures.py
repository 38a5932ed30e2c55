"""Figures of DDIM on faces: every image and every number at its place."""

import pandas as pd
import torch

from hw2lib.diffusion import face_figures as figures
from hw2lib.plots.grids import GAP

STEP = 4 + GAP


def shown(figure) -> list[list[int]]:
    """The grey level of each image of a grid of plain ones."""
    pixels = figure.axes[0].images[0].get_array()[..., 0]
    return pixels[::STEP, ::STEP].tolist()


def plain(*levels: int) -> torch.Tensor:
    return torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)


def titles(labels) -> list[str]:
    return [label.get_text() for label in labels]


def test_eta_goes_down_and_noise_across():
    figure = figures.eta_grid({0.0: plain(1, 2, 3), 0.5: plain(4, 5, 6)})
    assert shown(figure) == [[1, 2, 3], [4, 5, 6]]
    assert titles(figure.axes[0].get_yticklabels()) == ["η = 0", "η = 0.5"]
    assert titles(figure.axes[0].get_xticklabels()) == ["noise 00", "noise 01", "noise 02"]


def test_runs_stand_below_each_other():
    figure = figures.runs_grid(torch.stack([plain(1, 2), plain(3, 4)]))
    assert shown(figure) == [[1, 2], [3, 4]]
    assert titles(figure.axes[0].get_yticklabels()) == ["run 1", "run 2"]


def test_distance_has_the_mean_of_the_pairs_and_the_distance_of_noises():
    frame = pd.DataFrame({"eta": [0.0, 0.0, 0.5, 0.5], "distance": [0.0, 0.0, 10.0, 20.0]})
    axes = figures.distance_over_eta(frame, 60.0).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[0, 0], [0.5, 15]]
    assert list(axes.lines[1].get_ydata()) == [60, 60]
    assert axes.get_ylim()[1] > 60


def test_ways_and_their_alphas():
    figure = figures.ways_grid({"slerp": plain(1, 2), "lerp": plain(3, 4)}, [0.0, 0.25])
    assert shown(figure) == [[1, 2], [3, 4]]
    assert titles(figure.axes[0].get_yticklabels()) == ["slerp", "lerp"]
    assert titles(figure.axes[0].get_xticklabels()) == ["0", "0.25"]


def test_what_is_measured_on_the_ways():
    columns = {"norm": [9.0, 8.0], "contrast": [5.0, 6.0], "sharpness": [3.0, 4.0], "step": [float("nan"), 7.0]}
    frame = pd.concat([pd.DataFrame({"way": way, "alpha": [0.0, 1.0], **columns}) for way in ("slerp", "lerp")])
    figure = figures.ways_measured(frame, 9.5)
    drawn = [[line.get_ydata()[-1] for line in axes.lines] for axes in figure.axes]
    assert drawn == [[8, 8, 9.5], [6, 6], [4, 4], [7, 7]]
    assert titles(figure.legends[0].get_texts()) == ["slerp", "lerp"]


def test_few_steps_stand_above_the_truth():
    figure = figures.steps_grid(plain(7, 8), {10: plain(1, 2), 50: plain(3, 4)})
    assert shown(figure) == [[1, 2], [3, 4], [7, 8]]
    assert titles(figure.axes[0].get_yticklabels()) == ["10 steps", "50 steps", "truth"]


def test_errors_fall_over_the_steps():
    frame = pd.DataFrame({"way": ["DDIM, leading"] * 4, "steps": [10, 10, 50, 50], "error": [90.0, 110.0, 3.0, 5.0]})
    axes = figures.error_over_steps(frame, bar=20).axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[10, 100], [50, 4]]
    assert list(axes.lines[1].get_ydata()) == [20, 20]
    assert axes.get_yscale() == "log"
