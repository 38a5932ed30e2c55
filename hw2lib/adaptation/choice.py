"""Choices without labels of the target: of a run, and of the shape in which a network reads the target's images best.

House numbers are narrower than handwriting, and more upright. A network that knows one of them may read the other
better where it is stretched, and the mutual information between images and what it reads tells how far.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

from hw2lib.adaptation.networks import load
from hw2lib.adaptation.pairs import information
from hw2lib.adaptation.tables import ABLATION, CANDIDATES, pair_title
from hw2lib.data.augment import Affine, affine
from hw2lib.kept import kept
from hw2lib.metrics.accuracy import accuracy, outputs
from hw2lib.training.cards import MISSING, UNKNOWN, value_name
from hw2lib.training.run_folder import RunFolder

# Criterion of a card to its title, and whether more of it is better.
CRITERIA = {
    "source val": ("accuracy on source val, %", True),
    "entropy": ("entropy, nats", False),
    "information": ("mutual information, nats", True),
    "density": ("neighbourhood density, nats", True),
}
ORACLE = "test"  # accuracy on the target's test split, which sees labels


def candidates(frame: pd.DataFrame) -> pd.DataFrame:
    """Of runs between which is chosen, their name, target test accuracy and criteria, a column each.

    The seed is named where there are several. Runs without a target test accuracy or from before there were criteria
    are left out.
    """
    titles, several = ABLATION | CANDIDATES, frame["seed"].nunique() > 1
    rows = [
        {"run": titles.get(row.recipe, row.recipe) + (f", seed {row.seed}" if several else ""), "test": row.test}
        | row.criteria
        for row in frame.itertuples()
    ]
    return pd.DataFrame(rows, columns=["run", "test", *CRITERIA]).dropna(ignore_index=True)


def candidate_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs between which is chosen, numbered as in the figure, with their accuracy and criteria."""
    columns = {"run": runs["run"], "target test": runs["test"].map("{:.1f}".format)}
    columns |= {name: runs[name].map("{:.3g}".format) for name in CRITERIA}
    return pd.DataFrame({"number": [str(i + 1) for i in range(len(runs))], **columns})


def chosen(runs: pd.DataFrame, criterion: str) -> pd.Series:
    """The row that a criterion, or the oracle, likes best."""
    column = runs[criterion]
    return runs.loc[column.idxmax() if _more_is_better(criterion) else column.idxmin()]


def rank_correlation(runs: pd.DataFrame, criterion: str, percent: str = "test") -> float:
    """Spearman's, of a criterion, turned so that more is better, and a column of accuracies; nan below three rows."""
    if len(runs) < 3 or runs[criterion].nunique() < 2 or runs[percent].nunique() < 2:
        return math.nan
    sign = 1 if _more_is_better(criterion) else -1
    return float(spearmanr(sign * runs[criterion], runs[percent]).statistic)


def _more_is_better(criterion: str) -> bool:
    return criterion not in CRITERIA or CRITERIA[criterion][1]


def choice_table(runs: pd.DataFrame) -> pd.DataFrame:
    """What each criterion chooses, how good that is, and how well it ranks; the last row, the oracle, sees labels."""
    rows = []
    for criterion in (*CRITERIA, ORACLE):
        best = chosen(runs, criterion) if len(runs) else None
        rank = "1" if criterion == ORACLE else formatted(rank_correlation(runs, criterion), "{:.2f}", UNKNOWN)
        rows.append(
            {
                "criterion": "oracle" if criterion == ORACLE else CRITERIA[criterion][0].partition(",")[0],
                "its choice": UNKNOWN if best is None else best["run"],
                "target test": UNKNOWN if best is None else f"{best['test']:.1f}",
                "rank correlation": UNKNOWN if best is None else rank,
            }
        )
    return pd.DataFrame(rows)


def formatted(number: float, form: str, missing: str) -> str:
    """A number by a format, or `missing` for nan."""
    return missing if math.isnan(number) else form.format(number)


