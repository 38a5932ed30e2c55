"""Tables of finished runs between domains, and of their recipes. A cell without runs says so."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, get_args

import pandas as pd

from hw2lib.adaptation.recipe import DANNRecipe, ImprovedRecipe, PairRecipe
from hw2lib.data import TITLES
from hw2lib.data.augment import Augmentation
from hw2lib.layers import count_parameters
from hw2lib.networks import build, recipe_class
from hw2lib.training import cards
from hw2lib.training.cards import UNKNOWN, commit, hardware, minutes, spread, value_name
from hw2lib.training.recipe import SEEDS, Trainings, by_preset
from hw2lib.training.run_folder import RunFolder

TRAINING = (
    "Length of the runs, images of a domain a step (of the improved model: of the source), wall-clock time beside "
    "other work on the same machine, and the commit that trained them (+: with changes not committed)."
)  # the caption of a `training_table`

# What a notebook shows if it is not told otherwise.
SMALL, LARGE = ["dann-compact"], ["dann-compact", "dann-deep", "dann-wide"]
DANN_NETWORKS = by_preset(SMALL, LARGE)
GREY_NETWORKS = by_preset(["dann-grey"], ["dann-grey", "dann-grey-plus"])  # of the edition of 2021
OTHER_NETWORKS = by_preset([], LARGE)

ORIGINS = {"real": "real images", "stand-in": "embedded stand-ins"}  # of the images that a run learned from
METHOD_TITLES = {"source-only": "source-only", "dann": "DANN", "target-only": "target-only"}  # another is its own title

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
VARIANTS = by_preset(["parts", "without-pseudo", "rate-3"], [*ABLATION, *CANDIDATES])
PARTS_SEEDS = by_preset([0], [0, 1])  # of the runs of these
LIVE = {"smoke": [], "quick": ["mnistm-svhn"], "paper": []}  # pairs on which notebook 51 trains anew

# Whose labels of the target the improved model learns.
TARGET_LABELS = {"ours": "the teacher's", "with-labels": "its own"}

# Recipes of hw2lib/recipes/dann.toml that follow from the shape of the target (`hw2lib.adaptation.choice`).
CHANGED = ("shaped", "fitted")
SHAPE_METHODS = ("source-only", "dann")  # a target-only run has no source

# What notebook 56 changes in `dann-grey`, and in the recipe `as-reported`, one thing at a time.
GREY_CHANGES = {
    "dann-grey": "nothing",
    "dann-grey-plus": "one more convolution",
    "dann-grey-strided": "steps of two in place of max-pooling",
    "dann-grey-leaky": "LeakyReLU in place of ReLU",
    "dann-grey-dropout": "dropout of half of the maps, once",
}
TRAINING_CHANGES = {
    "as-reported": "nothing",
    "as-reported-jitter": "contrast and brightness of the target vary",
    "as-reported-fewer": "6,561 images of the source, as many as of USPS",
}

RECIPES = ["as-reported", "ours"]
LENGTHS = ["as-reported", "as-reported-long"]
OLD_PAIRS = ["mnistm-usps", "svhn-mnistm", "usps-svhn"]  # of the edition of 2021
PAIRS = [*OLD_PAIRS, "mnistm-svhn"]
ACCURACY = Trainings(DANN_NETWORKS, RECIPES, SEEDS, ["mnistm-svhn", "mnistm-usps"])
THREE_PAIRS = Trainings(
    {preset: [*names, *OTHER_NETWORKS[preset]] for preset, names in GREY_NETWORKS.items()}, RECIPES, SEEDS, OLD_PAIRS
)
FEATURES = Trainings(SMALL, pairs=PAIRS, methods=["source-only", "dann"], with_weights=True)
COMPARED = Trainings(["dann-grey"], RECIPES, SEEDS, PAIRS, ["dann"])
IMPROVED_FEATURES = Trainings(["uda-cnn"], pairs=PAIRS, with_weights=True)
IMPROVED = Trainings(["uda-cnn"], ["ours"], SEEDS, PAIRS)
SIZED = Trainings(["uda-cnn"], list(TARGET_LABELS), SEEDS, ["mnistm-usps"])
BOUND = Trainings(["uda-cnn"], list(TARGET_LABELS), [0], ["usps-svhn"])
WIDER = Trainings(["uda-cnn-wide"], ["ours"], SEEDS, ["mnistm-usps"])
PARTS = Trainings(["uda-cnn"], VARIANTS, PARTS_SEEDS, ["usps-svhn"])
READERS = Trainings(SMALL, pairs=PAIRS, methods=["source-only"], with_weights=True)
SHAPED = Trainings(SMALL, ["ours", *CHANGED], SEEDS, ["svhn-mnistm", "mnistm-svhn"], SHAPE_METHODS)
STATED = Trainings([*SMALL, "dann-wide"], LENGTHS, [0], ["mnistm-svhn", "mnistm-usps"])
COURSE = Trainings(SMALL, LENGTHS, PARTS_SEEDS, ["mnistm-svhn", "mnistm-usps"], ["source-only"])
CHANGED_TRAININGS = Trainings(["dann-wide"], list(TRAINING_CHANGES), PARTS_SEEDS, ["mnistm-usps"], SHAPE_METHODS)
CHANGED_GREY = Trainings(list(GREY_CHANGES), ["ours"], PARTS_SEEDS, ["mnistm-usps"], ["dann"])
REPORT = {
    "51_dann_accuracy": [ACCURACY],
    "52_dann_three_pairs": [THREE_PAIRS],
    "53_dann_tsne": [FEATURES, IMPROVED_FEATURES],
    "54_uda_improved": [COMPARED, IMPROVED, SIZED, BOUND, WIDER, PARTS],
    "55_dann_shape": [READERS, SHAPED],
    "56_dann_observations": [STATED, COURSE, CHANGED_TRAININGS, CHANGED_GREY],
}

COLUMNS = (
    "network", "recipe", "pair", "method", "seed", "steps", "batch",
    "val", "test", "source", "oracle", "curve", "criteria", "seconds", "commit", "hardware", "precision", "origin",
)  # fmt: skip


def results_frame(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """One row a finished run: what it was, its accuracies in percent, how long it took and on what."""
    rows = [
        {
            **card["settings"],
            **card,
            "pair": "{source}-{target}".format(**card["settings"]),
            "val": card["accuracy"]["target val"],
            "test": card["accuracy"]["target test"],
            "source": card["accuracy"]["source test"],
            "criteria": {"source val": card["accuracy"]["source val"], **card.get("criteria", {})},
            "commit": commit(card),
            "hardware": hardware(card),
        }
        for card in (folder.card for folder in folders)
        if card
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def select(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows in which each named column has that value."""
    for column, value in values.items():
        frame = frame[frame[column] == value]
    return frame


