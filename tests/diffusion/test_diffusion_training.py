"""Training of a denoiser: what a step does, that it learns, what the card says, how it goes on."""

import functools
import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from interrupted import stopped
from lightning_fabric import Fabric
from safetensors.torch import load_file
from synthetic import Portraits, Synthetic
from torch import nn

from hw2lib import paths
from hw2lib.data.prepare import prepare
from hw2lib.diffusion import recipe as recipe_module
from hw2lib.diffusion import scores
from hw2lib.diffusion import train as diffusion
from hw2lib.diffusion.networks.context_unet import ContextUNet
from hw2lib.diffusion.recipe import GUIDED, UNGUIDED, Recipe
from hw2lib.diffusion.sample import Denoiser, sample
from hw2lib.diffusion.samplers import SamplerSettings
from hw2lib.diffusion.schedule import cosine, cosine_steps, dropped, karras, noised
from hw2lib.errors import UserError
from hw2lib.layers import Inputs
from hw2lib.training.cards import result_of
from hw2lib.training.run_folder import RunFolder

IMAGES = Synthetic({"train": 60, "val": 30, "test": 30})


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(diffusion, "build", lambda name: ContextUNet(16))
    monkeypatch.setattr(scores, "quality", scored)


def scored(denoiser, *_) -> dict[str, float]:
    """In place of `scores.quality`, which leaves a network in evaluation mode too."""
    denoiser.network.eval()
    return {"accuracy": 50.0}


def quiet(_: int) -> None:
    """In place of a bar."""


def recipe(seed: int = 0, name: str = "ours", **settings) -> Recipe:
    short = {"batch": 8, "steps": 6, "evaluations": 2, "diffusion_steps": 50} | settings
    return Recipe.choose("context-unet-128", name, seed, "smoke", short)


def train(path, settings: Recipe, images=IMAGES) -> RunFolder:
    folder = RunFolder(path, {})
    diffusion.train(settings, images, folder, "cpu", quiet)
    return folder


@pytest.mark.parametrize(
    ("loss", "optimiser", "ema_decay", "min_snr", "prediction", "clip"),
    [
        ("mse", "adamw", 0.0, 0, "noise", 0),
        ("smooth-l1", "adam", 0.0, 0, "noise", 0),
        ("mse", "adamw", 0.9, 2, "noise", 0),
        ("mse", "adamw", 0.0, 0, "velocity", 1e-3),
    ],
)
def test_a_run_is_that_of_a_plain_loop(tmp_path, monkeypatch, loss, optimiser, ema_decay, min_snr, prediction, clip):
    monkeypatch.setattr(diffusion, "fabric_for", lambda _: Fabric(accelerator="cpu", devices=1, precision="32-true"))
    decayed = functools.partial(torch.optim.AdamW, weight_decay=10.0)
    settings = recipe(
        3, steps=4, evaluations=2, ema_decay=ema_decay, rates="falling", loss=loss, optimiser=optimiser,
        label_dropout=0.5, min_snr=min_snr, prediction=prediction, gradient_clip=clip,
    )  # fmt: skip
    monkeypatch.setattr(torch.optim, "AdamW", decayed)
    found = load_file(train(tmp_path / "run", settings).weights)

    torch.manual_seed(3)
    network = ContextUNet(16).to(memory_format=torch.channels_last)
    average = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    kind = decayed if optimiser == "adamw" else torch.optim.Adam
    stepper = kind(network.parameters(), lr=settings.learning_rate, fused=True)
    rates = torch.optim.lr_scheduler.LinearLR(stepper, 1.0, 1e-9, 4)
    data = IMAGES.load("mnistm", "train")
    for step in range(4):
        torch.manual_seed(3 * 1_000_003 + step + 1)
        chosen = torch.randint(len(data), (8,))
        x = prepare(torch.tensor(data.images)[chosen], 3, 28, "range")
        t = torch.randint(1, 51, (8,))
        noise = torch.randn_like(x)
        labels = dropped(torch.tensor(data.labels)[chosen], 0.5)
        predicted = network(noised(x, noise, t, cosine(50)), t / 50, labels)
        stepper.zero_grad()
        alpha_bar = cosine(50).alpha_bar[t]
        wanted = noise
        if prediction == "velocity":
            share = alpha_bar[:, None, None, None]
            wanted = share.sqrt().float() * noise - (1 - share).sqrt().float() * x
        # Sums in the same order: the gradient of a bias before a BatchNorm is rounding, which Adam makes large.
        distance = F.mse_loss if loss == "mse" else F.smooth_l1_loss
        losses = distance(predicted, wanted, reduction="none").mean((1, 2, 3))
        weights = (min_snr * (1 - alpha_bar) / alpha_bar).clamp(max=1) if min_snr else torch.ones(8)
        (losses * weights.float()).mean().backward()
        norm = torch.cat([parameter.grad.flatten() for parameter in network.parameters()]).norm()
        for parameter in network.parameters():
            parameter.grad *= min(1.0, clip / norm) if clip else 1.0
        stepper.step()
        rates.step()
        # AveragedModel takes the first weights as they are.
        decay = min(ema_decay, (1 + step) / (10 + step)) if step and ema_decay else 0.0
        for name, tensor in network.state_dict().items():
            average[name] = decay * average[name] + (1 - decay) * tensor
    for name, expected in average.items():
        if found[name].is_floating_point():
            assert torch.allclose(found[name], expected, rtol=1e-3, atol=1e-5), name


