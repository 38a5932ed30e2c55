"""Training between two domains: what a step does, that it learns, where it stops, how it goes on."""

import json

import pytest
import torch
import torch.nn.functional as F
from interrupted import stopped
from lightning_fabric import Fabric
from safetensors.torch import load_file
from synthetic import Synthetic, recipe

from hw2lib.adaptation import dann, pairs
from hw2lib.adaptation.networks import reversal_strength
from hw2lib.adaptation.recipe import DANNRecipe
from hw2lib.data.prepare import prepare
from hw2lib.errors import UserError
from hw2lib.networks import build
from hw2lib.training.run_folder import RunFolder

PLAIN = {
    "augment_source": {}, "augment_target": {}, "normalisation": "range", "warmup_steps": 0, "learning_rate": 1e-3,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def quiet(_: int) -> None:
    """In place of a bar."""


def train(folder: RunFolder, settings: DANNRecipe, images=None) -> dict:
    return dann.train(settings, images or Synthetic(), folder, "cpu", quiet)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder(tmp_path / "run", {})


# What a step does


def plain_loop(settings: DANNRecipe, images: Synthetic) -> torch.nn.Module:
    """The same training in plain torch and float64: no Fabric, no run folder, no gradient reversal."""
    torch.manual_seed(settings.seed)
    network = build(settings.network).double()
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    optimiser = kind(network.parameters(), weight_decay=settings.weight_decay)
    source, target = images.load(settings.source, "train"), images.load(settings.target, "train")

    def batch(digits):
        chosen = torch.randint(len(digits), (settings.batch,))
        x = prepare(torch.tensor(digits.images)[chosen], network.inputs.channels, network.inputs.size, "range")
        return x.double(), torch.tensor(digits.labels)[chosen]

    for step in range(settings.steps):
        torch.manual_seed(settings.seed * 1_000_003 + step + 1)
        optimiser.param_groups[0]["lr"] = settings.learning_rate_at(step)
        if settings.method == "dann":
            (x, labels), (x_target, _) = batch(source), batch(target)
            features = network.features(torch.cat([x, x_target]))
            label_loss = F.cross_entropy(network.label(features[: settings.batch]).float(), labels)
            domains = network.domain(features).float()
            is_target = torch.cat([torch.zeros(settings.batch), torch.ones(settings.batch)])
            if network.domain_is_probability:
                domain_loss = F.binary_cross_entropy(domains[:, 0], is_target)
            else:
                domain_loss = F.cross_entropy(domains, is_target.long())
            # The heads minimise both losses; the features minimise the label loss and maximise the domain loss.
            weighted = settings.domain_weight * domain_loss
            strength = reversal_strength(step / settings.steps, settings.reversal_max)
            heads = [*network.label.parameters(), *network.domain.parameters()]
            parts = list(network.features.parameters())
            gradients = torch.autograd.grad(label_loss + weighted, heads, retain_graph=True)
            of_features = torch.autograd.grad(label_loss - strength * weighted, parts)
            for parameter, gradient in zip(heads + parts, [*gradients, *of_features], strict=True):
                parameter.grad = gradient
        else:
            x, labels = batch(source if settings.method == "source-only" else target)
            optimiser.zero_grad()
            F.cross_entropy(network(x).float(), labels).backward()
        optimiser.step()
    return network


@pytest.mark.parametrize(
    ("method", "network", "optimiser"),
    [
        ("source-only", "dann-compact", "adamw"),
        ("target-only", "dann-compact", "adam"),
        ("dann", "dann-compact", "adamw"),
        ("dann", "dann-grey", "adam"),
    ],
)
def test_a_run_is_that_of_a_plain_loop(folder, monkeypatch, method, network, optimiser):
    """In float64: in float32 the biases before a BatchNorm, whose gradient is rounding, would wander by chance."""
    fabric = Fabric(accelerator="cpu", devices=1, precision="64-true")
    monkeypatch.setattr(dann, "fabric_for", lambda device: fabric)
    monkeypatch.setattr(dann, "evaluation", lambda *_: {})  # it reads float32
    settings = recipe(
        method, network=network, seed=3, steps=5, batch=8, evaluations=1, ema_decay=0.0, optimiser=optimiser,
        schedule="cosine", domain_weight=0.7, reversal_max=0.8, **PLAIN | {"warmup_steps": 2},
    )  # fmt: skip
    images = Synthetic({"train": 200})
    train(folder, settings, images)
    expected = plain_loop(settings, images).state_dict()
    found = load_file(folder.weights)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-5)


