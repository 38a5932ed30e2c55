"""Choices without labels of the target: of a run, and of the shape in which its images are read best."""

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
    """Name (with the seed, if there are several), target test accuracy and criteria of the runs that have them all."""
    titles, several = ABLATION | CANDIDATES, frame["seed"].nunique() > 1
    names = [titles.get(run.recipe, run.recipe) + f", seed {run.seed}" * several for run in frame.itertuples()]
    rows = [{"run": name, "test": run.test} | run.criteria for name, run in zip(names, frame.itertuples(), strict=True)]
    return pd.DataFrame(rows, columns=["run", "test", *CRITERIA]).dropna(ignore_index=True)


def candidate_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Runs between which is chosen, numbered as in the figure, with their accuracy and criteria."""
    columns = {"number": [str(i + 1) for i in range(len(runs))], "run": runs["run"]}
    columns["target test"] = runs["test"].map("{:.1f}".format)
    return pd.DataFrame(columns | {name: runs[name].map("{:.3g}".format) for name in CRITERIA})


def chosen(runs: pd.DataFrame, criterion: str) -> pd.Series:
    """The row that a criterion, or the oracle, likes best."""
    return runs.loc[_score(runs, criterion).idxmax()]


def rank_correlation(runs: pd.DataFrame, criterion: str, percent: str = "test") -> float:
    """Spearman's, of a criterion, turned so that more is better, and a column of accuracies; nan below three rows."""
    if len(runs) < 3 or runs[criterion].nunique() < 2 or runs[percent].nunique() < 2:
        return math.nan
    return float(spearmanr(_score(runs, criterion), runs[percent]).statistic)


def _score(runs: pd.DataFrame, criterion: str) -> pd.Series:
    more_is_better = criterion not in CRITERIA or CRITERIA[criterion][1]
    return runs[criterion] if more_is_better else -runs[criterion]


def choice_table(runs: pd.DataFrame) -> pd.DataFrame:
    """What each criterion chooses, how good that is, and how well it ranks; the last row, the oracle, sees labels."""
    rows = []
    for criterion, (title, _) in (CRITERIA | {ORACLE: ("oracle", True)}).items():
        cells = (UNKNOWN, UNKNOWN, UNKNOWN)
        if len(runs):
            best = chosen(runs, criterion)
            rank = "1" if criterion == ORACLE else formatted(rank_correlation(runs, criterion), "{:.2f}", UNKNOWN)
            cells = (best["run"], f"{best['test']:.1f}", rank)
        rows.append((title.partition(",")[0], *cells))
    return pd.DataFrame(rows, columns=["criterion", "its choice", "target test", "rank correlation"])


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
    values["oracle_choice"] = float(runs["test"].max())
    return {name: value for name, value in values.items() if not math.isnan(value)}


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
        size, ratio = math.sqrt(self.width * self.height), math.log(self.width / self.height)
        return affine(images, Affine(scale=(size, size), aspect_middle=ratio, shear_middle=self.slant))


AS_IT_IS = Shape(1.0, 1.0, 0.0)
SHAPES = [Shape(*factors) for factors in product(FACTORS, FACTORS, SLANTS)]
SHAPES = tuple(shape for shape in SHAPES if 1 / LARGEST_RATIO <= shape.width / shape.height <= LARGEST_RATIO)


@kept
def shape_scores(folder: RunFolder, images, count: int) -> list[dict[str, Any]]:
    """What the network of a finished run makes of `count` images of the target's train split in each of the `SHAPES`.

    For each shape ``width``, ``height``, ``slant``; ``information`` in nats, which sees no label; and ``accuracy`` in
    percent, or nan where there are no labels. The images are evenly from the split, or all if there are fewer.
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


def _shape_numbers(scores: pd.DataFrame) -> dict[str, float]:
    """Of the shape that is chosen; `scores` has a row a shape."""
    best = chosen(scores, "information")
    return {
        "width": best["width"],
        "height": best["height"],
        "slant": best["slant"],
        "as_it_is": as_it_is(scores)["accuracy"],
        "in_it": best["accuracy"],
        "rank": rank_correlation(scores, "information", "accuracy"),
    }


def shape_table(by_pair: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row a pair: the shape that is chosen; accuracy as it is, in that shape, and in the best of all, percent."""
    rows = []
    for pair, scores in by_pair.items():
        best = _shape_numbers(scores)
        rows.append(
            {
                "pair": pair_title(pair),
                "width": f"× {best['width']:.2f}",
                "height": f"× {best['height']:.2f}",
                "slant": f"{best['slant']:+g}" if best["slant"] else "0",
                "as it is": formatted(best["as_it_is"], "{:.1f}", MISSING),
                "in that shape": formatted(best["in_it"], "{:.1f}", MISSING),
                "best, oracle": formatted(scores["accuracy"].max(), "{:.1f}", MISSING),
                "rank correlation": formatted(best["rank"], "{:.2f}", UNKNOWN),
            }
        )
    return pd.DataFrame(rows)


def shape_headline(by_pair: dict[str, pd.DataFrame]) -> dict[str, float]:
    """For the text of the report, such as ``mnistm_svhn_shape_rank``: what is in `shape_table`."""
    return {
        value_name(pair, "shape", key): float(value)
        for pair, scores in by_pair.items()
        for key, value in _shape_numbers(scores).items()
        if key != "slant" and not math.isnan(value)
    }
