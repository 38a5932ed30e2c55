"""Two processes train what one does: gradients, weights, logs; and how they begin, stop, fail and end."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from synthetic import Portraits, Synthetic, recipe
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from hw2lib import networks, runs
from hw2lib.data import FACES
from hw2lib.diffusion import scores
from hw2lib.errors import UserError
from hw2lib.gan import train as gan
from hw2lib.gan.networks import GAN, Generator
from hw2lib.training import devices, parallel
from hw2lib.training.run_folder import RunFolder
from hw2lib.training.steps import Stopped

PAIR = {"pairs": ["mnistm-usps"]}
DANN = PAIR | {"methods": ["dann"]}
# A kind of training to its network, what chooses its recipe, and settings.
KINDS = {
    "bce": ("dcgan", {}, ["flip=true", 'augment=["colour","translation","cutout"]']),
    "bce, gradient penalty": ("dcgan", {}, ["gradient_penalty=10"]),
    "wgan-gp": ("wgan-gp-sn", {}, ["critic_steps=2"]),
    "hinge": ("sagan", {}, []),
    "acgan": ("acgan", {}, ["fake_class_weight=0.5"]),
    "diffusion": ("context-unet-64", {}, ["min_snr=5"]),
    "diffusion, no labels": ("face-pyramid", {}, []),
    "dann": ("dann-compact", DANN, ['augment_source={"backgrounds":0.5,"neighbours":0.5}']),
    "source-only": ("dann-wide", PAIR | {"methods": ["source-only"]}, []),
    "improved": ("uda-cnn", PAIR, ["equal_shares=true", "ramp=[0,1]", "confidence=0.105", "confidence_last=0.105"]),
    "classifier": ("digit-classifier", {}, []),
}
SENSITIVE = ("bce, gradient penalty", "acgan")  # a change of 1e-6 grows by a thousand in one step, also in one process


def small(name: str) -> GAN:
    """A GAN whose generator of faces is small."""
    whole = networks.build(name)
    if whole.classes:
        return whole
    layers = nn.ConvTranspose2d(whole.latent, 8, 16), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 4)
    return GAN(Generator(*layers, nn.Tanh()), whole.discriminator, whole.latent, whole.inputs)


def train_all(home: Path, report) -> None:
    """Train each kind in float32 and keep the gradients of every update; of two processes the first stops in between.

    Adam's eps is large: a gradient of nearly 0 is a matter of rounding, and with its own eps the update is not small.
    """
    patch = pytest.MonkeyPatch()
    patch.setattr(devices, "bf16_is_fast", lambda device: False)
    patch.setattr(gan, "build", small)
    patch.setattr(gan, "with_standing_statistics", lambda gan, generator, batch: generator)
    patch.setattr(gan, "mark_scores", lambda *_: {})
    patch.setattr(scores, "quality", lambda *_: {})
    torch.set_num_threads(1)
    gradients = []

    def keep(optimiser, *_) -> None:
        weights = [weight for group in optimiser.param_groups for weight in group["params"]]
        gradients.append(torch.cat([weight.grad.flatten() for weight in weights if weight.grad is not None]))
        for group in optimiser.param_groups:
            group["eps"] = 0.1

    def stop(n: int) -> None:
        if not parallel.rank() and n == 1:
            raise Stopped

    kept = register_optimizer_step_pre_hook(keep)
    for kind, (network, choice, settings) in KINDS.items():
        short = [f"steps={1 if kind in SENSITIVE else 2}", "evaluations=1", "batch=4"]
        (one,) = runs.recipes_for([network], ["ours"], [0], "smoke", settings=[*short, *settings], **choice)
        images = Portraits() if one.domains == (FACES,) else Synthetic()
        train = partial(networks.training_of(network), one, images, RunFolder(home / kind, {}), "cpu")
        for on_step in (stop, report) if parallel.count() > 1 else (report,):
            try:
                train(on_step)
            except Stopped:
                assert on_step is stop or parallel.rank()
        torch.save(gradients, home / f"{kind}-{parallel.rank()}.pt")
        gradients.clear()
    kept.remove()
    patch.undo()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """The folders of one process and of two."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    train_all(one, lambda n: None)
    parallel.on_devices(2, partial(train_all, two), lambda n: None)
    return one, two


