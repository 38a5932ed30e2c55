"""Training of a GAN: what a step does, that it learns, what it keeps, how it goes on."""

import functools

import pytest
import torch
import torch.nn.functional as F
from interrupted import stopped
from lightning_fabric import Fabric
from PIL import Image
from safetensors.torch import load_file
from synthetic import Portraits, Synthetic

from hw2lib import runs
from hw2lib.data.prepare import prepare
from hw2lib.errors import UserError
from hw2lib.gan import train as gan
from hw2lib.gan.recipe import Recipe
from hw2lib.gan.sample import read_strip
from hw2lib.gan.scores import OF_FACES
from hw2lib.networks import build, names
from hw2lib.training.cards import result_of
from hw2lib.training.run_folder import RunFolder

IMAGES = Synthetic({"train": 60, "val": 30, "test": 30})


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(gan, "mark_scores", lambda gan, images, domain, count: {"scored": count})


def quiet(_: int) -> None:
    """In place of a bar."""


def recipe(network: str = "acgan", seed: int = 0, **settings) -> Recipe:
    return Recipe.choose(network, "ours", seed, "smoke", {"steps": 6, "batch": 4, "evaluations": 2} | settings)


def train(path, settings: Recipe, images=IMAGES) -> RunFolder:
    folder = RunFolder(path, {})
    gan.train(settings, images, folder, "cpu", quiet)
    return folder


def plain_loop(settings: Recipe, images: Synthetic) -> torch.nn.Module:
    """The same training in plain torch: two networks, two optimisers, one loss after the other."""
    torch.manual_seed(settings.seed)
    net = build(settings.network).to(memory_format=torch.channels_last)
    both = net.generator, net.discriminator
    rates = settings.generator_rate, settings.discriminator_rate
    for_g, for_d = (torch.optim.Adam(n.parameters(), lr, settings.betas) for n, lr in zip(both, rates, strict=True))
    data = images.load(settings.domain, "train")
    size = settings.batch
    for step in range(settings.steps):
        torch.manual_seed(settings.seed * 1_000_003 + step + 1)
        for _ in range(settings.critic_steps):
            chosen = torch.randint(len(data), (size,))
            x = prepare(torch.tensor(data.images)[chosen], 3, net.inputs.size, "range")
            noise = torch.randn(size, net.latent)
            for_d.zero_grad()
            if settings.network == "acgan":
                labels, wanted = torch.tensor(data.labels)[chosen], torch.randint(10, (size,))
                fake = net.generator(noise, wanted)
                (real, of_real), (judged, of_fake) = net.discriminator(x), net.discriminator(fake.detach())
                auxiliary = F.cross_entropy(of_real, labels)
                auxiliary = auxiliary + settings.fake_class_weight * F.cross_entropy(of_fake, wanted)
            else:
                fake = net.generator(noise)
                real, judged, auxiliary = net.discriminator(x), net.discriminator(fake.detach()), 0.0
            loss = gan.discriminator_loss(settings.loss, real, judged, settings.label_smoothing) + auxiliary
            if settings.gradient_penalty:
                loss = loss + settings.gradient_penalty * gan.gradient_penalty(net.discriminator, x, fake)
            loss.backward()
            for_d.step()
        for_g.zero_grad()
        if settings.network == "acgan":
            judged, of_fake = net.discriminator(fake)
            class_loss = settings.class_weight * F.cross_entropy(of_fake, wanted)
            (gan.generator_loss(settings.loss, judged) + class_loss).backward()
        else:
            gan.generator_loss(settings.loss, net.discriminator(fake)).backward()
        for_g.step()
    return net


@pytest.mark.parametrize(
    ("network", "settings"),
    [
        ("acgan", {"label_smoothing": 0.1, "fake_class_weight": 0.5}),
        ("dcgan", {}),
        ("sagan", {}),
        ("wgan-gp-sn", {"critic_steps": 2, "steps": 2}),
    ],
)
def test_a_run_is_that_of_a_plain_loop(tmp_path, monkeypatch, network, settings):
    monkeypatch.setattr(gan, "fabric_for", lambda device: Fabric(accelerator="cpu", devices=1, precision="32-true"))
    same = {"steps": 3, "evaluations": 1, "flip": False, "ema_decay": 0.0}
    settings = recipe(network, seed=3, **same | settings)
    found = load_file(train(tmp_path / "run", settings).weights)
    expected = plain_loop(settings, IMAGES).generator.state_dict()
    assert found.keys() == expected.keys()
    torch.manual_seed(settings.seed)
    for name, start in build(network).generator.named_parameters():
        # Adam makes a whole step of a gradient that is rounding: that of a bias before a BatchNorm, and without
        # momentum of single weights too.
        if start.ndim > 1:
            assert (found[name] - expected[name]).norm() < 0.15 * (expected[name] - start).norm(), name


