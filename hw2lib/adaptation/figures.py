"""Figures of the adaptation part: the idea, accuracies, curves, feature spaces."""

from collections.abc import Sequence, Sized
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from hw2lib.adaptation.choice import CRITERIA, as_it_is, chosen, formatted, rank_correlation
from hw2lib.adaptation.networks import reversal_strength
from hw2lib.adaptation.tables import METHOD_TITLES, compared, method_title, pair_title, select
from hw2lib.plots import PALETTE, WIDTH

COLOURS = (PALETTE[1], PALETTE[0], *PALETTE[2:])  # of methods, in their order
MARKERS = ("s", "o", "^", "D", "v", "P", "X")
RING = {"marker": "o", "ms": 10, "mfc": "none", "mec": PALETTE[1], "mew": 1.5}  # around what is chosen
# Ten colours for ten digits (Paul Tol, muted), and the digit itself written at its cluster.
DIGIT_COLOURS = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499", "#777777",
)  # fmt: skip


def idea() -> Figure:
    """The three parts of a DANN and which loss trains which, beside the schedule of the reversal."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.4), width_ratios=(1.9, 1))
    left.set(xlim=(0, 10), ylim=(0, 5))
    left.axis("off")
    for text, x, y, width, colour in (
        ("images\nof both", 0.1, 2.0, 1.5, "#eeeeee"), ("feature\nextractor", 2.3, 2.0, 1.7, "#cfe2f3"),
        ("label\npredictor", 6.3, 3.4, 1.7, "#d9ead3"), ("domain\nclassifier", 6.3, 0.6, 1.7, "#fbe0c4"),
        ("reverse\ngradient", 4.2, 0.6, 1.4, "#f4cccc"),
    ):  # fmt: skip
        left.add_patch(FancyBboxPatch((x, y), width, 1.1, boxstyle="round,pad=0.08", fc=colour, ec="#444444", lw=0.8))
        left.text(x + width / 2, y + 0.55, text, ha="center", va="center", fontsize=8)
    for start, end in (
        ((1.7, 2.55), (2.2, 2.55)), ((4.1, 2.8), (6.2, 3.9)), ((3.4, 1.9), (4.1, 1.3)),
        ((5.7, 1.15), (6.2, 1.15)), ((8.1, 3.95), (8.6, 3.95)), ((8.1, 1.15), (8.6, 1.15)),
    ):  # fmt: skip
        left.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, lw=0.9, color="#444444"))
    left.text(8.7, 3.95, "label loss,\nsource only", va="center", fontsize=8)
    left.text(8.7, 1.15, "domain loss,\nboth", va="center", fontsize=8)

    progress = np.linspace(0, 1, 200)
    right.plot(progress, [reversal_strength(p) for p in progress])
    right.set(xlabel="fraction of training $p$", ylabel=r"reversal strength $\lambda$", xlim=(0, 1), ylim=(0, 1.05))
    figure.tight_layout()
    return figure


def accuracy_dots(frame: pd.DataFrame, pairs: Sequence[str]) -> Figure:
    """Test accuracy of the last step: a mark a seed, a row for each network and recipe, a panel a pair."""
    kinds = frame[["network", "recipe"]].drop_duplicates().to_dict("records")
    rows = {"{network}\n{recipe}".format(**kind): kind for kind in kinds}
    series = {method_title(method): ({"method": method}, style) for method, style in _styles(frame).items()}
    figure, panels = _row(pairs, 0.9 + 0.36 * len(rows), sharey=True)
    for axes, pair in zip(panels, pairs, strict=True):
        _dots(axes, select(frame, pair=pair), rows, series, 0.2)
        axes.set(title=pair_title(pair), xlabel="target test, %")
    _legend(figure, panels[0])
    return figure


def improved_dots(frame: pd.DataFrame, pairs: Sequence[str], original: str, improved: str) -> Figure:
    """Target test accuracy of the last step, a mark a seed, a row a pair: DANN by both recipes, the improved model."""
    figure, axes = plt.subplots(figsize=(WIDTH, 0.9 + 0.4 * len(pairs)), layout="constrained")
    styles = ({"marker": marker, "color": colour} for marker, colour in zip("soD", COLOURS[:3], strict=True))
    series = zip(compared(original, improved).items(), styles, strict=True)
    rows = {pair_title(pair): {"pair": pair} for pair in pairs}
    _dots(axes, frame, rows, {title: (values, style) for (title, values), style in series}, 0.18)
    axes.set(xlabel="accuracy on target test, %", xlim=(None, 100))
    _legend(figure, axes)
    return figure


def _dots(
    axes: Axes, frame: pd.DataFrame, rows: dict[str, dict], series: dict[str, tuple[dict, dict]], apart: float
) -> None:
    """Target test accuracy, a mark a run: rows and series of runs, by title, of which each has some values."""
    for i, (title, (values, style)) in enumerate(series.items()):
        tests = [select(frame, **row, **values)["test"].dropna() for row in rows.values()]
        heights = np.arange(len(rows)).repeat([len(part) for part in tests]) + apart * (i - (len(series) - 1) / 2)
        axes.plot(np.concatenate([[], *tests]), heights, ls="", ms=5, alpha=0.75, label=title, **style)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)


def accuracy_curves(frame: pd.DataFrame, network: str, recipes: Sequence[str], pairs: Sequence[str]) -> Figure:
    """Target test accuracy over training: mean of the seeds and the range between them."""
    figure, panels = plt.subplots(
        len(recipes), len(pairs), figsize=(WIDTH, 0.5 + 1.9 * len(recipes)), squeeze=False, layout="constrained"
    )
    for axes, (recipe, pair) in zip(panels.flat, product(recipes, pairs), strict=True):
        for method, style in _styles(frame).items():
            runs = select(frame, network=network, recipe=recipe, pair=pair, method=method)
            if curves := [curve for curve in runs["curve"] if curve]:
                steps, values = np.moveaxis(np.array(curves), 2, 0)  # (seeds, marks) each
                axes.plot(steps[0], values.mean(0), ms=3, label=method_title(method), **style)
                axes.fill_between(steps[0], values.min(0), values.max(0), color=style["color"], alpha=0.2, lw=0)
        axes.set(title=f"{pair_title(pair)}, {recipe}", xlabel="step", ylabel="target test, %")
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.title.set_fontsize(8)
    _legend(figure, panels[0][0])
    return figure


def _styles(frame: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Colour and marker of each method, those that have no run yet included."""
    styles = ({"color": colour, "marker": marker} for colour, marker in zip(COLOURS, MARKERS, strict=True))
    return dict(zip(dict.fromkeys([*METHOD_TITLES, *frame["method"]]), styles, strict=False))


