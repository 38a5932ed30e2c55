"""Charts by seaborn: every number at its place, in the colour and the order that were asked for."""

import numpy as np
import pandas as pd
import pytest

from hw2lib.plots import WIDTH
from hw2lib.plots.grids import charts, confusion, measures

COLOURS = {"DDIM": "#ff0000", "Euler": "#00ff00", "DDPM": "#0000ff"}


@pytest.fixture
def frame():
    """Of two ways two seeds each, over two numbers of steps."""
    rows = [("DDPM", 5, 1.0), ("DDPM", 5, 3.0), ("DDPM", 9, 4.0), ("DDPM", 9, 4.0), ("DDIM", 5, 7.0), ("DDIM", 9, 8.0)]
    return pd.DataFrame(rows, columns=["way", "steps", "accuracy"]).assign(frechet=0.5)


def texts(parts) -> list[str]:
    return [part.get_text() for part in parts]


def test_a_line_is_the_mean_and_a_band_the_range(frame):
    grid = charts(frame, "line", 2.0, x="steps", y="accuracy", hue="way", colours=COLOURS)
    points = {line.get_color(): line.get_xydata().tolist() for line in grid.ax.lines if len(line.get_xydata())}
    assert points == {"#ff0000": [[5, 7], [9, 8]], "#0000ff": [[5, 2], [9, 4]]}
    (band,) = [path.vertices for marks in grid.ax.collections for path in marks.get_paths()]
    assert [band[band[:, 0] == 5, 1].min(), band[band[:, 0] == 5, 1].max()] == [1, 3], "one seed has no range"
    assert texts(grid.figure.legends[0].texts) == ["DDIM", "DDPM"], (
        "in the order of the colours, without what is not there"
    )
    assert grid.figure.get_size_inches() == pytest.approx([WIDTH, 2])


def test_each_measure_has_a_panel(frame):
    titles = {"frechet": "distance", "diversity": "diversity", "accuracy": "accuracy, %"}
    grid = measures(frame, titles, 2.0, x="steps", hue="way")
    assert list(grid.axes_dict) == texts(axes.title for axes in grid.figure.axes) == ["distance", "accuracy, %"]
    assert grid.axes_dict["distance"].lines[0].get_ydata().tolist() == [0.5, 0.5]
    assert grid.axes_dict["accuracy, %"].lines[0].get_ydata().tolist() == [2, 4]


def test_a_strip_has_one_mark_a_row(frame):
    grid = charts(frame, "strip", 2.0, x="accuracy", y="way", hue="steps", dodge=True, jitter=False)
    marks = np.concatenate([marks.get_offsets() for marks in grid.ax.collections])
    assert sorted(marks[:, 0].tolist()) == [1, 3, 4, 4, 7, 8]
    assert texts(grid.ax.get_yticklabels()) == ["DDPM", "DDIM"]
    assert marks[marks[:, 0] > 5, 1].tolist() == pytest.approx([0.8, 1.2]), "beside each other"


@pytest.mark.parametrize("kind", ["line", "strip", "scatter"])
def test_what_has_no_numbers_yet_is_an_empty_panel(kind, frame):
    grid = charts(frame.assign(accuracy=None), kind, 2.0, x="steps", y="accuracy", hue="way", col="way")
    assert not grid.ax.lines
    assert not grid.ax.collections


def test_a_confusion_has_percentages_of_each_row():
    figure = confusion(
        {"source-only": ([0, 0, 0, 0, 9], [0, 0, 0, 7, 9]), "DANN": ([3] * 300, [3] * 299 + [5])}, "digit", "read as"
    )
    before, after = figure.axes
    cells = before.collections[0].get_array()
    assert [cells[0, 0], cells[0, 7], cells[9, 9], cells.sum()] == [75, 25, 100, 200]
    assert [text for text in texts(before.texts) if text] == ["75", "25", "100"]
    assert [text for text in texts(after.texts) if text] == ["100"], "what rounds to 0 stays empty"
    assert [before.get_title(), before.get_ylabel(), before.get_xlabel()] == ["source-only", "digit", "read as"]
