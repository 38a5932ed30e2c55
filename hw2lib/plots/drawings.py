"""Networks as drawings: the way of the data through the stages of a network, and a denoiser as a U."""

from dataclasses import dataclass
from itertools import groupby, pairwise

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch, Polygon, Rectangle
from torch import nn

from hw2lib.layers import Parts, count_parameters
from hw2lib.plots import PALETTE, WIDTH
from hw2lib.plots.stages import Operation, Stage, stages, trace

GREY = "#555555"
COLOURS = {
    "input": "#bdbdbd",
    "transposed convolution": PALETTE[5],
    "convolution": PALETTE[0],
    "self-attention": PALETTE[4],
    "fully connected": PALETTE[3],
    "normalisation": PALETTE[2],
    "activation": PALETTE[1],
    "pooling": GREY,
    "other": "#dddddd",
}
SLABS = ("normalisation", "activation", "pooling")  # drawn thin, behind the layer that they follow
ARROW = {"arrowstyle": "-|>", "mutation_scale": 6, "lw": 0.7, "color": GREY}
TEXT = 7  # points
# Lengths of the drawing of a network, in inches.
SLAB, LINE = 0.045, 0.115
PITCH = 1.05  # of columns, at most
NOTE = (
    "Conv 4/2/1: kernel, stride, padding (and output padding). "
    "Height of a box: root of the map's size; breadth: root of the channels."
)


def network_drawing(parts: Parts) -> Figure:
    """Each part, such as those of a GAN, as a row of boxes from inputs to outputs; see `denoiser_drawing` for a U-Net.

    A box is what a stage gives, its colours tell the kinds of layers, and arrows who reads what.
    """
    rows = {title: _place(stages(module, inputs)) for title, (module, inputs) in parts.items()}
    pitch = min(PITCH, WIDTH / max(box.column + 1 for row in rows.values() for box in row))
    tops = {title: max(box.top for box in row) + 3 * LINE for title, row in rows.items()}
    bottoms = {title: min(box.bottom for box in row) - LINE / 2 for title, row in rows.items()}
    height = sum(tops.values()) - sum(bottoms.values()) + 3 * LINE
    figure = plt.figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    axes.axis("off")
    y = height
    for title, row in rows.items():
        text = f"{title}: {count_parameters(parts[title][0]):,} parameters"
        axes.text(0.05, y - 0.03, text, va="top", fontsize=TEXT + 1.5, weight="bold")
        _draw(axes, row, y - tops[title], pitch)
        y += bottoms[title] - tops[title]
    families = {family for row in rows.values() for box in row for family, _ in box.slabs}
    patches = [Patch(fc=colour, label=family) for family, colour in COLOURS.items() if family in families]
    axes.legend(
        handles=patches, loc="lower center", bbox_to_anchor=(WIDTH / 2, LINE), bbox_transform=axes.transData,
        ncols=len(patches), fontsize=TEXT, handlelength=1, handleheight=1, columnspacing=1.2, borderpad=0.3,
    )  # fmt: skip
    axes.text(WIDTH / 2, 0.04, NOTE, ha="center", fontsize=TEXT, color=GREY)
    return figure


@dataclass
class _Box:
    """A stage in its row; `level` and what follows from it are heights above the row's middle."""

    stage: Stage
    column: int
    level: float
    foot: float = 0  # where the text below the box begins

    @property
    def size(self) -> tuple[float, float, float]:
        """Breadth of the front without thin slabs, height, depth."""
        channels, side = (*self.stage.shape, 1)[0], (*self.stage.shape, 1, 1)[1]
        return max(0.0125 * channels**0.5, 0.03), 0.08 * side**0.5, 0.018 * side**0.5

    @property
    def slabs(self) -> list[tuple[str, float]]:
        """Family and breadth, from front to back: the layer that opens the stage, and what shows of the others."""
        (_, opening), *others = self.stage.operations
        return [(opening, self.size[0]), *((family, SLAB) for _, family in others if family in SLABS)]

    @property
    def top(self) -> float:
        return self.level + self.size[1] / 2 + self.size[2]

    @property
    def bottom(self) -> float:
        return self.foot - LINE * len(self.stage.operations)


