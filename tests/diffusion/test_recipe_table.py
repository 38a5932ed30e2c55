"""The table of trainings: what each recipe says, in words."""

import pytest

from hw2lib.diffusion.recipe import Recipe
from hw2lib.diffusion.recipe_table import recipe_table
from hw2lib.errors import UserError


def test_as_reported_and_ours():
    table = recipe_table(["unet-three-level", "unet-wide-bottleneck"]).set_index("setting")
    assert table["unet-three-level"].to_dict() == {
        "recipe": "as-reported",
        "image size": "32x32",
        "schedule": "linear",
        "steps of noise T": "400",
        "alpha-bar at T": "1.7e-2",
        "loss": "smooth L1",
        "weight of a step": "1",
        "label dropout": "none",
        "optimiser": "Adam",
        "learning rate": "1e-4, constant",
        "batch": "16",
        "steps of training": "2,000",
        "EMA": "none",
    }
    assert table.loc["learning rate"].tolist() == ["1e-4, constant", "3e-3, one-cycle", "1e-3, one-cycle"]
    ours = table["any network"]
    assert ours[["recipe", "weight of a step", "EMA"]].tolist() == ["ours", "min(SNR, 2) / SNR", "0.999"]
    assert ours["image size"] == "16x16 for 70% of the steps, then 28x28"


def test_networks_of_our_own_have_a_column():
    table = recipe_table(["unet-two-level"], ["context-unet-64"]).set_index("setting")
    assert list(table.columns) == ["unet-two-level", "any network", "context-unet-64"]
    assert table.loc["image size"].tolist()[1:] == ["16x16 for 70% of the steps, then 28x28", "28x28"]


def test_what_differs_in_ours_stands_in_the_order_of_the_networks(monkeypatch):
    of = Recipe.of

    def changed(network, recipe, seed, preset):
        return of(network, recipe, seed, preset, {"batch": 32} if network == "context-unet" else None)

    monkeypatch.setattr(Recipe, "of", changed)
    table = recipe_table(["unet-three-level", "context-unet"]).set_index("setting")
    assert list(table.columns) == ["unet-three-level", "context-unet", "any network"]
    assert table.loc["batch"].tolist() == ["16", "32", "64; 32"]


def test_another_preset_and_an_unknown_network():
    table = recipe_table(["context-unet"], preset="quick").set_index("setting")
    assert table.loc["steps of training"].tolist() == ["200", "200"]
    with pytest.raises(UserError, match="unet-nine-level"):
        recipe_table(["unet-nine-level"])