def test_times_are_not_rounded(tmp_path, monkeypatch):
    """bfloat16 has room for 128 numbers between 1/2 and 1, fewer than there are steps."""
    seen = []

    class Spy(ContextUNet):
        def forward(self, x, time, labels):
            seen.append(time)
            return super().forward(x, time, labels)

    monkeypatch.setattr(diffusion, "build", lambda name: Spy(8))
    monkeypatch.setattr(diffusion, "fabric_for", lambda _: Fabric(accelerator="cpu", devices=1, precision="bf16-mixed"))
    train(tmp_path / "run", recipe(steps=2, evaluations=1, batch=8, diffusion_steps=1000))
    times = torch.cat(seen)
    assert times.dtype == torch.float32
    assert (1000 * times - (1000 * times).round()).abs().max() < 1e-3


class OnePictureEach(nn.Module):
    """Knows one picture of each digit, and how much of it and of x is noise at a time: it learns in a second."""

    inputs = Inputs(3, 28)

    def __init__(self) -> None:
        super().__init__()
        self.pictures = nn.Embedding(10, 3 * 28 * 28)
        self.shares = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 2))

    def forward(self, x, time, labels):
        pictures = self.pictures(labels.clamp(0)).reshape(x.shape) * (labels >= 0)[:, None, None, None]
        of_x, of_picture = self.shares(time[:, None])[:, :, None, None, None].unbind(1)
        return of_x * x - of_picture * pictures


def test_it_learns(tmp_path, monkeypatch):
    """From noise to the patterns: digits asked for are drawn in the pattern of their class."""
    monkeypatch.setattr(diffusion, "build", lambda name: OnePictureEach())
    images = Synthetic({"train": 500, "val": 30, "test": 30})
    settings = recipe(steps=300, batch=32, evaluations=1, ema_decay=0.9, learning_rate=3e-2)
    folder = train(tmp_path / "run", settings, images)
    network = OnePictureEach()
    network.load_state_dict(load_file(folder.weights))
    way = SamplerSettings(steps=10, guidance_weight=1.0)
    drawn, labels = sample(Denoiser.from_recipe(settings, network), way, seed=5, count=50)
    data = images.load("mnistm", "train")
    real, real_labels = torch.tensor(data.images).float(), torch.tensor(data.labels)
    means = torch.stack([real[real_labels == digit].mean(0) for digit in range(10)])
    nearest = torch.cdist(drawn.float().flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == labels).float().mean() > 0.9, "chance is 0.1"


def test_what_the_card_holds(tmp_path):
    card = train(tmp_path / "run", recipe(steps=40, evaluations=4)).card
    assert [step for step, _ in card["losses"]] == [10, 20, 30, 40]
    assert card["curve"] == [{"step": step, "accuracy": 50.0} for step in (10, 20, 30, 40)]
    assert (card["images"], card["origin"]) == ("patterns", "stand-in")
    assert result_of(RunFolder(tmp_path / "run", card["settings"])) == "step 40, accuracy 50.0"


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_stopped_between_two_steps_it_ends_bit_for_bit_the_same(tmp_path, ema_decay):
    settings = recipe(steps=4, evaluations=4, ema_decay=ema_decay)
    whole = train(tmp_path / "whole", settings)
    for step in (1, 2, 3):
        broken = RunFolder(tmp_path / str(step), {})
        stopped(functools.partial(diffusion.train, settings, IMAGES, broken, "cpu"), step)
        train(broken.path, settings)
        assert broken.weights.read_bytes() == whole.weights.read_bytes()
        assert broken.history() == whole.history()


def test_learning_rates():
    def at(rates, *steps):
        found = recipe(steps=100, rates=rates, learning_rate=2.0)
        return [found.learning_rate_at(step) for step in steps]

    assert at("constant", 0, 99) == [2, 2]
    assert at("falling", 0, 50, 75) == pytest.approx([2, 1, 0.5])
    assert at("one-cycle", 0, 30, 65) == pytest.approx([0.08, 2, 1])


