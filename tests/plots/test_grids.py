"""Grids: every image at its place, pixel for pixel, under its title."""

import io

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image

from hw2lib.plots import PALETTE, WIDTH
from hw2lib.plots.grids import GAP, digit_grid, image_grid, mosaic

RNG = np.random.default_rng(0)


def pictures(columns, channels=3, size=28):
    return RNG.integers(0, 256, (columns, channels, size, size), np.uint8)


def test_every_image_is_at_its_place():
    colour, grey = pictures(3), pictures(2, channels=1)
    grid = mosaic([colour, grey])
    step = 28 + GAP
    assert grid.shape == (2 * step - GAP, 3 * step - GAP, 3)
    for j, image in enumerate(colour):
        assert (grid[:28, j * step : j * step + 28] == image.transpose(1, 2, 0)).all()
    for j, image in enumerate(grey):
        for channel in range(3):
            assert (grid[step:, j * step : j * step + 28, channel] == image[0]).all()
    assert (grid[step:, 2 * step :] == 255).all(), "the shorter row ends white"
    assert (grid[28:step] == 255).all(), "the gap is white"


def test_digits_stand_in_rows_and_their_noises_in_columns():
    images = torch.arange(30, dtype=torch.uint8)[:, None, None, None].expand(30, 3, 28, 28)  # of digit i % 10
    shown = digit_grid(images).axes[0].images[0].get_array()[14 :: 28 + GAP, 14 :: 28 + GAP, 0]
    assert (shown == np.arange(30).reshape(3, 10).T).all()


def test_titles_stand_at_the_middle_of_their_rows_and_columns():
    figure = image_grid([pictures(4), pictures(4)], ["SVHN", "USPS"], list("0123"))
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["SVHN", "USPS"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list("0123")
    assert axes.get_yticks().tolist() == [13.5, 13.5 + 28 + GAP]
    assert axes.get_xticks().tolist() == [13.5 + j * (28 + GAP) for j in range(4)]


@pytest.mark.parametrize("titles", [((), ()), (["a long title", "b"], list("0123"))])
def test_the_figure_is_as_wide_as_the_text_and_its_pixels_are_square(titles):
    figure = image_grid([pictures(4), pictures(4)], *titles)
    assert figure.get_size_inches()[0] == pytest.approx(WIDTH)
    box = figure.axes[0].get_window_extent()
    assert box.width / box.height == pytest.approx((4 * 30 - 2) / (2 * 30 - 2), rel=1e-3)
    # Nothing of the titles is cut off: a tight box adds no more than its own padding.
    figure.canvas.draw()
    tight = figure.get_tightbbox()
    assert tight.x0 > -0.05
    assert tight.y1 < figure.get_size_inches()[1] + 0.05


def test_a_saved_grid_has_the_resolution_of_print():
    """At least 150 pixels to the inch on the page, below which letters look soft."""
    file = io.BytesIO()
    image_grid([pictures(4)]).savefig(file)
    assert Image.open(file).width > WIDTH * 150


@pytest.mark.parametrize(
    ("rows", "titles", "message"),
    [
        ([], (), "needs an image"),
        ([pictures(2), pictures(0)], (), "needs an image"),
        ([pictures(2), pictures(2, size=32)], (), r"row 1 is \(2, 3, 32, 32\)"),
        ([pictures(2) / 255], (), "float64"),
        ([pictures(2)], ["one", "two"], "2 titles for 1 rows"),
    ],
)
def test_what_is_no_grid_is_refused(rows, titles, message):
    with pytest.raises(ValueError, match=message):
        image_grid(rows, titles)


def test_neighbouring_colours_differ_in_lightness_or_hue_for_everybody():
    """Also when red and green look the same: their blue part or their lightness still tells two colours apart."""
    rgb = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in PALETTE])
    seen = np.stack([rgb[:, :2] @ [0.3, 0.7], rgb[:, 2]], axis=1)
    apart = np.abs(seen[:, None] - seen[None]).max(-1)
    assert apart[~np.eye(len(PALETTE), dtype=bool)].min() > 25
    assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(PALETTE)
