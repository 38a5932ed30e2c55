"""Tables of finished runs. A run counts when its card is there; a cell without runs says so."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pandas as pd

from hw2lib.data import TITLES
from hw2lib.layers import count_parameters
from hw2lib.networks import build
from hw2lib.training.cards import UNKNOWN, commit, hardware, minutes, spread, value_name
from hw2lib.training.run_folder import RunFolder

# What a preset trains if it is not told otherwise.
DANN_NETWORKS = {
    "smoke": ["dann-compact"],
    "quick": ["dann-compact"],
    "paper": ["dann-compact", "dann-deep", "dann-wide"],
}

# Of the edition of 2021. In quick one that takes a tenth of the time stands in for it.
ORIGINAL = {"smoke": "dann-grey", "quick": "dann-compact", "paper": "dann-grey"}
GREY_NETWORKS = {"smoke": ["dann-grey"], "quick": ["dann-compact"], "paper": ["dann-grey", "dann-grey-plus"]}
OTHER_NETWORKS = {"smoke": [], "quick": [], "paper": DANN_NETWORKS["paper"]}

METHOD_TITLES = {"source-only": "source-only", "dann": "DANN", "target-only": "target-only"}

# What the improved model is without one of its parts: recipes of hw2lib/recipes/uda.toml.
ABLATION = {
    "parts": "everything",
    "without-domain": "without the domain loss",
    "without-pseudo": "without the teacher's labels",
    "without-strong": "without strong changes of the target",
    "without-source": "without augmentation of the source",
    "without-instance": "without instance normalisation",
    "one-threshold": "without thresholds by class",
    "without-average": "without averaging: the network is its own teacher",
}
# Other values of its settings, between which a criterion may choose.
CANDIDATES = {
    "confidence-70": "a confidence of 0.7 is enough",
    "confidence-98": "a confidence of 0.98 is asked for",
    "domain-1": "domain loss of weight 1",
    "pseudo-3": "loss on the teacher's labels of weight 3",
    "rate-3": "learning rate 3e-3",
}

# Whose labels of the target the improved model learns.
TARGET_LABELS = {"ours": "the teacher's", "with-labels": "its own"}

PARTS_SEEDS = {"smoke": [0], "quick": [0], "paper": [0, 1]}  # of the runs that take the improved model apart

COLUMNS = (
    "network", "recipe", "pair", "method", "seed", "steps", "batch",
    "val", "test", "oracle", "curve", "criteria", "seconds", "commit", "hardware", "precision",
)  # fmt: skip


def results_frame(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """One row a finished run: what it was, its accuracies in percent, how long it took and on what."""
    return pd.DataFrame([_row(folder.card) for folder in folders if folder.card], columns=COLUMNS)


def _row(card: dict[str, Any]) -> dict[str, Any]:
    settings = card["settings"]
    return {
        **{key: settings[key] for key in ("network", "recipe", "method", "seed", "steps", "batch")},
        "pair": f"{settings['source']}-{settings['target']}",
        "val": card["accuracy"]["target val"],
        "test": card["accuracy"]["target test"],
        "oracle": card["oracle"],
        "curve": card["curve"],
        "criteria": {"source val": card["accuracy"]["source val"], **card.get("criteria", {})},
        "seconds": card["seconds"],
        "commit": commit(card),
        "hardware": hardware(card),
        "precision": card["precision"],
    }


def pair_title(pair: str) -> str:
    """``mnistm-svhn`` as ``MNIST-M to SVHN``."""
    source, target = pair.split("-")
    return f"{TITLES.get(source, source)} to {TITLES.get(target, target)}"


def accuracy_table(
    frame: pd.DataFrame, split: str, pair: str, networks: Sequence[str], recipes: Sequence[str], seeds: int
) -> pd.DataFrame:
    """Accuracies of one pair on the target's `split`, as mean and spread over seeds.

    A row for each network and recipe, a column for each method. On ``test`` a last column holds the oracle of DANN: the
    best evaluated step, picked on the very labels that it is scored on.
    """
    rows = []
    for network, recipe in product(networks, recipes):
        row = {"network": network, "recipe": recipe}
        for method, title in METHOD_TITLES.items():
            runs = select(frame, network=network, recipe=recipe, pair=pair, method=method)
            row[title] = spread(runs.get(split, []), expected=seeds)
            if method == "dann":
                oracle = spread(runs.get("oracle", []), expected=seeds)
        rows.append(row | ({"DANN, oracle": oracle} if split == "test" else {}))
    return pd.DataFrame(rows)


def compared(original: str, improved: str) -> dict[str, dict[str, str]]:
    """Titles of the runs that are set side by side, and their network, recipe and method."""
    return {
        f"{original}, as reported": {"network": original, "recipe": "as-reported", "method": "dann"},
        f"{original}, ours": {"network": original, "recipe": "ours", "method": "dann"},
        f"{improved}, improved": {"network": improved, "recipe": "ours", "method": "improved"},
    }


def improved_table(
    frame: pd.DataFrame, split: str, pairs: Sequence[str], original: str, improved: str, seeds: int
) -> pd.DataFrame:
    """Accuracies on the target's `split` of a DANN by both recipes and of the improved model, a row a pair."""
    rows = []
    for pair in pairs:
        row = {"pair": pair_title(pair)}
        for title, values in compared(original, improved).items():
            row[title] = spread(select(frame, pair=pair, **values).get(split, []), expected=seeds)
        rows.append(row)
    return pd.DataFrame(rows)