def headline(runs: pd.DataFrame) -> dict[str, float]:
    """For the text of the report: of each criterion its rank correlation and the accuracy of its choice."""
    if runs.empty:
        return {}
    values = {}
    for criterion in CRITERIA:
        values[value_name(criterion, "choice")] = float(chosen(runs, criterion)["test"])
        values[value_name(criterion, "rank")] = round(rank_correlation(runs, criterion), 2)
    return {name: value for name, value in values.items() if value == value} | {
        "oracle_choice": float(runs["test"].max())
    }


# Shapes

FACTORS = tuple(2 ** (quarter / 4) for quarter in range(-3, 4))  # 0.59 to 1.68, of width and of height
LARGEST_RATIO = 2.0  # between the two
SLANTS = (-0.2, 0.0, 0.2)
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
SHAPES = tuple(
    Shape(width, height, slant)
    for width, height, slant in product(FACTORS, FACTORS, SLANTS)
    if 1 / LARGEST_RATIO <= width / height <= LARGEST_RATIO
)


@kept
def shape_scores(folder: RunFolder, images, count: int) -> list[dict[str, Any]]:
    """What the network of a run makes of images of the target's train split in each of the `SHAPES`.

    Args:
        folder: a finished run with weights, of a network between two domains.
        images: where they come from (`hw2lib.data.source`).
        count: how many images, evenly from the split, or all if there are fewer.

    Returns:
        For each shape ``width``, ``height``, ``slant``; ``information`` in nats, which sees no label; and ``accuracy``
        in percent, for comparison, or nan where there are no labels.
    """
    network, form = load(folder)
    data = images.load(folder.settings["target"], "train")
    places = np.linspace(0, len(data) - 1, min(count, len(data))).astype(int)
    stored = torch.tensor(data.images[places])
    labels = None if data.labels is None else torch.tensor(data.labels[places])
    rows = []
    for shape in SHAPES:
        logits = outputs(network, stored, *form, shape)
        percent = math.nan if labels is None else accuracy(logits, labels)
        rows.append(shape._asdict() | {"information": information(logits.softmax(1)), "accuracy": percent})
    return rows


def scores_by_pair(folders: Sequence[RunFolder], images, count: int) -> dict[str, pd.DataFrame]:
    """Pair to the `shape_scores` of its run, a row a shape; a run that is not finished is left out."""
    return {
        f"{folder.settings['source']}-{folder.settings['target']}": pd.DataFrame(shape_scores(folder, images, count))
        for folder in folders
        if folder.card
    }


def as_it_is(scores: pd.DataFrame) -> pd.Series:
    """The row of the unchanged images."""
    return scores[(scores[list(Shape._fields)] == AS_IT_IS).all(axis=1)].iloc[0]


def shape_table(by_pair: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row a pair: the shape that is chosen; accuracy as it is, in that shape, and in the best of all, percent."""
    rows = []
    for pair, scores in by_pair.items():
        best = chosen(scores, "information")
        rank = rank_correlation(scores, "information", "accuracy")
        rows.append(
            {
                "pair": pair_title(pair),
                "width": f"× {best['width']:.2f}",
                "height": f"× {best['height']:.2f}",
                "slant": f"{best['slant']:+g}" if best["slant"] else "0",
                "as it is": formatted(as_it_is(scores)["accuracy"], "{:.1f}", MISSING),
                "in that shape": formatted(best["accuracy"], "{:.1f}", MISSING),
                "best, oracle": formatted(scores["accuracy"].max(), "{:.1f}", MISSING),
                "rank correlation": formatted(rank, "{:.2f}", UNKNOWN),
            }
        )
    return pd.DataFrame(rows)


def shape_headline(by_pair: dict[str, pd.DataFrame]) -> dict[str, float]:
    """For the text of the report, such as ``mnistm_svhn_shape_rank``: what is in `shape_table`."""
    values = {}
    for pair, scores in by_pair.items():
        best = chosen(scores, "information")
        numbers = {
            "width": best["width"],
            "height": best["height"],
            "as_it_is": as_it_is(scores)["accuracy"],
            "in_it": best["accuracy"],
            "rank": rank_correlation(scores, "information", "accuracy"),
        }
        values |= {value_name(pair, "shape", key): float(value) for key, value in numbers.items() if value == value}
    return values
