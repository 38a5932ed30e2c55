"""How networks between two domains are trained, and how their images are changed, in words."""

from collections.abc import Mapping, Sequence

import pandas as pd

from hw2lib.adaptation.recipe import DANNRecipe, ImprovedRecipe, PairRecipe
from hw2lib.adaptation.tables import pair_title
from hw2lib.data.augment import Augmentation
from hw2lib.training import cards

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
    """The trainings of DANNs (`hw2lib.training.cards.recipe_table`).

    Args:
        networks: names of networks.
        pair: source and target, on which the length of our recipe depends.
        preset: whose lengths are shown.

    Raises:
        UserError: an unknown network, domain or preset.
    """

    def spelled(network: str, name: str) -> dict[str, str]:
        return _spelled(DANNRecipe.of(network, name, *pair, "dann", 0, preset))

    return cards.recipe_table(networks, spelled)


def _spelled(recipe: PairRecipe) -> dict[str, str]:
    rising = f", after {recipe.warmup_steps} steps of rising" if recipe.warmup_steps else ""
    return {
        "recipe": recipe.recipe,
        "each image": {"range": "as it is", "instance": "to mean 0 and deviation 1, by channel"}[recipe.normalisation],
        "augmentation": "none" if recipe.augment_source == Augmentation() else "by pair",
        "optimiser": {"adam": "Adam", "adamw": "AdamW"}[recipe.optimiser],
        "weight decay": f"{recipe.weight_decay:g}",
        "learning rate": f"{recipe.learning_rate:g}",
        "over training": {"constant": "constant", "cosine": "falls to 0 along a cosine"}[recipe.schedule] + rising,
        "images of each domain a step": f"{recipe.batch}",
        "steps": f"{recipe.steps:,}",
        "average of the weights": f"{recipe.ema_decay:g}" if recipe.ema_decay else "none",
    }


def settings_table(recipes: Sequence[ImprovedRecipe]) -> pd.DataFrame:
    """How the improved model learns: a row a setting, a column a pair.

    Args:
        recipes: one for each pair.
    """
    return pd.DataFrame(
        {"setting": list(_learning(recipes[0]))}
        | {pair_title(f"{recipe.source}-{recipe.target}"): list(_learning(recipe).values()) for recipe in recipes}
    )


def _learning(recipe: ImprovedRecipe) -> dict[str, str]:
    last = "" if recipe.confidence_last == recipe.confidence else f", falling to {recipe.confidence_last:g}"
    return {
        "steps": f"{recipe.steps:,}",
        "images a step, of source and target": f"{recipe.batch} and {recipe.target_batch}",
        "learning rate": f"{recipe.learning_rate:g}",
        "weight of the domain loss": f"{recipe.domain_weight:g}",
        "weight of the loss on the teacher's labels": f"{recipe.pseudo_weight:g}",
        "that weight rises over steps": "{} to {}".format(*recipe.ramp),
        "confidence that is asked for": f"{recipe.confidence:g}{last}",
        "all digits are labelled as often": "yes" if recipe.equal_shares else "no",
    }


def change_table(recipes: Sequence[PairRecipe], views: Mapping[str, str]) -> pd.DataFrame:
    """What happens to images in training: a row a change, a column a pair; a change that no pair has is left out.

    Shares are of images, and ± is the largest change.

    Args:
        recipes: one for each pair.
        views: key of an `Augmentation` in them, such as ``augment_source``, to its title.
    """
    columns = {pair_title(f"{recipe.source}-{recipe.target}"): recipe for recipe in recipes}
    rows = []
    for view, title in views.items():
        changes = {pair: _changes(getattr(recipe, view)) for pair, recipe in columns.items()}
        known = [name for name, _ in (*MAPS.values(), *CHANGES.values())]
        for name in (name for name in known if any(name in found for found in changes.values())):
            rows.append(
                {"images": title, "change": name}
                | {pair: found.get(name, cards.UNKNOWN) for pair, found in changes.items()}
            )
    return pd.DataFrame(rows)


def _changes(augmentation: Augmentation) -> dict[str, str]:
    """Title to value of each change that there is."""
    found = {}
    for part, table in ((augmentation.affine, MAPS), (augmentation, CHANGES)):
        for key, (title, written) in table.items():
            value = getattr(part, key, 0)
            if value and value != (1.0, 1.0):
                found[title] = written.format(value)
    return found
