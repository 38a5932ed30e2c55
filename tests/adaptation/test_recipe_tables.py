"""The tables of trainings between domains: what each recipe says, in words."""

import pytest

from hw2lib.adaptation.recipe import DANNRecipe, ImprovedRecipe
from hw2lib.adaptation.recipe_tables import CHANGES, MAPS, change_table, recipe_table, settings_table
from hw2lib.data.augment import Affine, Augmentation
from hw2lib.errors import UserError

PAIRS = (("mnistm", "usps"), ("usps", "svhn"))


def test_as_reported_and_ours():
    table = recipe_table(["dann-compact", "dann-grey"], PAIRS[0]).set_index("setting")
    assert table["dann-grey"].to_dict() == {
        "recipe": "as-reported",
        "each image": "as it is",
        "augmentation": "none",
        "optimiser": "Adam",
        "weight decay": "0",
        "learning rate": "0.001",
        "over training": "constant",
        "images of each domain a step": "64",
        "steps": "1,000",
        "average of the weights": "none",
    }
    ours = table["any network"]
    assert ours[["augmentation", "images of each domain a step"]].tolist() == ["by pair", "256; 128"]
    assert ours["over training"] == "falls to 0 along a cosine, after 100 steps of rising"
    with pytest.raises(UserError, match="dann-nine"):
        recipe_table(["dann-nine"], PAIRS[0])


def test_changes_are_those_of_the_recipe():
    recipes = [DANNRecipe.of("dann-compact", "ours", *pair, "dann", 0, "paper") for pair in PAIRS]
    table = change_table(recipes, {"augment_source": "source", "augment_target": "target"})
    table = table.set_index(["images", "change"])
    assert list(table.columns) == ["MNIST-M to USPS", "USPS to SVHN"]
    assert table.loc[("source", "made grey")].tolist() == ["50%", "–"]
    assert table.loc[("source", "painted onto a patch of the target")].tolist() == ["–", "100%"]
    assert table.loc[("source", "magnified")].tolist() == ["1 to 1.5", "0.6 to 1.05"]
    assert table.loc[("target", "turned, degrees")].tolist() == ["± 10", "–"]
    assert ("source", "a hole of 6 to 12 pixels") not in table.index, "no pair has it"


def test_the_strong_view_of_the_improved_model():
    recipe = ImprovedRecipe.of("uda-cnn", "ours", *PAIRS[0], "improved", 0, "paper")
    table = change_table([recipe], {"augment_strong": "target, strong"}).set_index("change")
    assert table.loc["a hole of 6 to 12 pixels", "MNIST-M to USPS"] == "50%"


def test_settings_of_the_improved_model():
    override = {"confidence_last": 0.7, "equal_shares": True, "domain_weight": 0.0, "ramp": [5, 1200]}
    changed = ImprovedRecipe.of("uda-cnn", "ours", "svhn", "mnistm", "improved", 0, "paper", override)
    plain = ImprovedRecipe.of("uda-cnn", "ours", "usps", "svhn", "improved", 0, "paper")
    table = settings_table([changed, plain]).set_index("setting")
    assert table["SVHN to MNIST-M"].iloc[3:].tolist() == ["0", "1", "5 to 1200", "0.9, falling to 0.7", "yes"]
    assert table["USPS to SVHN"].tolist() == [
        "4,500", "64 and 128", "0.002", "0.3", "1", "400 to 800", "0.9", "no",
    ]  # fmt: skip


def test_no_change_is_forgotten():
    assert set(MAPS) == set(Affine.model_fields)
    assert {"affine", *CHANGES} == set(Augmentation.model_fields)
