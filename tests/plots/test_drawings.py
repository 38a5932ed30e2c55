"""Drawings of networks: everything legible, at its place and to scale."""

import itertools

import matplotlib as mpl
import pytest
from matplotlib.patches import FancyArrowPatch, Polygon

from hw2lib.networks import build
from hw2lib.plots import WIDTH
from hw2lib.plots.drawings import COLOURS, network_drawing

NETWORKS = ["gan-plain", "dcgan", "dcgan-wide", "wgan-gp-sn", "sagan", "acgan", "dann-wide", "dann-grey-plus"]


def texts(figure):
    return [*figure.axes[0].texts, *figure.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize("name", NETWORKS)
def test_no_text_lies_on_another_and_none_beyond_the_page(name):
    figure = network_drawing(build(name).parts)
    assert figure.get_size_inches()[0] == pytest.approx(WIDTH)
    figure.draw_without_rendering()  # places the legend
    page, renderer = figure.bbox, figure.canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts(figure) if text.get_text()]
    for text, box in boxes:
        assert min(box.x0, box.y0) >= 0, text
        assert box.x1 <= page.x1, text
        assert box.y1 <= page.y1, text
    overlaps = [(a, b) for (a, one), (b, other) in itertools.combinations(boxes, 2) if one.overlaps(other)]
    assert overlaps == []


@pytest.mark.parametrize("name", NETWORKS)
def test_no_text_lies_on_a_box(name):
    figure = network_drawing(build(name).parts)
    renderer = figure.canvas.get_renderer()
    faces = [patch.get_window_extent() for patch in figure.axes[0].patches if isinstance(patch, Polygon)]
    for text in figure.axes[0].texts:
        if text.get_text():
            assert not any(face.overlaps(text.get_window_extent(renderer)) for face in faces), text


def test_what_the_drawing_of_a_gan_says():
    figure = network_drawing(build("dcgan").parts)
    words = [text.get_text() for text in texts(figure)]
    assert "generator: 3,576,704 parameters" in words
    assert "discriminator: 2,765,568 parameters" in words
    shapes = ["100", "512×4×4", "256×8×8", "128×16×16", "64×32×32", "3×64×64"]
    assert [word for word in words if word.replace("×", "").isdigit()] == [
        *shapes, "3×64×64", "64×32×32", "128×16×16", "256×8×8", "512×4×4", "1×1×1",
    ]  # fmt: skip
    assert words.count("ConvT 4/2/1") == 4
    assert words[-5:] == ["input", "transposed convolution", "convolution", "normalisation", "activation"]
    arrows = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 10


def fronts(figure, family):
    """(breadth, height) of the fronts of that colour; the other two faces are shaded."""
    colour = mpl.colors.to_rgba(COLOURS[family])
    faces = [p.get_xy() for p in figure.axes[0].patches if isinstance(p, Polygon) and p.get_facecolor() == colour]
    return [tuple(face.max(axis=0) - face.min(axis=0)) for face in faces]


def test_boxes_are_to_scale():
    up = fronts(network_drawing(build("dcgan").parts), "transposed convolution")
    breadths, heights = zip(*up, strict=True)
    assert [height / heights[0] for height in heights] == pytest.approx([(n / 4) ** 0.5 for n in (4, 8, 16, 32, 64)])
    assert [b / breadths[0] for b in breadths[:4]] == pytest.approx([(n / 512) ** 0.5 for n in (512, 256, 128, 64)])


def test_kinds_of_layers_can_be_told_apart():
    assert len(set(COLOURS.values())) == len(COLOURS)
