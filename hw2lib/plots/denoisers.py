"""A denoiser as a drawing: the U, down on the left and up on the right, operation by operation."""

from dataclasses import dataclass
from itertools import groupby, pairwise

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from hw2lib.layers import count_parameters
from hw2lib.plots.describe import AnyUNet, parts
from hw2lib.plots.networks import ARROW, COLOURS, TEXT
from hw2lib.plots.style import WIDTH
from hw2lib.plots.trace import Operation, trace

FAMILIES = {
    "convolution": COLOURS["convolution"],
    "transposed convolution": COLOURS["transposed convolution"],
    "pooling": COLOURS["pooling"],
    "interpolation": COLOURS["normalisation"],
    "concatenation": COLOURS["activation"],
    "condition": COLOURS["fully connected"],
    "self-attention": COLOURS["self-attention"],
}
GREY = "#555555"
# Lengths are in inches.
BAND = 0.116
GAP = 0.1
BREADTH = 1.95
BEGIN = {"down": 0.85, "up": WIDTH - 0.75 - BREADTH}
NOTE = (
    "Conv 3/1/1: kernel, stride, padding; behind it channels × height × width of what it gives. "
    "Normalisations, activations and residual sums are left out."
)


def denoiser_drawing(network: AnyUNet) -> Figure:
    """A box for each stage of a U-Net and a band for each operation in it, at heights that follow the size of the map.

    The left arm is read downwards and the right arm upwards; horizontal arrows between them are skip connections. What
    is drawn is what a forward pass does (`hw2lib.plots.trace`) to an image of the size in `network.inputs`.
    """
    inputs = parts(network)["denoiser"][1]
    boxes = _place(trace(network, inputs))
    top, bottom = max(box.high for box in boxes) + 0.24, min(box.low for box in boxes) - 0.04
    figure = plt.figure(figsize=(WIDTH, top - bottom + 0.13))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(bottom - 0.13, top))
    axes.axis("off")
    _draw_sizes(axes, boxes, top, bottom)
    for box in boxes:
        _draw_box(axes, box)
    _draw_arrows(axes, boxes, f"noised image {_spelled(inputs[0].shape[1:])}")
    title = f"denoiser: {count_parameters(network):,} parameters"
    axes.text(BEGIN["down"], top - 0.04, title, va="top", fontsize=TEXT + 1.5, weight="bold")
    axes.text(WIDTH / 2, bottom - 0.04, NOTE, ha="center", va="top", fontsize=TEXT - 1, color=GREY)
    return figure


