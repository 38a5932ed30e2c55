"""How denoisers are trained, in words."""

from collections.abc import Sequence

import pandas as pd

from hw2lib.diffusion.recipe import Recipe
from hw2lib.training import cards


def recipe_table(networks: Sequence[str], own: Sequence[str] = (), preset: str = "paper") -> pd.DataFrame:
    """The trainings of denoisers (`hw2lib.training.cards.recipe_table`).

    Args:
        networks: names of networks of the reports.
        own: names of networks of our own.
        preset: whose lengths are shown.

    Raises:
        UserError: an unknown network or preset.
    """
    return cards.recipe_table(networks, lambda network, name: _spelled(Recipe.of(network, name, 0, preset)), own)


def _spelled(recipe: Recipe) -> dict[str, str]:
    """Settings in words, in the order in which a reader asks for them."""
    return {
        "recipe": recipe.recipe,
        "image size": _size(recipe),
        "schedule": recipe.schedule,
        "steps of noise T": f"{recipe.diffusion_steps:,}",
        "alpha-bar at T": _power(float(recipe.schedule_table().alpha_bar[-1]), 1),
        "loss": {"mse": "squared error", "smooth-l1": "smooth L1"}[recipe.loss],
        "weight of a step": f"min(SNR, {recipe.min_snr:g}) / SNR" if recipe.min_snr else "1",
        "label dropout": f"{recipe.label_dropout:.0%}" if recipe.label_dropout else "none",
        "optimiser": {"adam": "Adam", "adamw": "AdamW"}[recipe.optimiser],
        "learning rate": f"{_power(recipe.learning_rate)}, {recipe.rates}",
        "batch": f"{recipe.batch}",
        "steps of training": f"{recipe.steps:,}",
        "EMA": f"{recipe.ema_decay:g}" if recipe.ema_decay else "none",
    }


def _size(recipe: Recipe) -> str:
    small, whole = (f"{side}x{side}" for side in (recipe.size_at(0), recipe.size))
    return f"{small} for {recipe.early:.0%} of the steps, then {whole}" if recipe.early else whole


def _power(number: float, digits: int = 0) -> str:
    return f"{number:.{digits}e}".replace("e-0", "e-")