def pair_title(pair: str) -> str:
    """``mnistm-svhn`` as ``MNIST-M to SVHN``."""
    return " to ".join(TITLES.get(domain, domain) for domain in pair.split("-"))


def method_title(method: str) -> str:
    """``dann`` as ``DANN``."""
    return METHOD_TITLES.get(method, method)


def methods_of(networks: Sequence[str]) -> list[str]:
    """The methods that train some networks."""
    kinds = [recipe_class(network).model_fields["method"].annotation for network in networks]
    return list(dict.fromkeys(method for kind in kinds for method in get_args(kind)))


def accuracy_table(
    frame: pd.DataFrame, split: str, pair: str, networks: Sequence[str], recipes: Sequence[str], seeds: int
) -> pd.DataFrame:
    """Accuracies of one pair on the target's `split`, as mean and spread over seeds: a row for each network and recipe.

    Each method has a column. On ``test`` the last one is the oracle of DANN, its best evaluated step by these labels.
    """
    kinds = [{"network": network, "recipe": recipe} for network, recipe in product(networks, recipes)]
    rows = [(kind, kind | {"pair": pair}) for kind in kinds]
    columns = {method_title(method): {"method": method} for method in methods_of(networks)}
    table = _spreads(frame, split, rows, columns, seeds)
    if split == "test" and METHOD_TITLES["dann"] in table:
        table["DANN, oracle"] = _spreads(frame, "oracle", rows, columns, seeds)[METHOD_TITLES["dann"]]
    return table


