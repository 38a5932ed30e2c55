"""What lies in data/trained: runs of the recipes as they stand, one of each."""

import pytest

from hw2lib import comparison, paths, runs
from hw2lib.adaptation import tables as adaptation
from hw2lib.diffusion import faces
from hw2lib.diffusion import tables as diffusion
from hw2lib.files import read_json
from hw2lib.gan import tables as gan
from hw2lib.training.run_folder import shipped_run

CARDS = sorted(paths.TRAINED.rglob("card.json"))


def test_there_are_runs():
    assert len(CARDS) > 50


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.parent.relative_to(paths.TRAINED).as_posix())
def test_a_run_is_of_the_recipe_as_it_stands(card):
    settings = read_json(card)["settings"]
    pairs = [f"{settings['source']}-{settings['target']}"] if "source" in settings else []
    methods = [settings["method"]] if "method" in settings else []
    (recipe,) = runs.recipes_for(
        [settings["network"]], [settings["recipe"]], [settings["seed"]], "paper", pairs, methods
    )
    assert {key: value for key, value in settings.items() if key != "data"} == recipe.model_dump(mode="json")
    assert recipe.title == card.parent.relative_to(paths.TRAINED).as_posix().rpartition("-")[0]


def test_no_two_are_of_one_title():
    titles = [card.parent.as_posix().rpartition("-")[0] for card in CARDS]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("part", [gan, diffusion, faces, adaptation, comparison], ids=lambda part: part.__name__)
def test_all_that_quick_shows_ships(part):
    """So that it trains nothing but what notebook 51 trains live."""
    for one in (one for some in part.REPORT.values() for one in some):
        asked = runs.asked("quick", one)
        assert asked == runs.asked("paper", one)
        lacking = {recipe.title for recipe in asked if not shipped_run(recipe.title, None, one.with_weights)}
        assert not lacking
    assert runs.missing("quick", "", "cpu") == []
