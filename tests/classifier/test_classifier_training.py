"""Training of the digit classifier: what a step does, that it learns, what the card says, how it goes on."""

import pytest
import torch
import torch.nn.functional as F
from interrupted import stopped
from lightning_fabric import Fabric
from safetensors.torch import load_file
from synthetic import Synthetic

from hw2lib import paths
from hw2lib.classifier import train as classifier
from hw2lib.classifier.train import Recipe
from hw2lib.data.prepare import prepare
from hw2lib.errors import UserError
from hw2lib.files import read_json
from hw2lib.networks import build
from hw2lib.training.cards import result_of
from hw2lib.training.run_folder import RunFolder

PLAIN = {"augment": {}, "ema_decay": 0.0, "learning_rate": 1e-3}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def quiet(_: int) -> None:
    """In place of a bar."""


def recipe(seed: int = 0, **settings) -> Recipe:
    short = {"batch": 16, "steps": 40, "evaluations": 4} | settings
    return Recipe.choose("digit-classifier", "ours", seed, "smoke", short)


def train(path, settings: Recipe, images=None) -> RunFolder:
    folder = RunFolder(path, {})
    classifier.train(settings, images or Synthetic(), folder, "cpu", quiet)
    return folder


def test_a_run_is_that_of_a_plain_loop(tmp_path, monkeypatch):
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    monkeypatch.setattr(classifier, "fabric_for", lambda device: fabric)
    settings = recipe(seed=3, steps=5, evaluations=1, **PLAIN, weight_decay=0.1)
    found = load_file(train(tmp_path / "run", settings).weights)

    torch.manual_seed(3)
    network = build("digit-classifier")
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.1)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 5)
    data = Synthetic().load("mnistm", "train")
    for step in range(5):
        torch.manual_seed(3 * 1_000_003 + step + 1)
        chosen = torch.randint(len(data), (16,))
        x = prepare(torch.tensor(data.images)[chosen], 3, 28, "range")
        optimiser.zero_grad()
        F.cross_entropy(network(x), torch.tensor(data.labels)[chosen]).backward()
        optimiser.step()
        rates.step()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-6)


def test_it_learns_and_the_card_says_how_well(tmp_path):
    settings = recipe(steps=150, batch=32, evaluations=15, learning_rate=3e-3, ema_decay=0.9)
    folder = train(tmp_path / "run", settings)
    card = read_json(folder.path / "card.json")
    assert [step for step, _ in card["curve"]] == list(range(10, 151, 10))
    assert folder.history()[-1]["loss"] < 0.5 < torch.tensor(10.0).log()
    assert card["curve"][0][1] < card["curve"][-1][1] == card["accuracy"]["val"]
    assert (card["images"], card["origin"]) == ("patterns", "stand-in")

    test = Synthetic().load("mnistm", "test")
    network = build("digit-classifier")
    network.load_state_dict(load_file(folder.weights))
    with torch.inference_mode():
        classes = network(prepare(torch.tensor(test.images), 3, 28, "range")).argmax(1).numpy()
    assert card["accuracy"]["test"] == pytest.approx(100 * (classes == test.labels).mean(), abs=1e-3)
    assert card["accuracy"]["test"] > 80
    assert result_of(folder) == f"{card['accuracy']['test']} % of test"


def test_average_augmentation_domain_and_seed_make_a_difference(tmp_path):
    changes = [{}, PLAIN, {**PLAIN, "ema_decay": 0.5}, {"augment": {"invert": 1.0}}, {"domain": "usps"}, {"seed": 1}]
    found = {train(tmp_path / str(i), recipe(**change)).weights.read_bytes() for i, change in enumerate(changes)}
    assert len(found) == len(changes)
    assert train(tmp_path / "again", recipe()).weights.read_bytes() in found


def test_without_val_and_test_splits(tmp_path):
    folder = train(tmp_path / "run", recipe(), Synthetic({"train": 60}))
    assert folder.card["accuracy"] == {"val": None, "test": None}
    assert folder.card["curve"] == []
    assert result_of(folder) == "no test split with labels"


@pytest.mark.parametrize("step", [1, 10, 25, 39])
def test_stopped_between_two_steps_it_ends_bit_for_bit_the_same(tmp_path, step):
    whole = train(tmp_path / "whole", recipe())
    broken = RunFolder(tmp_path / "broken", {})
    stopped(lambda on_step: classifier.train(recipe(), Synthetic(), broken, "cpu", on_step), step)
    assert broken.card is None
    train(broken.path, recipe())
    assert broken.weights.read_bytes() == whole.weights.read_bytes()
    assert broken.history() == whole.history()


def test_every_preset_has_a_recipe():
    found = [Recipe.choose("digit-classifier", "ours", 1, preset) for preset in paths.PRESETS]
    assert found[0].steps < found[1].steps < found[2].steps
    assert found[2].title == "digit-classifier/ours/seed-1"
    assert {one.domain for one in found} == {"mnistm"}


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"domain": "face"}, "domain = 'face': Input should be 'mnistm', 'svhn' or 'usps'"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0: Input should be greater than 0"),
        ({"dropout": 0.1}, "unknown key 'dropout'"),
        ({"network": "dcgan"}, "'network' is not a key of the recipe's file"),
    ],
)
def test_settings_that_cannot_be(settings, what):
    with pytest.raises(UserError) as error:
        recipe(**settings)
    assert what in str(error.value)
    assert "\n" not in str(error.value)


def test_a_rate_that_is_too_high_stops_the_run(tmp_path):
    with pytest.raises(UserError, match="lower the learning rate"):
        train(tmp_path / "run", recipe(learning_rate=1e30))
