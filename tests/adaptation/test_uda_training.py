"""Training with a teacher: what a step does, that it learns, how it goes on, what it refuses."""

import functools

import pytest
import torch
from interrupted import stopped
from synthetic import Synthetic
from torch import nn

from hw2lib import runs, weights
from hw2lib.adaptation import dann, uda
from hw2lib.adaptation.recipe import DANNRecipe, ImprovedRecipe
from hw2lib.adaptation.uda import EqualShares
from hw2lib.errors import UserError
from hw2lib.networks import build
from hw2lib.training.cards import result_of
from hw2lib.training.run_folder import RunFolder


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "run", {})


def recipe(name: str = "ours", target: str = "usps", **settings) -> ImprovedRecipe:
    short = {"batch": 16, "target_batch": 16, "steps": 12, "evaluations": 3, "ramp": [2, 4]} | settings
    return ImprovedRecipe.choose("uda-cnn", name, "mnistm", target, "improved", 0, "smoke", short)


def train(folder: RunFolder, settings: ImprovedRecipe, images=None) -> dict:
    return uda.train(settings, images or Synthetic(), folder, "cpu", lambda _: None)


class Changed(Synthetic):
    """The patterns, with the labels of a domain's train split changed, or without them."""

    def __init__(self, domain: str, labels) -> None:
        super().__init__()
        self.domain, self.labels = domain, labels

    def load(self, domain, split):
        found = super().load(domain, split)
        if domain != self.domain:
            return found
        labels = self.labels(found.labels) if self.labels else None
        return type(found)(found.images, labels, domain, split, found.origin)


def test_weights_and_confidence_over_training():
    settings = recipe(steps=100, ramp=[20, 40], pseudo_weight=2.0, confidence=0.9, confidence_last=0.7)
    assert [settings.pseudo_weight_at(step) for step in (0, 20, 30, 40, 99)] == [0, 0, 1.0, 2.0, 2.0]
    found = [settings.confidence_at(step) for step in (0, 40, 65, 90, 99)]
    assert found == pytest.approx([0.9, 0.9, 0.8, 0.7, 0.7])


def test_inside_statistics_kept_normalisation_is_by_the_batch_and_nothing_is_remembered():
    layer = nn.BatchNorm1d(2).train()
    x = torch.randn(50, 2) + 7
    with uda.statistics_kept(layer):
        normalised = layer(x)
    assert normalised.mean(0).abs().max() < 1e-5
    assert layer.running_mean.abs().max() == 0
    assert layer.num_batches_tracked == 0
    layer(x)
    assert layer.running_mean.min() > 0.5


def test_the_statistics_that_are_kept_are_of_the_target(folder):
    """The source's stand-in is bright, the target's pale; with instance normalisation off they differ in the mean."""
    settings = recipe(normalisation="range", augment_source={}, augment_strong={}, ema_decay=0.5, steps=60, batch=32)
    train(folder, settings)
    network = build(settings.network)
    weights.load(network, folder.weights)
    first, norm = network.features[0], network.features[1]
    means = {}
    for domain in ("mnistm", "usps"):
        x = torch.tensor(Synthetic().load(domain, "train").images).float().expand(-1, 3, -1, -1) / 127.5 - 1
        means[domain] = first(x).mean((0, 2, 3))
    distance = {domain: (norm.running_mean - mean).abs().mean().item() for domain, mean in means.items()}
    assert distance["usps"] < 0.2 * distance["mnistm"]


def test_before_the_ramp_the_teacher_is_not_asked(tmp_path):
    """Runs that differ in its confidence alone are the same, bit for bit."""
    files = []
    for confidence in (0.5, 0.9):
        run = RunFolder(tmp_path / str(confidence), {})
        train(run, recipe(ramp=[100, 200], confidence=confidence, confidence_last=confidence))
        files.append(run.weights.read_bytes())
        assert all(line["kept"] == line["pseudo_loss"] == 0 for line in run.history())
    assert files[0] == files[1]


def test_it_learns_and_the_teacher_becomes_confident(folder):
    settings = recipe(
        target="svhn", normalisation="range", augment_source={}, augment_strong={}, augment_target={}, steps=80,
        batch=32, target_batch=32, ramp=[20, 40], ema_decay=0.9, confidence=0.8, confidence_last=0.8, reversal_max=0.1,
    )  # fmt: skip
    card = train(folder, settings)
    assert card["accuracy"]["target test"] > 90
    kept = [line["kept"] for line in folder.history()]
    assert kept[0] == 0
    assert kept[-1] > 0.5
    assert card["criteria"]["entropy"] < 1
    assert card["criteria"]["information"] > 1
    assert card["curve"][-1][1] == pytest.approx(card["accuracy"]["target test"], abs=1e-3)
    assert card["oracle"] == max(accuracy for _, accuracy in card["curve"])


@pytest.mark.parametrize("name", ["ours", "one-threshold"])
@pytest.mark.parametrize("step", [1, 5, 11])
def test_stopped_between_any_two_steps_it_ends_bit_for_bit_the_same(tmp_path, step, name):
    settings = recipe(name, confidence=0.1, confidence_last=0.1, equal_shares=name == "ours")
    whole, broken = (RunFolder(tmp_path / which, {}) for which in ("whole", "broken"))
    train(whole, settings)
    stopped(lambda on_step: uda.train(settings, Synthetic(), broken, "cpu", on_step), step)
    assert broken.card is None
    train(broken, settings)
    assert broken.weights.read_bytes() == whole.weights.read_bytes()
    assert broken.history() == whole.history()