def _place(row: list[Stage]) -> list[_Box]:
    """A stage stands one column behind the last that it reads, and midway between all; siblings keep apart."""
    boxes: list[_Box] = []
    for i, stage in enumerate(row):
        read = [boxes[j] for j in stage.sources]
        column = 1 + max((box.column for box in read), default=-1)
        middle = sum(box.level for box in read) / max(len(read), 1)
        siblings = [j for j, other in enumerate(row) if other.sources == stage.sources]
        lines = max(len(row[j].operations) for j in siblings)
        gap = max(_Box(row[j], 0, 0).top for j in siblings) * 2 + (lines + 2) * LINE
        boxes.append(_Box(stage, column, middle + gap * ((len(siblings) - 1) / 2 - siblings.index(i))))
    for box in boxes:
        box.foot = min(other.level - other.size[1] / 2 for other in boxes if other.level == box.level) - 0.05
    return boxes


def _draw(axes: Axes, row: list[_Box], middle: float, pitch: float) -> None:
    ends: list[tuple[float, float]] = []
    for box in row:
        _, height, depth = box.size
        across = sum(breadth for _, breadth in box.slabs)
        centre, y = pitch * (box.column + 0.5), middle + box.level
        x = centre - (across + depth) / 2
        for i in box.stage.sources:
            _arrow(axes, ends[i], (x, y), shrinkA=1, shrinkB=1)
        for family, breadth in box.slabs:
            _block(axes, (x, y - height / 2), (breadth, height, depth), COLOURS[family])
            x += breadth
        ends.append((x + depth, y))
        shape = _shape_text(box.stage.shape)
        axes.text(centre, middle + box.top + 0.03, shape, ha="center", fontsize=TEXT, weight="bold")
        for i, (text, _) in enumerate(box.stage.operations):
            axes.text(centre, middle + box.foot - i * LINE, text, ha="center", va="top", fontsize=TEXT)


def _block(axes: Axes, corner: tuple[float, float], size: tuple[float, float, float], colour: str) -> None:
    (x, y), (w, h, d) = corner, size
    front = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
    roof = [(x, y + h), (x + w, y + h), (x + w + d, y + h + d), (x + d, y + h + d)]
    side = [(x + w, y), (x + w + d, y + d), (x + w + d, y + h + d), (x + w, y + h)]
    for light, points in ((0, front), (0.45, roof), (-0.25, side)):  # towards white, or towards black
        shade = [c + light * (1 - c if light > 0 else c) for c in to_rgb(colour)]
        axes.add_patch(Polygon(points, fc=shade, ec="white", lw=0.3))


DENOISER_COLOURS = COLOURS | {
    "interpolation": COLOURS["normalisation"],
    "concatenation": COLOURS["activation"],
    "condition": COLOURS["fully connected"],
}
# Lengths of the drawing of a denoiser, in inches.
BAND, GAP, BREADTH = 0.125, 0.1, 1.95
BEGIN = {"down": 0.85, "up": WIDTH - 0.75 - BREADTH}
DENOISER_NOTE = (
    "Conv 3/1/1: kernel, stride, padding; behind it channels × height × width of what it gives. "
    "Normalisations, activations and residual sums are left out."
)


def denoiser_drawing(network: nn.Module) -> Figure:
    """A box for each stage of a U-Net and a band for each operation in it, at heights that follow the size of the map.

    The left arm is read downwards and the right arm upwards; horizontal arrows between them are skip connections. What
    is drawn is what a forward pass does (`hw2lib.plots.stages.trace`) to the example in `network.parts`.
    """
    ((_, inputs),) = network.parts.values()
    boxes = _place_levels(trace(network, inputs))
    top, bottom = max(box.high for box in boxes) + 0.24, min(box.low for box in boxes) - 0.04
    figure = plt.figure(figsize=(WIDTH, top - bottom + 0.13))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(bottom - 0.13, top))
    axes.axis("off")
    _draw_sizes(axes, boxes, top, bottom)
    for box in boxes:
        _draw_level(axes, box)
    _draw_arrows(axes, boxes, f"noised image {_shape_text(inputs[0].shape[1:])}")
    title = f"denoiser: {count_parameters(network):,} parameters"
    axes.text(BEGIN["down"], top - 0.04, title, va="top", fontsize=TEXT + 1.5, weight="bold")
    axes.text(WIDTH / 2, bottom - 0.04, DENOISER_NOTE, ha="center", va="top", fontsize=TEXT - 1, color=GREY)
    return figure