def accuracy_on_both(
    frame: pd.DataFrame, pair: str, networks: Sequence[str], recipes: Sequence[str], seeds: int
) -> pd.DataFrame:
    """`accuracy_table` of val and of test beside each other, by network and recipe."""
    splits = {split: accuracy_table(frame, split, pair, networks, recipes, seeds) for split in ("val", "test")}
    named = [table.set_index(["network", "recipe"]).add_suffix(f", {split}") for split, table in splits.items()]
    return pd.concat(named, axis=1)


def change_effects(
    frame: pd.DataFrame, changed: str, titles: Mapping[str, str], by: str, values: Sequence[str], seeds: int
) -> pd.DataFrame:
    """Accuracies on the target's test split where one thing is changed: a row a title, a column a value of `by`.

    `changed` is the column of `frame`, ``network`` or ``recipe``, whose values `titles` puts into words.
    """
    rows = [({"changed": title, changed: value}, {changed: value}) for value, title in titles.items()]
    return _spreads(frame, "test", rows, {method_title(value): {by: value} for value in values}, seeds)


def length_table(
    frame: pd.DataFrame, recipes: Sequence[PairRecipe], columns: Mapping[str, tuple[str, str]], seeds: int
) -> pd.DataFrame:
    """Accuracies after trainings of unequal length: a row for each network, pair and recipe of `recipes`.

    `columns` maps titles to a method and a column of `frame`, such as ``{"target": ("source-only", "test")}``.
    """
    rows = {}
    for one in sorted(recipes, key=lambda one: (one.network, one.pair)):  # so that its lengths stand together
        runs = select(frame, network=one.network, pair=one.pair, recipe=one.recipe)
        row = {"network": one.network, "pair": pair_title(one.pair), "recipe": one.recipe, "steps": f"{one.steps:,}"}
        for title, (method, column) in columns.items():
            row[title] = spread(select(runs, method=method)[column], expected=seeds)
        rows[one.network, one.pair, one.recipe] = row
    return pd.DataFrame(rows.values())


def improved_table(
    frame: pd.DataFrame, split: str, pairs: Sequence[str], original: str, improved: str, seeds: int
) -> pd.DataFrame:
    """Accuracies on the target's `split` of a DANN by both recipes and of the improved model, a row a pair."""
    rows = [({"pair": pair_title(pair)}, {"pair": pair}) for pair in pairs]
    return _spreads(frame, split, rows, compared(original, improved), seeds)


def compared(original: str, improved: str) -> dict[str, dict[str, str]]:
    """Titles of the runs that are set side by side, and their network, recipe and method."""
    dann = {"network": original, "method": "dann"}
    return {
        f"{original}, as reported": dann | {"recipe": "as-reported"},
        f"{original}, ours": dann | {"recipe": "ours"},
        f"{improved}, improved": {"network": improved, "recipe": "ours", "method": "improved"},
    }


def gain_table(frame: pd.DataFrame, split: str, pairs: Sequence[str], seeds: int) -> pd.DataFrame:
    """Accuracies on the target's `split` with and without its shape, a row for each pair and recipe."""
    kinds = [{"pair": pair, "recipe": recipe} for pair, recipe in product(pairs, ("ours", *CHANGED))]
    rows = [(kind | {"pair": pair_title(kind["pair"])}, kind) for kind in kinds]
    columns = {method_title(method): {"method": method} for method in SHAPE_METHODS}
    return _spreads(frame, split, rows, columns, seeds)


def _spreads(
    frame: pd.DataFrame, column: str, rows: list[tuple[dict, dict]], columns: dict[str, dict], seeds: int
) -> pd.DataFrame:
    """Mean and spread of a column over the runs of each row and each titled column; a row has labels and values."""
    return pd.DataFrame(
        labels
        | {title: spread(select(frame, **row, **values)[column], expected=seeds) for title, values in columns.items()}
        for labels, row in rows
    )