def test_equal_shares_change_what_is_learned_once_the_teacher_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(uda, "EqualShares", functools.partial(EqualShares, decay=0.0))  # twelve steps are few
    settings = {"confidence": 0.1, "confidence_last": 0.1, "class_thresholds": False}
    files = {}
    for equal_shares, weight in ((False, 1.0), (True, 1.0), (False, 0.0), (True, 0.0)):
        folder = RunFolder(tmp_path / f"{equal_shares} {weight}", {})
        train(folder, recipe(equal_shares=equal_shares, pseudo_weight=weight, **settings))
        files[equal_shares, weight] = folder.weights.read_bytes()
    assert files[False, 1.0] != files[True, 1.0]
    assert files[False, 0.0] == files[True, 0.0]


def test_with_labels_the_targets_own_are_learned_and_not_the_teachers(tmp_path):
    """The target's labels are moved by one: what learns them is wrong wherever the teacher is right."""
    moved = Changed("svhn", lambda labels: (labels + 1) % 10)
    plain = {"normalisation": "range", "augment_source": {}, "augment_strong": {}, "domain_weight": 0.0}
    lengths = {"steps": 80, "batch": 32, "target_batch": 32, "ramp": [2, 4], "ema_decay": 0.9, "pseudo_weight": 3.0}
    wrong = {}
    for name in ("ours", "with-labels"):
        run = RunFolder(tmp_path / name, {})
        train(run, recipe(name, "svhn", **plain, **lengths, confidence=0.5, confidence_last=0.5), moved)
        network = build("uda-cnn")
        weights.load(network, run.weights)
        data = Synthetic().load("svhn", "test")
        x = torch.tensor(data.images).float().expand(-1, 3, -1, -1) / 127.5 - 1
        read = network.eval()(x).argmax(1)
        wrong[name] = (read == (torch.tensor(data.labels) + 1) % 10).float().mean().item()
    assert wrong["ours"] < 0.3
    assert wrong["with-labels"] > 0.7


def test_a_target_without_labels_is_adapted_to_and_its_accuracy_is_missing(folder):
    card = train(folder, recipe(), Changed("usps", None))
    assert card["accuracy"]["target test"] is None
    assert card["accuracy"]["source test"] is not None
    assert (card["oracle"], card["curve"]) == (None, [])
    assert result_of(folder) == "no target test split with labels"


def dann_recipe(method: str) -> DANNRecipe:
    short = {"batch": 16, "steps": 4, "evaluations": 2}
    return DANNRecipe.choose("dann-compact", "ours", "mnistm", "usps", method, 0, "smoke", short)


def refusal(folder: RunFolder, settings, images) -> str:
    family = uda if isinstance(settings, ImprovedRecipe) else dann
    with pytest.raises(UserError) as error:
        family.train(settings, images, folder, "cpu", lambda _: None)
    assert not (folder.path / "card.json").exists()
    return str(error.value)


def test_a_digit_that_is_missing_is_named(folder):
    lacks = {domain: Changed(domain, lambda labels: labels - (labels == 3)) for domain in ("mnistm", "usps")}
    for settings in (recipe(), dann_recipe("dann"), dann_recipe("source-only")):
        assert refusal(folder, settings, lacks["mnistm"]) == (
            "mnistm train: no image of 3; all ten digits are to be learned"
        )
    for settings in (recipe(), dann_recipe("dann")):
        assert refusal(folder, settings, lacks["usps"]) == (
            "usps train: no image of 3; domains with different digits cannot be aligned as wholes"
        )


def test_labels_that_are_not_there_cannot_be_learned(folder):
    for settings, domain in (
        (recipe(), "mnistm"),
        (recipe("with-labels"), "usps"),
        (dann_recipe("target-only"), "usps"),
    ):
        message = refusal(folder, settings, Changed(domain, None))
        assert message == f"{domain} train: has no labels, and they are needed; give a csv with image_name,label"


def test_what_learns_labels_of_the_target_is_left_out_where_it_has_none():
    recipes = [dann_recipe(method) for method in ("source-only", "dann", "target-only")]
    assert runs.learnable(recipes, Changed("usps", None)) == recipes[:2]
    assert runs.learnable(recipes, Changed("mnistm", None)) == recipes
    assert runs.learnable([recipe(), recipe("with-labels")], Changed("usps", None)) == [recipe()]


def test_bad_settings_are_named(folder):
    with pytest.raises(UserError, match=r"ramp = \[4, 2\]: .*choose two steps, the earlier first"):
        recipe(ramp=[4, 2])
    settings = recipe(augment_strong={"backgrounds": 1.0})
    assert refusal(folder, settings, Synthetic()).startswith("backgrounds: no other domain to take patches from")


def test_source_and_target_are_two():
    with pytest.raises(UserError, match="source and target are both 'mnistm': choose two domains"):
        recipe(target="mnistm")