@dataclass
class _Level:
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


def _place_levels(operations: list[Operation]) -> list[_Level]:
    """The right arm first, from its top; on the left, what a skip connection reads stands level with where it goes."""
    stages = [list(group) for _, group in groupby(operations, key=lambda operation: operation.unit)]
    turn = min(range(len(stages)), key=lambda i: (stages[i][-1].shape[-1], -i))  # the last one of the smallest
    down, up = [_Level(stage, "down") for stage in stages[:turn]], [_Level(stage, "up") for stage in stages[turn:]]
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


def _draw_sizes(axes: Axes, boxes: list[_Level], top: float, bottom: float) -> None:
    """A stripe for each height and width of the maps, between those of the next sizes."""
    bands = [band for box in boxes for band in box.bands()]
    sizes = sorted({operation.shape[1:] for operation, _ in bands}, reverse=True)
    heights = [[y for operation, y in bands if operation.shape[1:] == size] for size in sizes]
    borders = [top, *((min(a) + max(b)) / 2 for a, b in pairwise(heights)), bottom]
    for i, (size, (upper, lower)) in enumerate(zip(sizes, pairwise(borders), strict=True)):
        axes.add_patch(Rectangle((0, lower), WIDTH, upper - lower, fc="#f5f5f5" if i % 2 else "#ebebeb", lw=0))
        axes.text(0.06, upper - 0.05, _shape_text(size), va="top", fontsize=TEXT - 1, color=GREY)


def _draw_level(axes: Axes, box: _Level) -> None:
    words = {"va": "center_baseline", "fontsize": TEXT}
    for operation, y in box.bands():
        colour = [0.45 * c + 0.55 for c in to_rgb(DENOISER_COLOURS[operation.family])]  # light, for the letters
        axes.add_patch(Rectangle((box.x, y - BAND / 2), BREADTH, BAND, fc=colour, ec="white", lw=0.5))
        count, widths = len(operation.shapes), [width for width, _ in groupby(shape[0] for shape in operation.shapes)]
        axes.text(box.x + 0.06, y, f"{count} {operation.text}" if count > 1 else operation.text, **words)
        shape = ", ".join(map(str, widths)) + "×" + _shape_text(operation.shape[1:])
        axes.text(box.x + BREADTH - 0.06, y, shape, ha="right", **words)
    axes.add_patch(Rectangle((box.x, box.low), BREADTH, box.high - box.low, fc="none", ec=GREY, lw=0.7))
    x, side = (box.x - 0.08, "right") if box.arm == "down" else (box.x + BREADTH + 0.08, "left")
    axes.text(x, (box.low + box.high) / 2, box.operations[0].unit, ha=side, weight="bold", **words)


def _draw_arrows(axes: Axes, boxes: list[_Level], image: str) -> None:
    for box, following in pairwise(boxes):
        start, end = box.ends[1], following.ends[0]
        y = following.bands()[0][1]
        if box.arm == following.arm:
            _arrow(axes, start, end)
        elif y < box.low:  # down and round the corner
            _arrow(axes, start, (following.x, y), connectionstyle="angle,angleA=90,angleB=0")
        else:
            _arrow(axes, (box.x + BREADTH, y), (following.x, y))
    bands = [(box, operation, y) for box in boxes for operation, y in box.bands()]
    for box, operation, y in bands:
        if operation.skip is not None:
            source, _, start = bands[operation.skip]
            _arrow(axes, (source.x + BREADTH, start), (box.x, y))
    for (x, y), text, inwards in ((boxes[0].ends[0], image, True), (boxes[-1].ends[1], "predicted noise", False)):
        inside, outside = (x, y), (x, y + 0.15)
        _arrow(axes, *((outside, inside) if inwards else (inside, outside)))
        axes.text(x + 0.07, y + 0.09, text, va="center_baseline", fontsize=TEXT, weight="bold")


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], shrinkA=0, shrinkB=0, **look) -> None:
    axes.add_patch(FancyArrowPatch(start, end, shrinkA=shrinkA, shrinkB=shrinkB, **ARROW, **look))


def _shape_text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
