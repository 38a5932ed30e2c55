"""Drawings of denoisers: a box for each stage, skip connections at one height, everything legible."""

import itertools

import pytest
from matplotlib.patches import FancyArrowPatch

from hw2lib.networks import build
from hw2lib.plots import WIDTH
from hw2lib.plots.drawings import BREADTH, denoiser_drawing
from hw2lib.plots.stages import trace

NETWORKS = ["unet-two-level", "unet-three-level", "unet-wide-bottleneck", "context-unet", "context-unet-128"]
MARGIN = 0.06  # inches between a shape and the end of its band
TALLEST = 0.36 * 241 / 25.4  # inches: what the report sets without making it much smaller, see report.typ


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    return build(request.param)


@pytest.fixture
def figure(network):
    figure = denoiser_drawing(network)
    figure.dpi = 200  # as it is saved: letters are rounded to pixels
    return figure


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def boxes(figure):
    """The outlines: (x, y, width, height) in the order of the stages."""
    frames = [patch for patch in figure.axes[0].patches if patch.get_facecolor()[3] == 0]
    return [(*frame.get_xy(), frame.get_width(), frame.get_height()) for frame in frames]


def level_arrows(figure):
    """Ends of the straight horizontal arrows."""
    arrows = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    ends = [arrow._posA_posB for arrow in arrows]
    return [(start, end) for start, end in ends if start[1] == pytest.approx(end[1]) and start[0] != end[0]]


def test_every_stage_has_a_box_and_its_name(network, figure):
    stages = dict.fromkeys(step.unit for step in trace(*network.parts["denoiser"]))
    assert len(boxes(figure)) == len(stages) > 6
    assert [word for word in words(figure) if word in stages] == list(stages)
    for one, other in itertools.combinations(boxes(figure), 2):
        (x, y, width, height), (u, v, breadth, tallness) = one, other
        assert x + width < u or u + breadth < x or y + height < v or v + tallness < y


def test_boxes_of_smaller_maps_stand_lower(network, figure):
    heights = {}
    for text in figure.axes[0].texts:
        if text.get_ha() == "right" and "×" in text.get_text():
            side = int(text.get_text().rsplit("×", 1)[1])
            heights.setdefault(side, []).append(text.get_position()[1])
    sides = sorted(heights, reverse=True)
    assert sides == ([28, 14, 7, 1] if hasattr(network, "time") else [28, 14, 7, 3][: 1 + len(network.down)])
    for larger, smaller in itertools.pairwise(sides):
        assert min(heights[larger]) > max(heights[smaller])


def test_skip_connections_are_level_and_join_equal_sizes(network, figure):
    shapes = {}  # of a band, by its right and by its left end
    for text in figure.axes[0].texts:
        if text.get_ha() == "right" and "×" in text.get_text():
            x, y = text.get_position()
            for end in (x + MARGIN, x + MARGIN - BREADTH):
                shapes[round(end, 3), round(y, 3)] = text.get_text()
    joined = [tuple(shapes[round(x, 3), round(y, 3)] for x, y in ends) for ends in level_arrows(figure)]
    operations = trace(*network.parts["denoiser"])
    skips = [(operations[step.skip].shape, step.shape) for step in operations if step.skip is not None]
    assert joined[-len(skips) :] == [tuple("×".join(map(str, shape)) for shape in ends) for ends in skips]
    assert len(joined) <= len(skips) + 1, "but for the step to the bottom"
    assert all(one.split("×")[1:] == other.split("×")[1:] for one, other in joined)


def test_no_text_lies_on_another_and_none_beyond_the_page(figure):
    assert figure.get_size_inches()[0] == pytest.approx(WIDTH)
    assert figure.get_size_inches()[1] < TALLEST
    page, renderer = figure.bbox, figure.canvas.get_renderer()
    extents = [(text.get_text(), text.get_window_extent(renderer)) for text in figure.axes[0].texts]
    for text, box in extents:
        assert min(box.x0, box.y0) >= 0, text
        assert box.x1 <= page.x1, text
        assert box.y1 <= page.y1, text
    assert [(a, b) for (a, one), (b, other) in itertools.combinations(extents, 2) if one.overlaps(other)] == []


def test_no_text_but_that_of_the_bands_lies_on_a_box(figure):
    renderer, to_pixels = figure.canvas.get_renderer(), figure.axes[0].transData
    frames = [to_pixels.transform([(x, y), (x + w, y + h)]) for x, y, w, h in boxes(figure)]
    for text in figure.axes[0].texts:
        box = text.get_window_extent(renderer)
        for (x0, y0), (x1, y1) in frames:
            apart = box.x1 <= x0 or x1 <= box.x0 or box.y1 <= y0 or y1 <= box.y0
            inside = x0 <= box.x0 and box.x1 <= x1 and y0 <= box.y0 and box.y1 <= y1
            assert apart or inside, text


def test_what_the_drawing_says():
    found = words(denoiser_drawing(build("unet-wide-bottleneck")))
    assert "denoiser: 23,335,299 parameters" in found
    assert found.count("self-attention") == found.count("+ time and label") == 6
    assert found.count("concatenate") == 3
    at = found.index("6 Conv 3/1/1")
    assert found[at : at + 3] == ["6 Conv 3/1/1", "512, 256×3×3", "bottom"]
    assert {"noised image 3×28×28", "predicted noise", "28×28", "14×14", "7×7", "3×3"} <= set(found)
    found = words(denoiser_drawing(build("context-unet-128")))
    assert found.count("× label") == found.count("+ time") == 2
    assert "self-attention" not in found