def test_the_moving_average_is_kept_with_statistics_of_its_own(tmp_path):
    kept = load_file(train(tmp_path / "average", recipe(ema_decay=0.9)).weights)
    raw = load_file(train(tmp_path / "raw", recipe(ema_decay=0.0)).weights)
    assert not torch.equal(kept["project.weight"], raw["project.weight"])
    for name, tensor in kept.items():
        if name.endswith("num_batches_tracked"):
            assert tensor == 16, "standing statistics, not those of training"


def test_it_learns(tmp_path):
    """From noise to the patterns: digits asked for are drawn in the pattern of their class."""
    settings = recipe(steps=250, batch=16, evaluations=1, ema_decay=0.9)
    images = Synthetic({"train": 500, "val": 30, "test": 30})
    folder = train(tmp_path / "run", settings, images)
    net = build("acgan")
    net.generator.load_state_dict(load_file(folder.weights))
    drawn, labels = gan.sample(net, net.generator, seed=5, count=200)
    data = images.load("mnistm", "train")
    real, real_labels = torch.tensor(data.images).float(), torch.tensor(data.labels)
    means = torch.stack([real[real_labels == digit].mean(0) for digit in range(10)])
    nearest = torch.cdist(drawn.float().flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == labels).float().mean() > 0.5, "chance is 0.1"


def test_what_the_card_and_the_folder_hold(tmp_path):
    folder = train(tmp_path / "run", recipe(steps=40, evaluations=4))
    card = folder.card
    assert [row[0] for row in card["losses"]] == [10, 20, 30, 40]
    assert all(len(row) == 1 + len(gan.LOGGED) for row in card["losses"])
    assert card["curve"] == [{"step": step, "scored": 20} for step in (10, 20, 30, 40)]
    assert (card["images"], card["origin"]) == ("patterns", "stand-in")
    for step in (10, 20, 30, 40):
        with Image.open(folder.path / "strip" / f"{step:06d}.png") as row:
            assert row.size == (28 * gan.STRIP, 28)
    assert not list(folder.path.rglob("*.partial"))
    assert result_of(folder) == "step 40, scored 20"


def test_the_discriminator_can_learn_by_sgd_and_behind_augmentation(tmp_path):
    losses = [
        train(tmp_path / str(i), recipe(**settings)).history()[0]["discriminator"]
        for i, settings in enumerate(
            [{}, {"discriminator_optimiser": "sgd"}, {"augment": ["colour", "translation", "cutout"]}, {"flip": True}]
        )
    ]
    assert len(set(losses)) == 4


