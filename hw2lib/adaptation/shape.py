"""In which shape a network reads the images of a target best, told without their labels.

House numbers are narrower than handwriting, and more upright. A network that knows one of them may read the other
better where it is stretched, and the mutual information between images and what it reads tells how far.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hw2lib.adaptation import choice, criteria
from hw2lib.adaptation.networks import load
from hw2lib.adaptation.tables import METHOD_TITLES, pair_title, select
from hw2lib.data.augment import Affine, affine
from hw2lib.metrics.accuracy import accuracy, outputs
from hw2lib.training.cards import MISSING, UNKNOWN, spread, value_name
from hw2lib.training.run_folder import RunFolder

FACTORS = tuple(2 ** (quarter / 4) for quarter in range(-3, 4))  # 0.59 to 1.68, of width and of height
LARGEST_RATIO = 2.0  # between the two
SLANTS = (-0.2, 0.0, 0.2)

CHANGED = ("shaped", "fitted")  # recipes of hw2lib/recipes/dann.toml that follow from what is found here
RECIPES = ("ours", *CHANGED)
METHODS = ("source-only", "dann")  # a target-only run has no source
COUNT = {"smoke": 40, "quick": 300, "paper": 2000}  # images that are looked at


class Shape(NamedTuple):
    """Factors of an image's width and height, and its horizontal shear: above 0, the top goes to the right."""

    width: float
    height: float
    slant: float

    def __call__(self, images: Tensor) -> Tensor:
        """The changed images, (N, C, H, W) in [0, 1]; what is uncovered is filled by reflection."""
        size = math.sqrt(self.width * self.height)
        ratio = math.log(self.width / self.height)
        return affine(images, Affine(scale=(size, size), aspect_middle=ratio, shear_middle=self.slant))


AS_IT_IS = Shape(1.0, 1.0, 0.0)


def shapes() -> list[Shape]:
    """All that are tried."""
    return [
        Shape(width, height, slant)
        for width, height, slant in product(FACTORS, FACTORS, SLANTS)
        if 1 / LARGEST_RATIO <= width / height <= LARGEST_RATIO
    ]


def found(folders: Sequence[RunFolder], images, count: int) -> dict[str, pd.DataFrame]:
    """Pair to what is `tried` of its run; a run that is not finished is left out."""
    return {
        f"{folder.settings['source']}-{folder.settings['target']}": tried(folder, images, count)
        for folder in folders
        if folder.card
    }


def tried(folder: RunFolder, images, count: int) -> pd.DataFrame:
    """A row for each of the `shapes`, of images of the target's train split: what the network of a run makes of them.

    Columns are ``shape``; ``information`` (`hw2lib.adaptation.criteria`), which sees no label; and ``accuracy`` in
    percent, for comparison, or nan where there are no labels.

    Args:
        folder: a finished run with weights, of a network between two domains.
        count: how many images, evenly from the split, or all if there are fewer.
    """
    network, form = load(folder)
    data = images.load(folder.settings["target"], "train")
    chosen = np.linspace(0, len(data) - 1, min(count, len(data))).astype(int)
    stored = torch.tensor(data.images[chosen])
    labels = None if data.labels is None else torch.tensor(data.labels[chosen])
    rows = []
    for shape in shapes():
        logits = outputs(network, stored, *form, shape)
        rows.append(
            {
                "shape": shape,
                "information": criteria.information(logits.softmax(1)),
                "accuracy": math.nan if labels is None else accuracy(logits, labels),
            }
        )
    return pd.DataFrame(rows)


def as_it_is(rows: pd.DataFrame) -> pd.Series:
    """The row of `tried` of the unchanged images."""
    return rows[rows["shape"] == AS_IT_IS].iloc[0]


def surest(rows: pd.DataFrame) -> pd.Series:
    """The row of `tried` with most information."""
    return choice.chosen(rows, "information")


def rank_correlation(rows: pd.DataFrame) -> float:
    """Spearman's, of information and accuracy; nan where accuracy is not known."""
    return choice.rank_correlation(rows, "information", "accuracy")


def choice_table(found: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row a pair: the shape that is chosen; accuracy as it is, in that shape, and in the best of all, percent."""
    rows = []
    for pair, tries in found.items():
        best, rank = surest(tries), rank_correlation(tries)
        accuracies = (as_it_is(tries)["accuracy"], best["accuracy"], tries["accuracy"].max())
        before, after, oracle = (MISSING if value != value else f"{value:.1f}" for value in accuracies)
        rows.append(
            {
                "pair": pair_title(pair),
                "width": f"× {best['shape'].width:.2f}",
                "height": f"× {best['shape'].height:.2f}",
                "slant": f"{best['shape'].slant:+g}" if best["shape"].slant else "0",
                "as it is": before,
                "in that shape": after,
                "best, oracle": oracle,
                "rank correlation": UNKNOWN if rank != rank else f"{rank:.2f}",
            }
        )
    return pd.DataFrame(rows)


def gain_table(frame: pd.DataFrame, split: str, pairs: Sequence[str], seeds: int) -> pd.DataFrame:
    """Accuracies on the target's `split` with and without the new shape, a row for each pair and recipe."""
    rows = []
    for pair, recipe in product(pairs, RECIPES):
        row = {"pair": pair_title(pair), "recipe": recipe}
        for method in METHODS:
            runs = select(frame, pair=pair, recipe=recipe, method=method)
            row[METHOD_TITLES[method]] = spread(runs.get(split, []), expected=seeds)
        rows.append(row)
    return pd.DataFrame(rows)


def headline(found: dict[str, pd.DataFrame]) -> dict[str, float]:
    """For the text of the report, such as ``mnistm_svhn_shape_rank``: what is in `choice_table`."""
    values = {}
    for pair, tries in found.items():
        best = surest(tries)
        numbers = {
            "width": best["shape"].width,
            "height": best["shape"].height,
            "as_it_is": as_it_is(tries)["accuracy"],
            "in_it": best["accuracy"],
            "rank": rank_correlation(tries),
        }
        values |= {value_name(pair, "shape", key): float(value) for key, value in numbers.items() if value == value}
    return values
