"""A network as a drawing: the way of the data through its stages."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch, Polygon

from hw2lib.layers import count_parameters
from hw2lib.plots.describe import Parts
from hw2lib.plots.stages import Stage, stages
from hw2lib.plots.style import PALETTE, WIDTH

COLOURS = {
    "input": "#bdbdbd",
    "transposed convolution": PALETTE[5],
    "convolution": PALETTE[0],
    "self-attention": PALETTE[4],
    "fully connected": PALETTE[3],
    "normalisation": PALETTE[2],
    "activation": PALETTE[1],
    "pooling": "#555555",
    "other": "#dddddd",
}
SLABS = ("normalisation", "activation", "pooling")  # drawn thin, behind the layer that they follow
ARROW = {"arrowstyle": "-|>", "mutation_scale": 6, "lw": 0.7, "color": "#555555", "shrinkA": 1, "shrinkB": 1}
TEXT = 6.5  # points
# Lengths are in inches.
SLAB = 0.045
LINE = 0.125
PITCH = 1.05  # of columns, at most
NOTE = (
    "Conv 4/2/1: kernel 4, stride 2, padding 1 (and output padding). "
    "A box's height is as the root of the map's size, its breadth as that of the channels."
)


def network_drawing(parts: Parts) -> Figure:
    """Each part as a row of boxes from its inputs to its outputs, under its title and its number of parameters.

    A box is what a stage gives, its colours tell the kinds of layers, and arrows who reads what.

    Args:
        parts: as `hw2lib.plots.describe.parts` gives them; for denoisers see `hw2lib.plots.denoisers`.
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
    axes.text(WIDTH / 2, 0.04, NOTE, ha="center", fontsize=TEXT - 1, color="#555555")
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
        return max(0.0125 * channels**0.5, 0.03), 0.115 * side**0.5, 0.025 * side**0.5

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
            axes.add_patch(FancyArrowPatch(ends[i], (x, y), **ARROW))
        for family, breadth in box.slabs:
            _block(axes, (x, y - height / 2), (breadth, height, depth), COLOURS[family])
            x += breadth
        ends.append((x + depth, y))
        shape = "×".join(map(str, box.stage.shape))
        axes.text(centre, middle + box.top + 0.03, shape, ha="center", fontsize=TEXT, weight="bold")
        for i, (text, _) in enumerate(box.stage.operations):
            axes.text(centre, middle + box.foot - i * LINE, text, ha="center", va="top", fontsize=TEXT)


def _block(axes: Axes, corner: tuple[float, float], size: tuple[float, float, float], colour: str) -> None:
    (x, y), (w, h, d) = corner, size
    faces = [
        (0, [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]),
        (0.45, [(x, y + h), (x + w, y + h), (x + w + d, y + h + d), (x + d, y + h + d)]),
        (-0.25, [(x + w, y), (x + w + d, y + d), (x + w + d, y + h + d), (x + w, y + h)]),
    ]
    for light, points in faces:  # towards white, or towards black
        shade = [c + light * (1 - c if light > 0 else c) for c in to_rgb(colour)]
        axes.add_patch(Polygon(points, fc=shade, ec="white", lw=0.3))