@pytest.mark.slow
@pytest.mark.timeout(600)  # the first begins two processes, which load torch
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_what_one_does(trained, kind):
    one, two = trained
    ours, first, second = (torch.load(folder / f"{kind}-{i}.pt") for folder, i in ((one, 0), (two, 0), (two, 1)))
    for whole, mine, others in zip(ours, first, second, strict=True):
        assert (whole - mine).abs().max() <= 1e-5 * whole.abs().max()
        assert torch.equal(mine, others)
    logs, cards = ([RunFolder(folder / kind, {}) for folder in trained] for _ in range(2))
    ours, theirs = (folder.history() for folder in logs)
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    assert all(line == pytest.approx(other, abs=2e-4) for line, other in zip(ours, theirs, strict=True))
    if kind == "improved":
        assert theirs[-1]["kept"] > 0
    assert [folder.card["devices"] for folder in cards] == [1, 2]
    ours, theirs = (load_file(folder.weights) for folder in cards)
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-5, atol=1e-5)
    assert not (two / kind / "state.pt").exists()


# How they begin, stop, fail and end


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    monkeypatch.delenv("HW2_DATA", raising=False)


def sleep(report) -> None:
    time.sleep(300)


def test_an_interrupt_ends_all_processes():
    def report(n: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parallel.on_devices(2, sleep, report)
    assert not multiprocessing.active_children()


def refuse(report) -> None:
    if parallel.rank() == 1:
        raise UserError("so it is")
    time.sleep(300)


@pytest.mark.slow
def test_an_error_of_one_process_is_that_of_the_call_and_the_others_end():
    with pytest.raises(UserError, match=r"^so it is$"):
        parallel.on_devices(2, refuse, lambda n: None)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_process_is_killed_and_another_number_of_devices_goes_on(place, tmp_path):
    settings = recipe(steps=60, evaluations=6, batch=8)
    run = runs.run_folder(settings, "smoke", runs.data.source("smoke"))

    def kill() -> None:
        while not run.progress()[0]:
            time.sleep(0.01)
        os.kill(max(child.pid for child in multiprocessing.active_children()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(UserError, match="a process was killed, perhaps for want of memory; the same command goes on"):
        runs.train([(settings, run)], "smoke", "", "cpu", 1, devices=2)
    killer.join()
    assert not multiprocessing.active_children()
    step, _ = run.progress()
    assert 0 < step < 60
    runs.train([(settings, run)], "smoke", "", "cpu", 1)
    assert run.card["devices"] == 1
    assert [line["step"] for line in run.history()] == [10, 20, 30, 40, 50, 60]
    alone = RunFolder(tmp_path / "alone", {})
    networks.training_of("dann-compact")(settings, runs.data.source("smoke"), alone, "cpu", lambda n: None)
    first, expected = run.history()[0], alone.history()[0]
    assert first["label_loss"] == pytest.approx(expected["label_loss"], abs=0.1)  # it may be computed in bfloat16


@pytest.mark.slow
def test_torchrun_starts_the_processes_too(place, tmp_path):
    arguments = ["-m", "hw2lib", "train", "acgan", "--preset", "smoke", "--device", "cpu"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launch, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (card,) = (tmp_path / "build").rglob("card.json")
    assert json.loads(card.read_text())["devices"] == 2
    assert done.stdout.count("\n") == 1
    assert str(card.parent) in done.stdout


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--set", "batch=9"], "acgan/ours/seed-0: batch = 9 cannot be divided evenly among 2 devices"),
        (["--jobs", "2"], "2 devices train one run at a time: leave --jobs out"),
        (["--device", "cuda"], "no CUDA device is available here"),
    ],
)
def test_what_several_devices_cannot_do_is_refused(place, hw2, monkeypatch, arguments, what):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    status, _, err = hw2("train", "acgan", "--preset", "smoke", "--devices", "2", *arguments)
    assert (status, err.count("\n")) == (2, 1)
    assert what in err


def test_of_gpus_there_have_to_be_as_many(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    parallel.check("cuda", 2, 1, [])
    with pytest.raises(UserError, match="--devices 3: they count from cuda:0, and 2 are here"):
        parallel.check("auto", 3, 1, [])
    with pytest.raises(UserError, match="--devices 2: they count from cuda:0, and 2 are here"):
        parallel.check("cuda:1", 2, 1, [])


def test_torchrun_says_how_many_devices_there_are(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    parallel.check("cpu", 1, 1, [recipe(batch=8)])
    with pytest.raises(UserError, match="torchrun says how many devices there are: leave --devices out"):
        parallel.check("cpu", 2, 1, [])
    with pytest.raises(UserError, match="batch = 9 cannot be divided evenly among 2 devices"):
        parallel.check("cpu", 1, 1, [recipe(batch=9)])
