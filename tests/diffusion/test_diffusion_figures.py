"""Figures of the diffusion part: every image and every number at its place."""

import pandas as pd
import pytest
import torch

from hw2lib.diffusion import figures
from hw2lib.plots.grids import GAP

STEP = 28 + GAP  # of digits
FACE_STEP = 4 + GAP


def drawn(axes) -> list[list[list[float]]]:
    """The points of each line; lines without any are seaborn's, for the legend."""
    return [line.get_xydata().tolist() for line in axes.lines if len(line.get_xydata())]


def pixels(figure):
    return figure.axes[0].images[0].get_array()


def test_the_way_from_noise_is_clamped_and_named_by_its_steps():
    states = {1000: torch.full((3, 28, 28), 4.0), 0: torch.full((3, 28, 28), -1.0)}
    figure = figures.reverse_process({"DDPM": states, "DDIM": {t: -x for t, x in states.items()}})
    shown = pixels(figure)
    assert [shown[y, x, 0] for y in (0, STEP) for x in (0, STEP)] == [255, 0, 0, 255]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["t = 1,000", "t = 0"]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["DDPM", "DDIM"]


def test_guidance_has_the_mean_of_the_sets_at_each_weight():
    frame = pd.DataFrame(
        {
            "guidance_weight": [1.0, 1.0, 2.0, 2.0, 2.0], "guided": [*["all"] * 4, "0.2 to 0.8"],
            "accuracy": [90, 92, 98, 100, 97], "diversity": [0.3, 0.3, 0.2, 0.1, 0.4],
        }
    )  # fmt: skip
    figure = figures.scores_over_weights([frame[:2], frame[2:]], 97.4)
    accuracy, diversity = figure.axes  # the distance is unknown under this classifier
    assert titles(axes.title for axes in figure.axes) == ["accuracy, %", "diversity within a digit"], (
        "distance: unknown"
    )
    assert drawn(accuracy) == [[[1, 91], [2, 99]], [[2, 97]], [[0, 97.4], [1, 97.4]]], "last, real digits"
    assert drawn(diversity)[0] == [[1, pytest.approx(0.3)], [2, pytest.approx(0.15)]]
    assert [text.get_text() for text in figure.legends[0].texts] == ["guided t/T: all", "guided t/T: 0.2 to 0.8"]


def test_accuracy_is_drawn_over_steps_and_over_time():
    frame = pd.DataFrame(
        {
            "way": ["DDPM", "DDPM", "DPM-Solver++", "DPM-Solver++"],
            "steps": [5, 50, 5, 5],
            "accuracy": [10.0, 90.0, 97.0, 99.0],
            "seconds": [0.01, 0.1, 0.01, 0.03],
        }
    )
    frame["frechet"] = [9.0, 9.0, 2.0, 4.0]
    figure = figures.scores_over_steps(frame, None)
    steps, distance = figure.axes
    assert drawn(steps) == [[[5, 10], [50, 90]], [[5, 98]]]
    assert drawn(distance) == [[[5, 9], [50, 9]], [[5, 3]]], "the mean of both sets"
    assert titles(steps.get_xticklabels()) == ["5", "50"]
    assert not steps.get_xticks(minor=True).size, "numbers between them would lie over each other"
    assert len(figures.scores_over_steps(frame.drop(columns="frechet"), None).axes) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["DDPM", "DPM-Solver++"]


def shown(figure) -> list[list[int]]:
    """The grey level of each image of a grid of plain ones."""
    pixels = figure.axes[0].images[0].get_array()[..., 0]
    return pixels[::FACE_STEP, ::FACE_STEP].tolist()


def plain(*levels: int) -> torch.Tensor:
    return torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)


def titles(labels) -> list[str]:
    return [label.get_text() for label in labels]


def test_eta_goes_down_and_the_noises_of_two_runs_across():
    runs = {0.0: [plain(1, 2), plain(1, 2), plain(9, 9)], 0.5: [plain(3, 4), plain(5, 6), plain(9, 9)]}
    figure = figures.eta_grid({eta: torch.stack(faces) for eta, faces in runs.items()})
    assert shown(figure) == [[1, 2, 255, 1, 2], [3, 4, 255, 5, 6]]
    assert titles(figure.axes[0].get_yticklabels()) == ["η = 0", "η = 0.5"]
    assert titles(figure.axes[0].get_xticklabels()) == ["00, run 1", "01, run 1", "", "00, run 2", "01, run 2"]


def test_distance_has_the_mean_of_the_pairs_and_the_distance_of_noises():
    frame = pd.DataFrame({"eta": [0.0, 0.0, 0.5, 0.5], "distance": [0.0, 0.0, 10.0, 20.0]})
    axes = figures.distance_over_eta(frame, 60.0).axes[0]
    assert drawn(axes) == [[[0, 0], [0.5, 15]], [[0, 60], [1, 60]]]
    assert axes.get_ylim()[1] > 60


def test_ways_and_their_alphas():
    figure = figures.ways_grid({"slerp": plain(1, 2), "lerp": plain(3, 4)}, [0.0, 0.25])
    assert shown(figure) == [[1, 2], [3, 4]]
    assert titles(figure.axes[0].get_yticklabels()) == ["slerp", "lerp"]
    assert titles(figure.axes[0].get_xticklabels()) == ["0", "0.25"]


def test_what_is_measured_on_the_ways():
    columns = {"norm": [9.0, 8.0], "contrast": [5.0, 6.0], "sharpness": [3.0, 4.0]}
    frame = pd.concat([pd.DataFrame({"way": way, "alpha": [0.0, 1.0], **columns}) for way in ("slerp", "lerp")])
    figure = figures.ways_measured(frame, 9.5)
    last = [[points[-1][1] for points in drawn(axes)] for axes in figure.axes]
    assert last == [[8, 8, 9.5], [6, 6], [4, 4]]
    assert titles(figure.legends[0].get_texts()) == ["slerp", "lerp"]


def test_few_steps_stand_above_the_truth():
    figure = figures.steps_grid(plain(7, 8), {10: plain(1, 2), 50: plain(3, 4)})
    assert shown(figure) == [[1, 2], [3, 4], [7, 8]]
    assert titles(figure.axes[0].get_yticklabels()) == ["10 steps", "50 steps", "truth"]


def test_errors_fall_over_the_steps():
    frame = pd.DataFrame({"way": ["DDIM, leading"] * 4, "steps": [10, 10, 50, 50], "error": [90.0, 110.0, 3.0, 5.0]})
    axes = figures.error_over_steps(frame, bar=20).axes[0]
    assert drawn(axes) == [[[10, 100], [50, 4]], [[0, 20], [1, 20]]]
    assert axes.get_yscale() == "log"