def _legend(figure: Figure, axes: Axes) -> None:
    """The legend of one panel, above all."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)


def criteria(runs: pd.DataFrame) -> Figure:
    """Criteria against target test accuracy, a mark a run of `candidates`; the ring is the choice, with its number."""
    figure, panels = _row(CRITERIA, 2.8, sharey=True)
    for axes, (criterion, (title, more)) in zip(panels, CRITERIA.items(), strict=True):
        axes.plot(runs[criterion], runs["test"], ls="", marker="o", ms=4, alpha=0.75)
        if len(runs):
            best = chosen(runs, criterion)
            axes.plot(best[criterion], best["test"], ls="", clip_on=False, **RING)
            place = {"xytext": (0, 8), "textcoords": "offset points", "ha": "center", "fontsize": 8}
            axes.annotate(f"{runs.index.get_loc(best.name) + 1}", (best[criterion], best["test"]), **place)
        axes.set_title(formatted(rank_correlation(runs, criterion), "rank correlation {:.2f}", ""), fontsize=8)
        axes.set_xlabel(title.replace(", ", ",\n", 1), fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(3))
        if not more:
            axes.invert_xaxis()  # right is better in all panels
    panels[0].set_ylabel("target test, %")
    return figure


def shapes(by_pair: dict[str, pd.DataFrame]) -> Figure:
    """Information against accuracy of `scores_by_pair`, a mark a shape; ring: the choice, cross: images as they are."""
    figure, panels = _row(by_pair, 2.5)
    cross = {"marker": "X", "ms": 8, "mec": "white", "color": PALETTE[2]}
    for axes, (pair, scores) in zip(panels, by_pair.items(), strict=True):
        axes.plot(scores["information"], scores["accuracy"], ls="", marker="o", ms=3, alpha=0.5, label="a shape")
        best = chosen(scores, "information")
        for row, style, title in ((best, RING, "chosen: most information"), (as_it_is(scores), cross, "as it is")):
            axes.plot(row["information"], row["accuracy"], ls="", clip_on=False, label=title, **style)
        rank = rank_correlation(scores, "information", "accuracy")
        axes.set_title(pair_title(pair) + formatted(rank, "\nrank correlation {:.2f}", ""), fontsize=8)
        axes.set_xlabel("information, nats")
        axes.xaxis.set_major_locator(MaxNLocator(2))
    panels[0].set_ylabel("accuracy on target train, %")
    _legend(figure, panels[0])
    return figure


def by_class(points: dict[str, np.ndarray], labels: np.ndarray, is_target: np.ndarray) -> Figure:
    """Points (N, 2), a panel each, in colours of digits (N,), pale for -1; crosses: source, dots: target."""
    figure, panels = _panels(points)
    colours = np.array([*DIGIT_COLOURS, "#dddddd"])[labels]
    for axes, xy in zip(panels, points.values(), strict=True):
        for of_domain, style in ((~is_target, {"marker": "x", "s": 9, "lw": 0.5}), (is_target, {"s": 6, "lw": 0})):
            axes.scatter(*xy[of_domain].T, c=colours[of_domain], rasterized=True, **style)
        for digit in np.unique(labels[~is_target & (labels >= 0)]):
            x, y = np.median(xy[(labels == digit) & ~is_target], axis=0)
            box = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": DIGIT_COLOURS[digit], "lw": 1}
            axes.text(x, y, str(digit), ha="center", va="center", fontsize=8, bbox=box)
    return figure


def by_domain(points: dict[str, np.ndarray], is_target: np.ndarray, source: str, target: str) -> Figure:
    """Embedded points (N, 2), a panel each, in the colours of their domains (N,) bool."""
    figure, panels = _panels(points)
    order = np.random.default_rng(0).permutation(len(is_target))  # neither domain is drawn on top
    for axes, xy in zip(panels, points.values(), strict=True):
        axes.scatter(*xy[order].T, c=np.where(is_target, PALETTE[1], PALETTE[0])[order], s=4, lw=0, rasterized=True)
    for colour, title in ((PALETTE[0], source), (PALETTE[1], target)):
        panels[0].scatter([], [], c=colour, s=20, label=title)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _panels(points: dict[str, np.ndarray]) -> tuple[Figure, np.ndarray]:
    figure, panels = _row(points, 3.2)
    for axes, title in zip(panels, points, strict=True):
        axes.set(title=title, xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set(visible=True, color="#bbbbbb")
    return figure, panels


def _row(parts: Sized, height: float, **kwargs) -> tuple[Figure, np.ndarray]:
    """A panel for each part, side by side."""
    figure, panels = plt.subplots(1, len(parts), figsize=(WIDTH, height), squeeze=False, layout="constrained", **kwargs)
    return figure, panels[0]