def test_the_real_quality_of_faces(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    images = Portraits({"train": 30, "val": 20})
    folder = train(tmp_path / "run", recipe("gan-plain", steps=1, evaluations=1), images)
    (scores,) = folder.card["curve"]
    assert set(scores) == {"step", *OF_FACES}
    assert scores["sliced_wasserstein"] > 10
    assert scores["diversity"] < 0.05, "an untrained network without normalisation draws grey"


def test_a_diverged_run_stops_with_its_last_state(tmp_path):
    with pytest.raises(UserError, match="no state was saved before; lower the learning rate"):
        train(tmp_path / "run", recipe(generator_rate=1e30, discriminator_rate=1e30))
    assert not (tmp_path / "run/state.pt").exists()


# Bad input


@pytest.mark.parametrize(("network", "images"), [("dcgan", 25_398), ("acgan", 53_100)])
def test_what_a_source_report_states(network, images):
    found = Recipe.choose(network, "as-reported", 0, "paper")
    assert found.steps * found.batch / images == pytest.approx(500, abs=0.1), "epochs"
    assert (found.batch, found.generator_rate, found.discriminator_rate, found.betas) == (128, 2e-4, 2e-4, (0.5, 0.999))
    assert (found.class_weight, found.fake_class_weight, found.augment, found.ema_decay) == (1, 1, (), 0)


def test_the_acgans_are_trained_alike():
    linear, without = (Recipe.choose(network, "ours", 0, "paper") for network in ("acgan", "acgan-convolutional"))
    assert without.model_copy(update={"network": "acgan"}) == linear


def test_a_and_b_alike_differ_in_the_network_alone():
    a, b = (Recipe.choose(network, "alike", 0, "paper") for network in ("gan-plain", "dcgan"))
    assert a.model_copy(update={"network": "dcgan"}) == b


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"loss": "mse"}, "loss = 'mse': Input should be 'bce', 'hinge' or 'wasserstein'"),
        ({"betas": [0.5]}, "betas"),
        ({"betas": [2, 3]}, "betas.0 = 2"),
        ({"augment": ["blur"]}, "augment.0 = 'blur': Input should be 'colour', 'translation' or 'cutout'"),
        ({"domain": "svhn"}, "domain = 'svhn'"),
        ({"critic_steps": 0}, "critic_steps = 0"),
        ({"loss": "hinge"}, "wgan-gp-sn, sagan give scores, the others a probability, for which there is bce"),
        ({"domain": "face"}, "acgan, acgan-convolutional draw digits, the others draw faces"),
    ],
)
def test_settings_that_cannot_be(settings, what):
    with pytest.raises(UserError) as error:
        recipe("acgan", **settings)
    assert what in str(error.value)
    assert "\n" not in str(error.value)


def test_only_bce_has_labels_to_smooth():
    with pytest.raises(UserError, match=r"label_smoothing = 0\.1: .*only the loss bce has labels"):
        recipe("sagan", label_smoothing=0.1)


def test_a_score_needs_a_network_without_sigmoid():
    with pytest.raises(UserError, match="wgan-gp-sn, sagan give scores"):
        recipe("sagan", loss="bce")


@pytest.mark.parametrize("network", names("gan"))
def test_every_network_has_a_recipe_for_every_preset(network):
    found = [Recipe.choose(network, "ours", 1, preset) for preset in ("smoke", "quick", "paper")]
    assert found[0].steps < found[1].steps < found[2].steps
    assert found[2].title == f"{network}/ours/seed-1"


def test_pairs_and_methods_are_for_adaptation():
    with pytest.raises(UserError, match="dcgan: pairs and methods are for domain adaptation"):
        runs.recipes_for(["dcgan"], ["ours"], [0], "smoke", ["mnistm-usps"])


# Going on


@pytest.mark.parametrize("network", ["acgan", pytest.param("sagan", marks=pytest.mark.slow)])
def test_stopped_between_two_steps_it_ends_bit_for_bit_the_same(tmp_path, network):
    settings = recipe(network, steps=4, evaluations=4)
    whole = train(tmp_path / "whole", settings)
    for step in (1, 2, 3):
        broken = RunFolder(tmp_path / str(step), {})
        stopped(functools.partial(gan.train, settings, IMAGES, broken, "cpu"), step)
        assert broken.card is None
        train(broken.path, settings)
        assert broken.weights.read_bytes() == whole.weights.read_bytes()
        assert broken.history() == whole.history()
        for file in (whole.path / "strip").iterdir():
            assert (broken.path / "strip" / file.name).read_bytes() == file.read_bytes()


def test_what_a_kill_left_of_a_snapshot_is_not_read(tmp_path):
    settings = recipe(steps=4, evaluations=2)
    whole, broken = train(tmp_path / "whole", settings), RunFolder(tmp_path / "broken", {})
    stopped(functools.partial(gan.train, settings, IMAGES, broken, "cpu"), 3)
    for name in (".000004.safetensors.77.partial", "000004.safetensors.77.partial"):
        (broken.path / "snapshots" / name).write_bytes(b"half")
    (broken.path / "strip/.000004.png.77.partial").write_bytes(b"half")
    train(broken.path, settings)
    assert broken.card["curve"] == whole.card["curve"]
    assert list(read_strip(broken)) == [2, 4]
    assert not (broken.path / "snapshots").exists()