def test_the_moving_average_is_what_is_kept(folder, tmp_path):
    kept, raw = {}, {}
    for decay, weights in ((0.9, kept), (0.0, raw)):
        run = RunFolder(tmp_path / str(decay), {})
        train(run, recipe(steps=6, evaluations=1, ema_decay=decay))
        weights.update(load_file(run.weights))
    assert kept.keys() == raw.keys()
    assert not torch.equal(kept["features.0.weight"], raw["features.0.weight"])
    assert torch.equal(kept["features.1.num_batches_tracked"], raw["features.1.num_batches_tracked"])


def test_the_seed_decides(tmp_path):
    weights = []
    for i, seed in enumerate((0, 0, 1)):
        run = RunFolder(tmp_path / str(i), {})
        train(run, recipe(seed=seed, steps=4, evaluations=1))
        weights.append(run.weights.read_bytes())
    assert weights[0] == weights[1] != weights[2]


# That it learns


@pytest.mark.parametrize("method", ["source-only", "dann", "target-only"])
def test_it_learns(folder, method):
    """SVHN's stand-in here has the look of MNIST-M, so that all methods can."""
    settings = recipe(method, steps=60, batch=32, evaluations=3, ema_decay=0.9, **PLAIN, reversal_max=0.1)
    card = train(folder, settings.model_copy(update={"target": "svhn"}))
    losses = [line["label_loss"] for line in folder.history()]
    assert losses[-1] < 0.3 < 1.5 < torch.tensor(10.0).log()
    assert card["accuracy"]["target test"] > 80
    assert card["accuracy"]["target val"] > 80


def test_source_only_meets_the_gap_and_target_only_does_not(tmp_path):
    found = {}
    for method in ("source-only", "target-only"):
        settings = recipe(method, steps=60, batch=32, evaluations=1, ema_decay=0.9, **PLAIN)
        found[method] = train(RunFolder(tmp_path / method, {}), settings)["accuracy"]
    assert found["source-only"]["source test"] > 95
    assert found["target-only"]["target test"] > 95
    assert found["source-only"]["target test"] < 90


def test_the_features_work_against_the_domain_classifier(tmp_path):
    """Reversed, they soon mislead it worse than chance (log 2 = 0.69); without reversal it wins."""
    losses = {}
    for strength in (0.0, 0.3):
        run = RunFolder(tmp_path / str(strength), {})
        train(run, recipe(steps=100, batch=32, evaluations=4, **PLAIN, reversal_max=strength))
        losses[strength] = [line["domain_loss"] for line in run.history()]
    assert max(losses[0.0]) < 0.65
    assert max(losses[0.3]) > 1.0


def test_what_the_card_and_the_log_say(folder):
    told = []
    settings = recipe(steps=40, evaluations=4)
    card = dann.train(settings, Synthetic(), folder, "cpu", told.append)
    assert sum(told) == 40
    assert [line["step"] for line in folder.history()] == [10, 20, 30, 40]
    assert set(folder.history()[0]) == {"step", "label_loss", "domain_loss", "reversal", "target test"}
    assert [step for step, _ in card["curve"]] == [10, 20, 30, 40]
    assert card["curve"][-1][1] == pytest.approx(card["accuracy"]["target test"], abs=1e-3)  # the last step
    assert card["oracle"] == max(accuracy for _, accuracy in card["curve"])
    assert set(card["accuracy"]) == {"source val", "source test", "target val", "target test"}
    assert card["images"] == "patterns"
    assert card["origin"] == "stand-in"
    assert card["hardware"]["gpu"] is None
    assert json.loads((folder.path / "card.json").read_text())["accuracy"] == card["accuracy"]
    reversal = [line["reversal"] for line in folder.history()]
    assert reversal == pytest.approx([reversal_strength((step - 1) / 40, 0.3) for step in (10, 20, 30, 40)], abs=1e-4)


# What is not there


def test_without_a_test_split_there_is_no_accuracy_on_it(folder):
    card = train(folder, recipe(steps=4, evaluations=2), Synthetic({"train": 40, "val": 10}))
    assert card["accuracy"]["target test"] is None
    assert card["accuracy"]["source test"] is None
    assert card["accuracy"]["target val"] is not None
    assert (card["oracle"], card["curve"]) == (None, [])


