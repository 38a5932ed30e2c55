"""Figures of the diffusion part: every image and every number at its place."""

import numpy as np
import pandas as pd
import pytest
import torch

from hw2lib.diffusion import figures
from hw2lib.plots.grids import GAP

STEP = 28 + GAP


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
        {"guidance_weight": [0.0, 0.0, 2.0, 2.0], "accuracy": [90, 92, 98, 100], "diversity": [0.3, 0.3, 0.2, 0.1]}
    )
    accuracy, diversity = figures.accuracy_and_diversity(frame, 97.4).axes
    assert accuracy.lines[0].get_xydata().tolist() == [[0, 91], [2, 99]]
    assert list(accuracy.lines[1].get_ydata()) == [97.4, 97.4], "real digits"
    assert diversity.lines[0].get_ydata() == pytest.approx([0.3, 0.15])


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
    ddpm, solver = steps.lines
    assert ddpm.get_xydata().tolist() == [[5, 10], [50, 90]]
    assert solver.get_xydata().tolist() == [[5, 98]]
    drawn = [line.get_xydata() for line in distance.lines]
    assert np.allclose(drawn[0], [[5, 9], [50, 9]])
    assert np.allclose(drawn[1], [[5, 3]]), "the mean of both sets"
    assert not figures.scores_over_steps(frame.drop(columns="frechet"), None).axes[1].lines
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["DDPM", "DPM-Solver++"]