class Watched(ContextUNet):
    """Remembers the labels that it reads, and the sizes of images."""

    def __init__(self) -> None:
        super().__init__(16)
        self.seen: list[torch.Tensor] = []
        self.sizes: list[int] = []

    def forward(self, x, time, labels):
        self.seen.append(labels)
        self.sizes.append(x.shape[-1])
        return super().forward(x, time, labels)


def test_faces_are_learned_without_labels(tmp_path, monkeypatch):
    network = Watched()
    monkeypatch.setattr(diffusion, "build", lambda name: network)
    short = {"batch": 8, "steps": 3, "evaluations": 1, "size": 16, "ema_decay": 0.0}
    settings = Recipe.choose("face-pyramid", "ours", 0, "smoke", short)
    folder = train(tmp_path / "run", settings)
    assert (torch.cat(network.seen) == -1).all()
    assert len(network.seen) == 3
    denoiser = Denoiser.from_recipe(settings, network)
    assert (denoiser.classes, denoiser.guidable) == (0, False)
    assert folder.card["curve"] == [{"step": 3, "accuracy": 50.0}]


def test_the_first_steps_are_of_small_images(tmp_path, monkeypatch):
    network = Watched()
    monkeypatch.setattr(diffusion, "build", lambda name: network)
    train(tmp_path / "run", recipe(steps=4, evaluations=1, early=0.75))
    assert network.sizes == [16, 16, 16, 28]
    assert {recipe(steps=7, early=0.0).size_at(step) for step in range(7)} == {28}


def test_the_first_steps_are_of_means_of_noisy_pixels(tmp_path, monkeypatch):
    """A quarter of the noise at a quarter of the size, where images are 0."""
    seen = []

    class Spy(Watched):
        def forward(self, x, time, labels):
            seen.append((x.shape[-1], float(x.std())))
            return super().forward(x, time, labels)

    monkeypatch.setattr(diffusion, "build", lambda name: Spy())
    monkeypatch.setattr(diffusion, "prepare", lambda x, *_: torch.zeros(len(x), 3, 64, 64))
    monkeypatch.setattr(diffusion, "noised", lambda x, noise, *_: x + noise)
    short = {"batch": 16, "steps": 4, "evaluations": 1, "coarse": [0.5, 0.25], "ema_decay": 0.0}
    settings = Recipe.choose("face-pyramid", "ours", 0, "smoke", short)
    train(tmp_path / "run", settings, Portraits({"train": 20, "val": 2}))
    assert [size for size, _ in seen] == [16, 16, 32, 64]
    assert [std for _, std in seen] == pytest.approx([0.25, 0.25, 0.5, 1], rel=0.05)


def test_steps_as_noisy_as_those_of_the_cosine_schedule():
    torch.manual_seed(0)
    schedule = karras(1000)
    steps = cosine_steps(20_000, schedule, torch.device("cpu"))
    assert int(steps.min()) >= 1
    assert int(steps.max()) <= 1000
    ratio = (1 / schedule.alpha_bar[steps] - 1).sqrt()
    shares = torch.tensor([0.25, 0.5, 0.75])
    assert torch.allclose(ratio.quantile(shares.double()), (torch.pi / 2 * shares).tan().double(), rtol=0.05)


def test_guided_images_are_scored_at_the_end_alone(tmp_path):
    card = train(tmp_path / "run", recipe(steps=40, evaluations=4, guided=True)).card
    assert card["curve"] == [{"step": 40, "accuracy": 50.0}]


def test_faces_without_a_val_split_are_refused_before_they_are_trained_on(tmp_path):
    settings = Recipe.choose("face-pyramid", "ours", 0, "smoke", {"size": 16})
    with pytest.raises(UserError, match="face: has no val split"):
        train(tmp_path / "run", settings, Portraits({"train": 40}))
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_guided_digits_are_scored_two_of_each():
    with pytest.raises(UserError, match=r"scored = 19: .*give at least 20"):
        recipe(guided=True, scored=19)
    assert recipe(guided=False, scored=19).scored == 19
    for network in recipe_module.OF_DIGITS:
        assert Recipe.choose(network, "study", 0, "smoke").scored >= 20


def test_a_state_of_other_parts_is_refused(tmp_path):
    settings = recipe(steps=4, evaluations=4, ema_decay=0.9)
    broken = RunFolder(tmp_path / "run", {})
    stopped(functools.partial(diffusion.train, settings, IMAGES, broken, "cpu"), 2)
    state = torch.load(broken.path / "state.pt", weights_only=True)
    del state["average"]
    torch.save(state, broken.path / "state.pt")
    with pytest.raises(UserError, match=r"its state\.pt is of older code; remove the folder"):
        train(broken.path, settings)