@dataclass
class _Box:
    """A stage, whose operations follow each other downwards in the arm that goes down, and upwards in the other."""

    operations: list[Operation]
    arm: str
    low: float = 0

    @property
    def x(self) -> float:
        return BEGIN[self.arm]

    @property
    def high(self) -> float:
        return self.low + BAND * len(self.operations)

    def bands(self) -> list[tuple[Operation, float]]:
        """The operations in their order, each with the height of its middle."""
        heights = [self.low + BAND * (i + 0.5) for i in range(len(self.operations))]
        return list(zip(self.operations, heights if self.arm == "up" else heights[::-1], strict=True))

    @property
    def ends(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Where the way enters, and where it leaves."""
        low, high = ((self.x + BREADTH / 2, y) for y in (self.low, self.high))
        return (low, high) if self.arm == "up" else (high, low)


def _place(operations: list[Operation]) -> list[_Box]:
    """The right arm first, from its top; on the left, what a skip connection reads stands level with where it goes."""
    stages = [list(group) for _, group in groupby(operations, key=lambda operation: operation.unit)]
    turn = min(range(len(stages)), key=lambda i: (stages[i][-1].shape[-1], -i))  # the last one of the smallest
    down, up = [_Box(stage, "down") for stage in stages[:turn]], [_Box(stage, "up") for stage in stages[turn:]]
    lowest = GAP
    for box in reversed(up):
        box.low = lowest = lowest - GAP - BAND * len(box.operations)
    level = {id(operations[band.skip]): y for box in up for band, y in box.bands() if band.skip is not None}
    for box, above in zip(down, [up[1], *down], strict=False):
        box.low = min(above.low, up[1].low) - GAP - BAND * len(box.operations)
        operation, y = box.bands()[-1]
        box.low += level.get(id(operation), y) - y
    up[0].low = min(up[0].low, down[-1].low)
    return [*down, *up]


def _draw_sizes(axes: Axes, boxes: list[_Box], top: float, bottom: float) -> None:
    """A stripe for each height and width of the maps, between those of the next sizes."""
    bands = [band for box in boxes for band in box.bands()]
    sizes = sorted({operation.shape[1:] for operation, _ in bands}, reverse=True)
    heights = [[y for operation, y in bands if operation.shape[1:] == size] for size in sizes]
    borders = [top, *((min(a) + max(b)) / 2 for a, b in pairwise(heights)), bottom]
    for i, (size, (upper, lower)) in enumerate(zip(sizes, pairwise(borders), strict=True)):
        axes.add_patch(Rectangle((0, lower), WIDTH, upper - lower, fc="#f5f5f5" if i % 2 else "#ebebeb", lw=0))
        axes.text(0.06, upper - 0.05, _spelled(size), va="top", fontsize=TEXT, color=GREY)


def _draw_box(axes: Axes, box: _Box) -> None:
    words = {"va": "center_baseline", "fontsize": TEXT}
    for operation, y in box.bands():
        colour = [0.45 * c + 0.55 for c in to_rgb(FAMILIES[operation.family])]  # light, for the letters
        axes.add_patch(Rectangle((box.x, y - BAND / 2), BREADTH, BAND, fc=colour, ec="white", lw=0.5))
        count, widths = len(operation.shapes), [width for width, _ in groupby(shape[0] for shape in operation.shapes)]
        axes.text(box.x + 0.06, y, f"{count} {operation.text}" if count > 1 else operation.text, **words)
        shape = ", ".join(map(str, widths)) + "×" + _spelled(operation.shape[1:])
        axes.text(box.x + BREADTH - 0.06, y, shape, ha="right", **words)
    axes.add_patch(Rectangle((box.x, box.low), BREADTH, box.high - box.low, fc="none", ec=GREY, lw=0.7))
    x, side = (box.x - 0.08, "right") if box.arm == "down" else (box.x + BREADTH + 0.08, "left")
    axes.text(x, (box.low + box.high) / 2, box.operations[0].unit, ha=side, weight="bold", **words)


def _draw_arrows(axes: Axes, boxes: list[_Box], image: str) -> None:
    def arrow(start: tuple[float, float], end: tuple[float, float], style: str = "arc3") -> None:
        look = ARROW | {"shrinkA": 0, "shrinkB": 0, "connectionstyle": style}
        axes.add_patch(FancyArrowPatch(start, end, **look))

    for box, following in pairwise(boxes):
        start, end = box.ends[1], following.ends[0]
        if box.arm == following.arm:
            arrow(start, end)
            continue
        y = following.bands()[0][1]
        if y < box.low:  # down and round the corner
            arrow(start, (following.x, y), "angle,angleA=90,angleB=0")
        else:
            arrow((box.x + BREADTH, y), (following.x, y))
    bands = [(box, operation, y) for box in boxes for operation, y in box.bands()]
    for box, operation, y in bands:
        if operation.skip is not None:
            source, _, start = bands[operation.skip]
            arrow((source.x + BREADTH, start), (box.x, y))
    for (x, y), text, inwards in ((boxes[0].ends[0], image, True), (boxes[-1].ends[1], "predicted noise", False)):
        outside = (x, y + 0.15)
        arrow(*((outside, (x, y)) if inwards else ((x, y), outside)))
        axes.text(x + 0.07, y + 0.09, text, va="center_baseline", fontsize=TEXT, weight="bold")


def _spelled(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
