"""Words for what the cards of finished runs say, in all tables alike."""

import re
from collections.abc import Callable, Sequence
from statistics import mean, stdev
from typing import Any

import pandas as pd

from hw2lib.errors import UserError
from hw2lib.files import has_shape
from hw2lib.training.run_folder import RunFolder

TRAINING = (
    "Length of each training, wall-clock time beside other work on the same machine, and the commit that trained it "
    "(+: with changes not committed)."
)  # the caption of a `training_table`
MISSING = "missing"
UNKNOWN = "–"
SHAPE = {  # of what tables and captions read of a card
    "settings": {"network": str, "recipe": str, "seed": int, "steps": int, "batch": int},
    "images": str,
    "precision": str,
    "seconds": (int, float),
    "commit": (str, None),
    "hardware": {"cpu": str, "gpu": (str, None)},
}
DAMAGED = "{}/card.json: damaged; remove the folder to begin anew"


def read(folder: RunFolder) -> dict[str, Any]:
    """The card of a finished run; `UserError` if it lacks what all cards have."""
    card = folder.card
    if not has_shape(card, SHAPE):
        raise UserError(DAMAGED.format(folder.path))
    return card


def spread(values: Sequence[float | None], digits: int = 1, expected: int | None = None) -> str:
    """``72.4 ± 0.3``: mean and sample standard deviation; fewer values than `expected` seeds are said so."""
    there = [value for value in values if value is not None and value == value]
    if not there:
        return MISSING
    text = f"{mean(there):.{digits}f}" + (f" ± {stdev(there):.{digits}f}" if len(there) > 1 else "")
    return text if expected in (None, len(there)) else f"{text} ({len(there)} of {expected} seeds)"


def result_of(folder: RunFolder) -> str:
    """What a finished run has reached: ``71.0 % of target test``, or the scores of the last step's images."""
    card = folder.card
    if not has_shape(card, {"accuracy": {str: (float, int, None)}} if "accuracy" in card else {"curve": [dict]}):
        raise UserError(DAMAGED.format(folder.path))
    if "accuracy" not in card:
        return ", ".join(f"{key} {value}" for key, value in (card["curve"] or [{}])[-1].items())
    split = "target test" if "target test" in card["accuracy"] else "test"
    accuracy = card["accuracy"].get(split)
    return f"no {split} split with labels" if accuracy is None else f"{accuracy} % of {split}"


def recipe_table(
    networks: Sequence[str], spelled: Callable[[str, str], dict[str, str]], own: Sequence[str] = ()
) -> pd.DataFrame:
    """Trainings beside each other: a row a setting, a column for each network as reported, and one for our recipe.

    Where our recipe differs between them, the values stand in the order of the networks, and each of `own` has a column
    for it. `spelled` takes network and recipe and returns the settings in words.
    """
    columns = {name: spelled(name, "as-reported") for name in networks}
    ours = pd.DataFrame([spelled(name, "ours") for name in networks])
    joined = ours.apply(lambda values: "; ".join(values if values.nunique() > 1 else values[:1]))
    columns["any network"] = joined.to_dict()
    columns |= {name: spelled(name, "ours") for name in own}
    return pd.DataFrame(columns).rename_axis("setting").reset_index()


def hardware(card: dict[str, Any]) -> str:
    """The GPU, else the processor."""
    return card["hardware"]["gpu"] or card["hardware"]["cpu"]


def commit(card: dict[str, Any]) -> str:
    """The code that made a run; + marks a tree with changes that were not committed."""
    return f"{(card['commit'] or 'unknown')[:7]}{'+' if card.get('dirty') else ''}"


def value_name(*parts: str) -> str:
    """Words joined to a name that the report's text can use."""
    return re.sub(r"[^a-z0-9]+", "_", " ".join(parts).lower())


def provenance(folders: Sequence[RunFolder]) -> str:
    """Whose weights these are, as one sentence for a caption."""
    if not folders:
        return "No run is finished"
    cards = [read(folder) for folder in folders]
    machines = " and ".join(dict.fromkeys(f"{hardware(card)}, {card['precision']}" for card in cards))
    images = " and ".join(dict.fromkeys(card["images"] for card in cards))
    kinds: dict[str, list[str]] = {}
    for settings in (card["settings"] for card in cards):
        kind = "{network}, recipe {recipe}, {steps:,} steps of {batch}, seed".format(**settings)
        kinds.setdefault(kind, []).append(str(settings["seed"]))
    lengths = "; ".join(f"{kind} {', '.join(seeds)}" for kind, seeds in kinds.items())
    return f"weights of our own training on {images}: {lengths}; on {machines}"


def training_table(folders: Sequence[RunFolder], own: Callable[[dict[str, Any]], dict[str, str]]) -> pd.DataFrame:
    """How each run was trained, for how long, on what and by which code; `own` makes more columns of its settings."""
    rows = []
    for card, settings in ((read(folder), folder.settings) for folder in folders):
        row = {name: settings[name] for name in ("network", "recipe", "seed")} | own(settings)
        row |= {"steps": settings["steps"], "batch": settings["batch"], "images seen": images_seen(settings)}
        row |= {"minutes": minutes(card["seconds"]), "on": hardware(card), "commit": commit(card)}
        rows.append(row)
    return pd.DataFrame(rows)


def minutes(seconds: float) -> str:
    """Whole minutes, below ten with tenths."""
    return f"{seconds / 60:.{0 if seconds >= 600 else 1}f}" if seconds >= 3 else "< 0.1"


def images_seen(settings: dict[str, Any]) -> str:
    """How many real images a network, or the discriminator, saw in a training, the same ones again counted again."""
    return f"{settings['steps'] * settings['batch'] * settings.get('critic_steps', 1):,}"