def size_table(frame: pd.DataFrame, pair: str, kinds: Sequence[tuple[str, str]], seeds: int) -> pd.DataFrame:
    """Networks of the improved model on one pair: parameters, minutes a run, accuracies on the target in percent.

    Args:
        kinds: network, and recipe, one of `TARGET_LABELS`, of each row.
    """
    rows = []
    for network, recipe in kinds:
        runs = select(frame, network=network, recipe=recipe, pair=pair)
        rows.append(
            {
                "network": network,
                "labels of the target": TARGET_LABELS[recipe],
                "parameters": f"{count_parameters(build(network)):,}",
                "minutes a run": minutes(runs["seconds"].mean()) if len(runs) else UNKNOWN,
                "target val": spread(runs["val"], digits=2, expected=seeds),
                "target test": spread(runs["test"], digits=2, expected=seeds),
            }
        )
    return pd.DataFrame(rows)


def ablation_table(frame: pd.DataFrame, pair: str, seeds: int) -> pd.DataFrame:
    """Accuracy of the improved model without each of its parts (`ABLATION`), and what each adds."""
    values = {recipe: select(frame, pair=pair, recipe=recipe)["test"].dropna() for recipe in ABLATION}
    rows = []
    for recipe, title in ABLATION.items():
        lost = values["parts"].mean() - values[recipe].mean()
        there = len(values["parts"]) and len(values[recipe]) and recipe != "parts"
        test = spread(values[recipe], expected=seeds)
        rows.append({"model": title, "target test": test, "points it adds": f"{lost:+.1f}" if there else UNKNOWN})
    return pd.DataFrame(rows)


def training_table(frame: pd.DataFrame) -> pd.DataFrame:
    """How long each kind of run was trained, on what, and by which code.

    Where runs of a kind were trained on several machines, their means stand in the order of these. A + marks a tree
    with changes that were not committed.
    """
    kinds = frame.groupby(["network", "recipe", "pair", "method"], sort=False)
    rows = [
        {
            "network": network,
            "recipe": recipe,
            "pair": pair_title(pair),
            "method": METHOD_TITLES.get(method, method),
            "steps": int(runs["steps"].iloc[0]),
            "batch": int(runs["batch"].iloc[0]),
            "seeds": ", ".join(str(seed) for seed in sorted(runs["seed"])),
            "minutes a run": ", ".join(map(minutes, runs.groupby("hardware")["seconds"].mean())),
            "on": ", ".join(sorted(set(runs["hardware"]))),
            "commits": ", ".join(sorted(set(runs["commit"]))),
        }
        for (network, recipe, pair, method), runs in kinds
    ]
    return pd.DataFrame(rows)


def provenance(frame: pd.DataFrame) -> str:
    """Whose numbers these are, as one sentence for a caption."""
    if frame.empty:
        return "No run is finished"
    seeds = ", ".join(str(seed) for seed in sorted(frame["seed"].unique()))
    machines = " and ".join(
        f"{name}, {kind}" for name, kind in frame[["hardware", "precision"]].drop_duplicates().values
    )
    return f"{len(frame)} runs of our own training, seeds {seeds}, on {machines}"


def headline(frame: pd.DataFrame) -> dict[str, float]:
    """Means over seeds for the text of the report, such as ``dann_compact_ours_mnistm_svhn_dann_test``, in percent."""
    values = {}
    for keys, runs in frame.groupby(["network", "recipe", "pair", "method"], sort=False):
        for column in ("test", "val", "oracle"):
            if runs[column].notna().any():
                values[value_name(*keys, column)] = float(runs[column].mean())
    return values


def select(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows in which each named column has that value."""
    for column, value in values.items():
        frame = frame[frame[column] == value] if column in frame else frame.iloc[:0]
    return frame