def size_table(frame: pd.DataFrame, pair: str, kinds: Sequence[tuple[str, str]], seeds: int) -> pd.DataFrame:
    """Parameters, minutes a run, accuracies in percent of `kinds`, networks and keys of `TARGET_LABELS`, on a pair."""
    rows = []
    for network, recipe in kinds:
        runs = select(frame, network=network, recipe=recipe, pair=pair)
        row = {"network": network, "labels of the target": TARGET_LABELS[recipe]}
        row["parameters"] = f"{count_parameters(build(network)):,}"
        row["minutes a run"] = minutes(runs["seconds"].mean()) if len(runs) else UNKNOWN
        row |= {f"target {split}": spread(runs[split], digits=2, expected=seeds) for split in ("val", "test")}
        rows.append(row)
    return pd.DataFrame(rows)


def ablation_table(frame: pd.DataFrame, pair: str, variants: Sequence[str], seeds: int) -> pd.DataFrame:
    """Accuracy of the improved model without each of its parts, and what each adds: `variants` of `ABLATION`."""
    rows, whole = [], select(frame, pair=pair, recipe="parts")["test"].mean()
    for recipe in (recipe for recipe in variants if recipe in ABLATION):
        tests = select(frame, pair=pair, recipe=recipe)["test"].dropna()
        lost = UNKNOWN if recipe == "parts" or pd.isna(whole - tests.mean()) else f"{whole - tests.mean():+.1f}"
        rows.append({"model": ABLATION[recipe], "target test": spread(tests, expected=seeds), "points it adds": lost})
    return pd.DataFrame(rows)


def training_table(frame: pd.DataFrame) -> pd.DataFrame:
    """How long (means by machine) each kind of run was trained, on what, by which code (+: changes not committed)."""
    kinds = frame.groupby(["network", "recipe", "pair", "method"], sort=False)
    return pd.DataFrame(
        {
            "network": network,
            "recipe": recipe,
            "pair": pair_title(pair),
            "method": method_title(method),
            "steps": int(runs["steps"].iloc[0]),
            "batch": int(runs["batch"].iloc[0]),
            "seeds": ", ".join(map(str, sorted(runs["seed"]))),
            "minutes a run": ", ".join(map(minutes, runs.groupby("hardware")["seconds"].mean())),
            "on": ", ".join(sorted(set(runs["hardware"]))),
            "commits": ", ".join(sorted(set(runs["commit"]))),
        }
        for (network, recipe, pair, method), runs in kinds
    )


def provenance(frame: pd.DataFrame) -> str:
    """Whose numbers these are, as one sentence for a caption."""
    if frame.empty:
        return "No run is finished"
    seeds = ", ".join(map(str, sorted(frame["seed"].unique())))
    machines = " and ".join(map(", ".join, frame[["hardware", "precision"]].drop_duplicates().values))
    domains = dict.fromkeys(domain for pair in frame["pair"] for domain in pair.split("-"))
    images = " and ".join(ORIGINS[origin] for origin in frame["origin"].unique())
    images += " of " + ", ".join(TITLES.get(domain, domain) for domain in domains)
    return f"{len(frame)} runs of our own training on {images}, seeds {seeds}, on {machines}"


def headline(frame: pd.DataFrame) -> dict[str, float]:
    """Means over seeds for the text of the report, such as ``dann_compact_ours_mnistm_svhn_dann_test``, in percent."""
    return {
        value_name(*kind, column): float(runs[column].mean())
        for kind, runs in frame.groupby(["network", "recipe", "pair", "method"], sort=False)
        for column in ("test", "val", "oracle")
        if runs[column].notna().any()
    }


# Recipes

# Key of an affine map to its title and how a value of it is written.
MAPS = {
    "rotate": ("turned, degrees", "± {:g}"),
    "scale": ("magnified", "{0[0]:g} to {0[1]:g}"),
    "aspect": ("stretched, ln(width / height)", "± {:g}"),
    "aspect_middle": ("stretched, the middle", "{:+g}"),
    "shear": ("slanted", "± {:g}"),
    "shear_middle": ("slanted, the middle", "{:+g}"),
    "shift": ("shifted, pixels", "± {:g}"),
}
# The same of an augmentation.
CHANGES = {
    "backgrounds": ("painted onto a patch of the target", "{:.0%}"),
    "neighbours": ("parts of other digits at the sides", "{:.0%}"),
    "grey": ("made grey", "{:.0%}"),
    "invert": ("made its negative", "{:.0%}"),
    "invert_channels": ("each channel made its negative", "{:.0%}"),
    "shuffle_channels": ("channels change places", "{:.0%}"),
    "jitter": ("contrast and brightness", "± {:.0%}"),
    "blur": ("blurred", "{:.0%}"),
    "noise": ("noise of deviation up to 0.1", "{:.0%}"),
    "cutout": ("a hole of 6 to 12 pixels", "{:.0%}"),
}