def test_the_real_quality_of_faces(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    network = ContextUNet(16)
    network.inputs = Inputs(3, 64)
    denoiser = Denoiser(network, cosine(10), 16, guidable=False, classes=0)
    found = scores.quality(denoiser, Portraits({"train": 30, "val": 20}), "face", 4, UNGUIDED)
    assert set(found) == set(scores.OF_FACES)
    assert found["sliced_wasserstein"] > 10


@pytest.mark.parametrize(
    ("network", "key", "value", "what"),
    [
        ("face-pyramid", "domain", "mnistm", "domain = 'mnistm'.*face-pyramid and no other denoiser learns from face"),
        ("context-unet", "domain", "face", "domain = 'face'.*face-pyramid and no other denoiser learns from face"),
        ("face-pyramid", "label_dropout", 0.1, "label_dropout = 0.1.*face has no labels; give 0"),
    ],
)
def test_faces_are_for_their_own_network(network, key, value, what):
    with pytest.raises(UserError, match=what):
        Recipe.choose(network, "ours", 0, "smoke", {key: value})


def test_every_recipe_resolves():
    digits = itertools.product(recipe_module.OF_DIGITS, ("as-reported", "ours", "full"), paths.PRESETS)
    faces = itertools.product(recipe_module.OF_FACES, ("ours", "full"), paths.PRESETS)
    for network, name, preset in (*digits, *faces):
        found = Recipe.choose(network, name, 1, preset)
        assert (found.network, found.recipe) == (network, name)
        assert (preset == "smoke") == (found.steps < 10)
        in_full = Recipe.choose(network, name, 1, "paper")
        assert (found.ema_decay > 0) == (in_full.ema_decay > 0), "a short run differs in length alone"


def test_what_the_source_reports_state():
    found = {network: Recipe.choose(network, "as-reported", 0, "paper") for network in recipe_module.OF_DIGITS}
    stated = {
        "unet-two-level": ("cosine", 1000, "mse", 32, 2e-5, 0.995),
        "unet-three-level": ("linear", 400, "smooth-l1", 16, 1e-4, 0.0),
        "unet-wide-bottleneck": ("linear", 1000, "mse", 128, 3e-3, 0.995),
        "context-unet": ("linear", 400, "mse", 256, 1e-4, 0.0),
    }
    keys = ("schedule", "diffusion_steps", "loss", "batch", "learning_rate", "ema_decay")
    for network, expected in stated.items():
        assert tuple(getattr(found[network], key) for key in keys) == expected
    for network, epochs in (("context-unet", 25), ("unet-three-level", 39)):
        longer = Recipe.choose(network, "as-reported-long", 0, "paper")
        assert longer.steps * longer.batch / 53_100 == pytest.approx(epochs, abs=0.1)
        assert longer == found[network].model_copy(update={"recipe": "as-reported-long", "steps": longer.steps})


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"diffusion_steps": 9}, "diffusion_steps = 9"),
        ({"size": 30}, "size = 30: .*multiple of 4"),
        ({"schedule": "sigmoid"}, "schedule = 'sigmoid'"),
        ({"label_dropout": 1.5}, "label_dropout = 1.5"),
        ({"prediction": "velocity"}, "min_snr = 2: .*give 0 with the velocity"),
        ({"label_dropout": 0.0, "guided": True}, "guided = True: .*label_dropout is 0"),
        ({"diffusion_steps": 19, "guided": True}, "drawn_steps = 20: .*scored images take 20 steps"),
        ({"drawn_steps": 30}, "drawn_steps = 30: .*only guided images are drawn in other steps"),
    ],
)
def test_bad_settings(settings, what):
    with pytest.raises(UserError, match=what):
        recipe(**settings)


def test_how_scored_images_are_drawn():
    usual, all_steps = recipe(guided=True), recipe(guided=True, drawn_steps=100, diffusion_steps=100)
    assert (recipe().scored_as, usual.scored_as) == (UNGUIDED, GUIDED)
    assert all_steps.scored_as.calls(100) == 200
    assert "drawn_steps" not in usual.model_dump(), "runs from before the key keep their names"
    assert all_steps.model_dump()["drawn_steps"] == 100


def test_images_are_scored_as_the_recipe_says(tmp_path, monkeypatch):
    ways = []
    monkeypatch.setattr(scores, "quality", lambda denoiser, *rest: ways.append(rest[-1]) or scored(denoiser))
    train(tmp_path / "usual", recipe())
    train(tmp_path / "guided", recipe(guided=True, scored=20, drawn_steps=30))
    assert ways == [UNGUIDED, UNGUIDED, replace(GUIDED, steps=30)], "guided images after the last step alone"
