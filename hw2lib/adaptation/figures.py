"""Figures of the adaptation part: the idea, accuracies, curves, feature spaces."""

from collections.abc import Sequence, Sized
from itertools import cycle, product
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from hw2lib.adaptation.choice import CRITERIA, as_it_is, chosen, formatted, rank_correlation
from hw2lib.adaptation.networks import reversal_strength
from hw2lib.adaptation.tables import METHOD_TITLES, compared, method_title, pair_title, select
from hw2lib.plots import PALETTE, WIDTH
from hw2lib.plots.grids import charts

if TYPE_CHECKING:
    from seaborn import FacetGrid

    from hw2lib.adaptation.embedding import FeatureSpace

COLOURS = (PALETTE[1], PALETTE[0], *PALETTE[2:])  # of methods, in their order
DOTS = {"x": "test", "dodge": True, "jitter": False, "orient": "h", "size": 6, "alpha": 0.75}  # a mark a run
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


def improved_dots(frame: pd.DataFrame, pairs: Sequence[str], original: str, improved: str) -> Figure:
    """Target test accuracy of the last step, a mark a seed, a row a pair: DANN by both recipes, the improved model."""
    series = compared(original, improved)
    frame = pd.concat(select(frame, **values).assign(series=title) for title, values in series.items())
    look = {"y": "pair", "order": list(map(pair_title, pairs)), "hue": "series"}
    look["colours"] = dict(zip(series, cycle(COLOURS)))
    grid = charts(_titled(frame), "strip", 0.9 + 0.4 * len(pairs), **DOTS, **look).set(xlim=(None, 100))
    return grid.set_axis_labels("accuracy on target test, %", "").figure


def accuracy_curves(frame: pd.DataFrame, network: str, recipes: Sequence[str], pairs: Sequence[str]) -> Figure:
    """Target test accuracy over training: mean of the seeds and the range between them."""
    panels = [f"{pair_title(pair)}, {recipe}" for recipe, pair in product(recipes, pairs)]
    frame = _titled(select(frame, network=network)).explode("curve", ignore_index=True).dropna(subset="curve")
    frame["panel"] = frame["pair"] + ", " + frame["recipe"]
    frame["step"], frame["accuracy"] = frame["curve"].str[0], frame["curve"].str[1]
    look = {"col": "panel", "col_order": panels, "col_wrap": len(pairs), "hue": "method", "colours": _colours(frame)}
    grid = charts(frame, "line", 0.3 + 1.4 * len(recipes), x="step", y="accuracy", **look)
    for axes in grid.axes.flat:
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.title.set_fontsize(8)
    return grid.set_axis_labels("step", "target test, %").figure


def _titled(frame: pd.DataFrame) -> pd.DataFrame:
    """Pairs and methods by their titles."""
    return frame.assign(pair=frame["pair"].map(pair_title), method=frame["method"].map(method_title))


def _colours(frame: pd.DataFrame) -> dict[str, str]:
    """The colour of each method, those that have no run yet included."""
    return dict(zip(dict.fromkeys([*METHOD_TITLES.values(), *frame["method"]]), cycle(COLOURS)))


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
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def by_class(spaces: dict[str, "FeatureSpace"]) -> Figure:
    """The points of all runs in colours of digits, pale where these are not known; crosses: source, dots: target."""
    colours = {-1: "#dddddd"} | dict(enumerate(DIGIT_COLOURS))
    marks = {"style": "target", "markers": {False: r"$\times$", True: "o"}}
    marks |= {"size": "target", "sizes": {False: 9, True: 4}}
    frame = _points(spaces)
    grid = _plane(frame, len(spaces), hue="digit", colours=colours, legend=False, **marks)
    known = frame[~frame["target"] & (frame["digit"] >= 0)].groupby(["panel", "digit"], observed=True)
    for (panel, digit), place in known[["x", "y"]].median().iterrows():
        box = {"boxstyle": "circle,pad=0.1", "fc": "white", "ec": DIGIT_COLOURS[digit], "lw": 0.8}
        grid.axes_dict[panel].text(*place, str(digit), ha="center", va="center", fontsize=7, bbox=box)
    return grid.figure


def by_domain(spaces: dict[str, "FeatureSpace"]) -> Figure:
    """The points of all runs in the colours of their domains."""
    return _plane(_points(spaces), len(spaces), hue="domain", s=3).figure


def _points(spaces: dict[str, "FeatureSpace"]) -> pd.DataFrame:
    """A row a point, in an order in which neither domain lies on top; ``panel``: pair, method, proxy A-distance."""
    methods = dict.fromkeys(method for space in spaces.values() for method in space.points)
    parts = {
        f"{pair_title(pair)}\n{method}: {space.distance[method]:.2f}": pd.DataFrame(
            {
                **dict(zip("xy", space.points[method].T, strict=True)),
                "digit": space.labels,
                "target": space.is_target,
                "domain": np.where(space.is_target, *reversed(space.domains)),
            }
        )
        for method, (pair, space) in product(methods, spaces.items())
        if method in space.points
    }
    frame = pd.concat(parts, names=["panel"]).reset_index("panel").sample(frac=1, random_state=0)
    return frame.assign(panel=pd.Categorical(frame["panel"], list(parts)))


def _plane(frame: pd.DataFrame, columns: int, **look) -> "FacetGrid":
    look |= {"x": "x", "y": "y", "col": "panel", "col_wrap": columns, "linewidth": 0, "rasterized": True}
    height = 0.2 + min(3.0, 1.5 * len(frame["panel"].cat.categories) / columns)  # a report scales a taller one down
    grid = charts(frame, "scatter", height, legend_columns=4, **look).set(xticks=[], yticks=[], xlabel="", ylabel="")
    for i, axes in enumerate(grid.axes.flat):
        axes.spines[:].set(visible=True, color="#bbbbbb")
        title = axes.get_title()
        axes.set_title(title if i < columns else title.partition("\n")[2], fontsize=8)  # the pair is above its column
    return grid


def _row(parts: Sized, height: float, **kwargs) -> tuple[Figure, np.ndarray]:
    """A panel for each part, side by side."""
    figure, panels = plt.subplots(1, len(parts), figsize=(WIDTH, height), squeeze=False, layout="constrained", **kwargs)
    return figure, panels[0]