def recipe_table(networks: Sequence[str], pair: tuple[str, str], preset: str = "paper") -> pd.DataFrame:
    """The trainings of DANNs from one domain to another (`hw2lib.training.cards.recipe_table`)."""

    def in_words(network: str, name: str) -> dict[str, str]:
        recipe = DANNRecipe.choose(network, name, *pair, "dann", 0, preset)
        rising = f", after {recipe.warmup_steps} steps of rising" if recipe.warmup_steps else ""
        over_training = {"constant": "constant", "cosine": "falls to 0 along a cosine"}[recipe.schedule]
        read = {"range": "as it is", "instance": "to mean 0 and deviation 1, by channel"}[recipe.normalisation]
        return {
            "recipe": recipe.recipe,
            "each image": read,
            "augmentation": "none" if recipe.augment_source == Augmentation() else "by pair",
            "optimiser": {"adam": "Adam", "adamw": "AdamW"}[recipe.optimiser],
            "weight decay": f"{recipe.weight_decay:g}",
            "learning rate": f"{recipe.learning_rate:g}",
            "over training": over_training + rising,
            "images of each domain a step": f"{recipe.batch}",
            "steps": f"{recipe.steps:,}",
            "average of the weights": f"{recipe.ema_decay:g}" if recipe.ema_decay else "none",
        }

    return cards.recipe_table(networks, in_words)


def settings_table(recipes: Sequence[ImprovedRecipe]) -> pd.DataFrame:
    """How the improved model learns, by one recipe for each pair: a row a setting, a column a pair."""
    columns = {}
    for recipe in recipes:
        last = "" if recipe.confidence_last == recipe.confidence else f", falling to {recipe.confidence_last:g}"
        columns[pair_title(recipe.pair)] = {
            "steps": f"{recipe.steps:,}",
            "images a step, of source and target": f"{recipe.batch} and {recipe.target_batch}",
            "learning rate": f"{recipe.learning_rate:g}",
            "weight of the domain loss": f"{recipe.domain_weight:g}",
            "weight of the loss on the teacher's labels": f"{recipe.pseudo_weight:g}",
            "that weight rises over steps": "{} to {}".format(*recipe.ramp),
            "confidence that is asked for": f"{recipe.confidence:g}{last}",
            "all digits are labelled as often": "yes" if recipe.equal_shares else "no",
        }
    return pd.DataFrame(columns).rename_axis("setting").reset_index()


def change_table(recipes: Sequence[PairRecipe], views: Mapping[str, str]) -> pd.DataFrame:
    """What happens to images in training: a row a change that some pair has, a column a pair, ± the largest change.

    `views` maps keys of an `Augmentation` in the recipes, such as ``augment_source``, to titles.
    """
    parts = []
    for view, title in views.items():
        changes = {pair_title(recipe.pair): _changes(getattr(recipe, view)) for recipe in recipes}
        rows = pd.DataFrame(changes, index=[name for name, _ in (*MAPS.values(), *CHANGES.values())])
        rows = rows.dropna(how="all").fillna(UNKNOWN).rename_axis("change").reset_index()
        rows.insert(0, "images", title)
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def _changes(augmentation: Augmentation) -> dict[str, str]:
    """Title to value of each change that there is."""
    tables = ((augmentation.affine, MAPS), (augmentation, CHANGES))
    values = [(*entry, getattr(part, key, 0)) for part, table in tables for key, entry in table.items()]
    return {title: written.format(value) for title, written, value in values if value and value != (1.0, 1.0)}