def test_a_run_may_learn_from_some_of_the_sources_images(folder, monkeypatch):
    """As many as asked for, from its first to its last; the target stays whole."""
    seen = {}

    def batch_of(data, size, form, augmentation, others):
        seen[len(data[0])] = data
        return pairs.batch_of(data, size, form, augmentation, others)

    monkeypatch.setattr(dann, "batch_of", batch_of)
    images = Synthetic()
    whole = images.load("mnistm", "train")
    train(folder, recipe(method="dann", source_images=7))
    some, labels = seen[7]
    assert len(seen) == 2
    assert len(whole) in seen
    chosen = [i * (len(whole) - 1) // 6 for i in range(7)]
    assert torch.equal(some, torch.tensor(whole.images[chosen]))
    assert labels.tolist() == list(whole.labels[chosen])


def test_a_short_run_is_evaluated_on_some_of_the_images(folder):
    accuracy = train(folder, recipe(steps=4, evaluations=2, evaluated=7))["accuracy"]
    assert all(percent * 7 / 100 == pytest.approx(round(percent * 7 / 100), abs=1e-3) for percent in accuracy.values())


def test_a_batch_larger_than_the_data_is_refused(folder):
    train(folder, recipe(steps=2, evaluations=1, batch=20), Synthetic({"train": 20}))
    other = RunFolder(folder.path.with_name("other"), {})
    with pytest.raises(UserError, match="mnistm train: a batch of 21 is larger than its 20 images"):
        train(other, recipe(steps=2, evaluations=1, batch=21), Synthetic({"train": 20}))
    with pytest.raises(UserError, match="usps train: a batch of 21"):
        train(other, recipe("target-only", steps=2, evaluations=1, batch=21), Synthetic({"train": 20}))


# What is not finite


def poisoned(monkeypatch, step: int) -> None:
    """The gradient of that step (from 1) is not a number."""
    real = dann.reversal_strength
    calls = iter(range(1, 10_000))
    monkeypatch.setattr(dann, "reversal_strength", lambda *a: float("nan") if next(calls) == step else real(*a))


def refused(folder: RunFolder, settings: DANNRecipe) -> str:
    with pytest.raises(UserError) as error:
        train(folder, settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_loss_that_is_not_finite_names_the_step_and_the_last_good_state(folder, tmp_path, monkeypatch):
    settings = recipe(steps=40, evaluations=4)
    with monkeypatch.context() as patch:
        poisoned(patch, step=26)
        message = refused(folder, settings)
    assert message == (
        f"{folder.path}: the loss is nan at step 27; the last good state, of step 20, is in {folder.path}/state.pt; "
        "lower the learning rate"
    )
    assert folder.card is None
    state = folder.load_state()
    assert state["step"] == 20
    assert all(tensor.isfinite().all() for tensor in state["network"].values())

    train(folder, settings)  # the poison gone, it goes on
    untouched = RunFolder(tmp_path / "untouched", {})
    train(untouched, settings)
    assert folder.weights.read_bytes() == untouched.weights.read_bytes()


@pytest.mark.parametrize("step", [30, 40])
def test_a_network_that_is_not_finite_is_never_saved(folder, monkeypatch, step):
    """The loss of that step is still finite, but a state, or the result, is due."""
    poisoned(monkeypatch, step)
    message = refused(folder, recipe(steps=40, evaluations=4))
    assert f"a weight is not finite at step {step}; the last good state, of step {step - 10}, is in" in message
    assert folder.load_state()["step"] == step - 10
    assert not folder.weights.exists()


def test_a_huge_learning_rate_stops_before_anything_was_saved(folder):
    message = refused(folder, recipe(steps=40, evaluations=1, learning_rate=1e30, warmup_steps=0))
    assert "the loss is " in message
    assert "no state was saved before; lower the learning rate" in message
    assert not (folder.path / "state.pt").exists()


# Going on


class Untouchable:
    """Images that nobody may ask for."""


def test_a_finished_run_is_returned_at_once(folder):
    settings = recipe(steps=4, evaluations=2)
    card = train(folder, settings)
    before = {file.name: file.stat().st_mtime_ns for file in folder.path.iterdir()}
    assert train(folder, settings, Untouchable()) == json.loads(json.dumps(card))
    assert {file.name: file.stat().st_mtime_ns for file in folder.path.iterdir()} == before


@pytest.mark.parametrize("network", ["dann-compact", "dann-deep"])
@pytest.mark.parametrize("step", [1, 5, 11, 12])
def test_stopped_between_any_two_steps_it_ends_bit_for_bit_the_same(tmp_path, step, network):
    settings = recipe(network=network, steps=12, batch=8, evaluations=4)
    whole, broken = (RunFolder(tmp_path / name, {}) for name in ("whole", "broken"))
    train(whole, settings)

    stopped(lambda on_step: dann.train(settings, Synthetic(), broken, "cpu", on_step), step)
    assert broken.card is None
    train(broken, settings)
    assert broken.weights.read_bytes() == whole.weights.read_bytes()
    assert broken.history() == whole.history()
