"""``hw2 sample`` with a denoiser: the same images whatever else is asked for, by which sampler, and what it refuses."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from refusals import assert_refused
from torch import Tensor, nn

from hw2lib import paths
from hw2lib.data.image_folder import MARKER
from hw2lib.data.png import read_png
from hw2lib.data.prepare import to_uint8
from hw2lib.diffusion.networks import context_unet, unet
from hw2lib.diffusion.recipe import Recipe
from hw2lib.diffusion.sample import DEFAULT, Denoiser, DenoiserDrawer, draw_images, scaled
from hw2lib.diffusion.samplers import SAMPLERS, Sampler, SamplerSettings
from hw2lib.diffusion.schedule import SCHEDULES
from hw2lib.layers import Inputs
from hw2lib.networks import build
from hw2lib.weights import save as save_weights

NAME = "context-unet-128"
FEW = ("--steps", "3")


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(paths, "TRAINED", tmp_path / "trained")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(context_unet, "narrow", small)


class Small(nn.Module):
    """Draws greys around a colour of its own for each digit, where an untrained U-Net draws black and white alone."""

    inputs = Inputs(3, 28)

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.colours = nn.Embedding(unet.DIGITS + 1, 3)
        self.layers = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, x: Tensor, time: Tensor, labels: Tensor) -> Tensor:
        return x + self.layers(x) - 0.3 * self.colours(labels % (unet.DIGITS + 1))[:, :, None, None]


def small() -> Small:
    torch.manual_seed(0)
    return Small()


@pytest.fixture
def weights(tmp_path) -> Path:
    """Weights of the small network, alone in their folder."""
    (tmp_path / "home").mkdir()
    save_weights(small().state_dict(), tmp_path / "home/weights.safetensors")
    return tmp_path / "home/weights.safetensors"


@pytest.fixture
def sample(hw2, weights, tmp_path):
    """Runs ``hw2 sample`` into the folder `out`, with those weights if no others are named."""

    def run(*arguments: str, network: str = NAME, out: str = "out") -> tuple[int, str, str]:
        if "--weights" not in arguments:
            arguments = (*arguments, "--weights", str(weights))
        return hw2("sample", network, "--out", str(tmp_path / out), *arguments)

    return run


def card(weights: Path, network: str = NAME, **settings) -> None:
    """The card of a run beside its weights, as training writes it."""
    recipe = Recipe.choose(network, "ours", 0, "paper", settings).model_dump(
        mode="json",
    )
    text = json.dumps({"settings": recipe | {"data": {"mnistm": "0" * 64}, "code": "0" * 64}, "curve": []})
    (weights.parent / "card.json").write_text(text)


def images(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder)) if name[0] != "."}


def bound_to(folder: Path) -> dict:
    return json.loads((folder / MARKER).read_text())["settings"]


def assert_drawn(file: Path, settings: SamplerSettings, i: int, digit: int, schedule, size: int = 28, seed=0) -> None:
    """A file is image `i` of that digit, drawn in a batch of one."""
    alone = draw_images(Denoiser(small(), schedule, size), settings, seed, [i], torch.tensor([digit]))
    expected = to_uint8(scaled(alone, 28))[0].numpy().astype(int)
    assert np.abs(read_png(file, 28) - expected).mean() <= 1  # files are drawn in mixed precision, in full batches


def test_digits_are_numbered_and_seeded_and_share_their_noise(sample, tmp_path):
    status, out, err = sample(*FEW, "--count", "120", "--seed", "5")
    assert (status, out) == (0, f"120 images in {tmp_path / 'out'}\n")
    assert "120/120" in err, "a bar"
    assert list(images(tmp_path / "out")) == [f"{d}_{i:03d}.png" for d in range(10) for i in range(1, 13)]
    for digit, i in ((0, 0), (7, 9), (9, 11)):
        file = tmp_path / f"out/{digit}_{i + 1:03d}.png"
        assert_drawn(file, replace(DEFAULT, steps=3), i, digit, SCHEDULES["cosine"](1000), seed=5)


def test_by_default_a_hundred_of_each_digit(sample, tmp_path):
    assert sample("--steps", "1")[1] == f"1000 images in {tmp_path / 'out'}\n"
    assert list(images(tmp_path / "out")) == [f"{d}_{i:03d}.png" for d in range(10) for i in range(1, 101)]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_image_is_the_same_bit_for_bit_whatever_else_is_drawn(sample, tmp_path, sampler):
    way = ("--sampler", sampler, *FEW, "--guidance-weight", "0.5")
    sample(*way, "--count", "230", out="all")
    everything = images(tmp_path / "all")
    assert len(everything) == 230

    sample(*way, "--digit", "7", "--digit", "3", "--digit", "7", "--count", "26", out="some")
    some = images(tmp_path / "some")
    assert list(some) == [f"{d}_{i:03d}.png" for d in (3, 7) for i in range(1, 14)]
    assert some.items() <= everything.items()
    for name in ("3_001.png", "7_012.png"):
        (tmp_path / "some" / name).unlink()
    sample(*way, "--digit", "3", "--digit", "7", "--count", "26", out="some")
    assert images(tmp_path / "some") == some

    sample(*way, "--digit", "7", "--count", "1", out="one")
    assert images(tmp_path / "one").items() <= everything.items()


REAL = context_unet.narrow


@pytest.mark.parametrize("network", [NAME, "unet-two-level"])
def test_so_do_real_networks(sample, weights, tmp_path, monkeypatch, network):
    monkeypatch.setattr(context_unet, "narrow", REAL)
    torch.manual_seed(0)
    save_weights(build(network).state_dict(), weights)
    card(
        weights, network, schedule="linear", diffusion_steps=10, guided=False
    )  # little noise, so that images are no black and white
    way = ("--steps", "1", "--guidance-weight", "1", "--digit", "3", "--count")
    assert sample(*way, "12", network=network)[0] == 0
    assert sample(*way, "1", network=network, out="one")[0] == 0
    assert list(images(tmp_path / "one")) == ["3_001.png"]
    assert images(tmp_path / "one").items() <= images(tmp_path / "out").items()


def test_a_set_that_was_interrupted_is_completed(sample, tmp_path, monkeypatch):
    whole = DenoiserDrawer.draw

    def interrupted(self, seed, digit, first):
        if digit == 4:
            raise KeyboardInterrupt
        return whole(self, seed, digit, first)

    sample(*FEW, "--count", "20", out="whole")
    monkeypatch.setattr(DenoiserDrawer, "draw", interrupted)
    assert sample(*FEW, "--count", "20")[0] != 0
    assert len(images(tmp_path / "out")) == 8
    monkeypatch.setattr(DenoiserDrawer, "draw", whole)
    assert sample(*FEW, "--count", "20")[0] == 0
    assert images(tmp_path / "out") == images(tmp_path / "whole")


def test_the_sampler_its_steps_and_guidance_make_another_set(sample, tmp_path):
    one = ("--digit", "3", "--count", "1")
    sample(*one, *FEW)
    settings = bound_to(tmp_path / "out")
    expected = ("ddim", 3, DEFAULT.guidance_weight, list(DEFAULT.guidance_interval))
    assert tuple(settings[name] for name in ("sampler", "steps", "guidance_weight", "guidance_interval")) == expected
    sample(*one, *FEW)
    assert bound_to(tmp_path / "out") == settings, "the same again, as JSON has it"
    assert (settings["schedule"], settings["diffusion_steps"], settings["size"]) == ("cosine", 1000, 28)

    drawn = {images(tmp_path / "out")["3_001.png"]}
    for i, (way, difference) in enumerate(
        [
            (("--sampler", "dpm-solver", "--eta", "1", *FEW), "sampler is ddim there and dpm-solver here"),
            ((*FEW, "--eta", "0"), "eta is 1.0 there and 0.0 here"),
            (("--steps", "4"), "steps is 3 there and 4 here"),
            ((*FEW, "--guidance-weight", "3"), f"guidance_weight is {DEFAULT.guidance_weight} there and 3.0 here"),
            (
                (*FEW, "--guidance-interval", "0.5", "1"),
                f"guidance_interval is {list(DEFAULT.guidance_interval)} there and [0.5, 1.0] here",
            ),
        ]
    ):
        status, _, err = sample(*one, *way)
        assert status == 2
        assert f"holds images of other settings ({difference})" in err
        sample(*one, *way, out=f"other{i}")
        drawn.add(images(tmp_path / f"other{i}")["3_001.png"])
    assert len(drawn) == 6


def test_the_interval_is_that_of_the_line(sample, tmp_path):
    one = ("--digit", "3", "--count", "1", *FEW, "--guidance-interval", "0.5", "1")  # steps at t/T of 1, 2/3 and 1/3
    assert sample(*one)[0] == 0
    way = replace(DEFAULT, steps=3, guidance_interval=(0.5, 1.0))
    assert_drawn(tmp_path / "out/3_001.png", way, 0, 3, SCHEDULES["cosine"](1000))


def euler(schedule, grid, draw):
    """The deterministic DDIM, as Euler's method in the ratio of noise to signal."""
    alpha_bar = schedule.alpha_bar.tolist()
    ratio = [((1 - a) / a) ** 0.5 for a in alpha_bar]

    def rule(x, image, noise, t, s):
        return alpha_bar[s] ** 0.5 * (x / alpha_bar[t] ** 0.5 + (ratio[s] - ratio[t]) * noise)

    return rule


def test_a_new_sampler_is_one_function_and_one_line(sample, weights, tmp_path, monkeypatch):
    card(weights, schedule="linear", diffusion_steps=40)
    one = ("--digit", "3", "--count", "1", *FEW)
    assert_refused(sample(*one, "--sampler", "euler"), "unknown sampler 'euler': choose one of ddpm, ddim, dpm-solver")
    monkeypatch.setitem(SAMPLERS, "euler", Sampler(euler, "Euler"))
    assert sample(*one, "--sampler", "euler")[0] == 0
    assert sample(*one, "--eta", "0", out="ddim")[0] == 0
    drawn, expected = (read_png(tmp_path / name / "3_001.png", 28).astype(int) for name in ("out", "ddim"))
    assert np.abs(drawn - expected).mean() <= 1
    assert_refused(sample(*one, "--sampler", "euler", "--eta", "1", out="none"), "euler has none; choose ddim or dpm-s")
    assert SamplerSettings("euler", 3).title == "3 steps of Euler, w = 0"


def test_ddpm_takes_all_steps_if_it_is_not_told_how_many(sample, weights, tmp_path):
    card(weights, schedule="linear", diffusion_steps=15)
    one = ("--digit", "3", "--count", "1", "--sampler", "ddpm")
    assert sample(*one)[0] == 0
    assert sample(*one, "--steps", "15", out="told")[0] == 0
    assert images(tmp_path / "out") == images(tmp_path / "told")
    assert sample(*one, "--steps", "5", out="few")[0] == 0
    assert images(tmp_path / "out") != images(tmp_path / "few")


def test_schedule_steps_and_size_are_those_of_the_card_beside_the_weights(sample, weights, tmp_path):
    one = ("--digit", "3", "--count", "1")
    sample(*one, *FEW, out="ours")
    card(weights, schedule="linear", diffusion_steps=40, size=32)
    sample(*one, *FEW)
    assert_drawn(tmp_path / "out/3_001.png", replace(DEFAULT, steps=3), 0, 3, SCHEDULES["linear"](40), 32)
    assert images(tmp_path / "out") != images(tmp_path / "ours")

    status, _, err = sample(*one, *FEW, out="ours")
    assert status == 2
    assert "diffusion_steps is 1000 there and 40 here; schedule is cosine there and linear here; size is" in err
    status, _, err = sample(*one, "--steps", "41", out="new")
    assert status == 2
    assert err == "hw2: error: 41 steps: give 1 to 40, the number of steps that the network was trained for\n"
    assert not (tmp_path / "new").exists()


def test_weights_that_ship_are_the_default(hw2, weights, tmp_path):
    line = ("sample", NAME, "--out", str(tmp_path / "out"), "--digit", "3", "--count", "1", "--steps", "10")
    assert f"{NAME}/ours/seed-0: no run ships with weights" in hw2(*line)[2]
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in
              small().state_dict().items()}  # fmt: skip
    folder = tmp_path / f"trained/{NAME}/ours/seed-0-12345678"
    folder.mkdir(parents=True)
    save_weights(halves, folder / "weights.safetensors")
    card(folder / "weights.safetensors", diffusion_steps=10)
    assert hw2(*line)[0] == 0
    assert bound_to(tmp_path / "out")["diffusion_steps"] == 10


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--steps", "0"], "0 steps: give at least 1"),
        (["--steps", "-3"], "-3 steps: give at least 1"),
        (["--steps", "1001"], "1001 steps: give 1 to 1000, the number of steps that the network was trained for"),
        (["--guidance-weight", "-0.5"], "guidance weight -0.5: give 0 or more"),
        (["--guidance-weight", "nan"], "guidance weight nan: give 0 or more"),
        (
            ["--guidance-interval", "0.8", "0.3"],
            "guidance interval 0.8 to 0.3: give two shares of T from 0 to 1, the lower",
        ),
        (
            ["--guidance-interval", "0", "1.5"],
            "guidance interval 0 to 1.5: give two shares of T from 0 to 1, the lower",
        ),
        (
            ["--guidance-weight", "0", "--guidance-interval", "0.3", "0.8"],
            "guidance interval 0.3 to 0.8 of the guidance weight 0: give a weight above 0, or the interval 0 to 1",
        ),
        (["--sampler", "euler"], "unknown sampler 'euler': choose one of ddpm, ddim, dpm-solver"),
        (["--digit", "10"], "--digit 10: give 0 to 9"),
        (["--digit", "-1"], "--digit -1: give 0 to 9"),
        (["--count", "0"], "--count 0: give 1 to 1000000 images"),
        (["--count", "95"], "--count 95: in all, of 10 digits alike; give a multiple of 10"),
        (["--seed", "-1"], "--seed -1: give 0 to 4292"),
        (["--weights", "none"], "none: cannot be read: No such file or directory; give one of torch.save"),
        (["--weights", "others"], "others: weights of another network: "),
        (["--weights", __file__], "damaged, or no file of torch.save"),
        (["--weights", ""], "cannot be read: Is a directory; give one of torch.save"),
    ],
)
def test_bad_input_is_one_line_and_status_2_and_makes_nothing(sample, tmp_path, monkeypatch, arguments, what):
    save_weights(Small(4).state_dict(), tmp_path / "others")
    monkeypatch.chdir(tmp_path)
    assert_refused(sample(*arguments), what)
    assert not (tmp_path / "out").exists()


def test_what_learned_no_image_without_its_label_is_not_guided(sample, weights, tmp_path):
    card(weights, label_dropout=0.0)
    assert_refused(sample("--guidance-weight", "1"), "the network learned no image without its label; give 0")
    assert not (tmp_path / "out").exists()
    assert sample(*FEW, "--guidance-weight", "0", "--digit", "3", "--count", "1")[0] == 0


@pytest.mark.parametrize("network", ["dcgan", "acgan"])
@pytest.mark.parametrize(
    "arguments", [("--sampler", "ddim"), ("--steps", "20"), ("--guidance-weight", "0")], ids=lambda pair: pair[0]
)
def test_a_gan_takes_no_options_of_samplers(sample, tmp_path, network, arguments):
    what = f"{network} is no denoiser: leave the options of denoisers out, such as --sampler and --steps"
    assert_refused(sample(*arguments, network=network), what)
    assert not (tmp_path / "out").exists()


def test_files_of_others_are_never_written_over(sample, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    assert_refused(sample(*FEW, "--count", "10"), "holds other files, such as notes.txt; choose another folder, or add")
    assert os.listdir(tmp_path / "out") == ["notes.txt"]
    assert sample(*FEW, "--count", "10", "--overwrite")[0] == 0
    assert len(images(tmp_path / "out")) == 11


def test_weights_that_are_no_average_are_refused_where_one_is_asked_for(sample, weights, tmp_path):
    few = ("--ema", *FEW, "--count", "10")
    assert_refused(sample(*few), f"{weights}: no card.json beside it says whether this is a moving average; leave --em")
    card(weights, ema_decay=0.0)
    assert_refused(sample(*few), f"{weights}: no moving average, says the card.json beside it; leave --ema out")
    torch.save({"network": small().state_dict()}, weights.parent / "state.pt")
    card(weights)
    refusal = "state.pt: a file of torch.save, not known to be a moving average; leave --ema out"
    assert_refused(sample(*few, "--weights", str(weights.parent / "state.pt")), refusal)
    assert not (tmp_path / "out").exists()
    assert sample(*few)[0] == 0


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"settings": {"network": "acgan"}}', "weights of acgan, says the card.json beside it, not of context-unet-1"),
        ('{"settings": {"network": "context-unet-128"}}', "settings of its run: the key 'recipe' is missing"),
        ('{"settings": {}}', "card.json: not the card of a run; move the weights to where no such file is beside them"),
        ('{"settings": 3}', "card.json: not the card of a run"),
        ("{}", "card.json: not the card of a run"),
        ('{"settings":', "card.json: damaged"),
    ],
)
def test_a_card_of_something_else_is_refused(sample, weights, tmp_path, content, what):
    (weights.parent / "card.json").write_text(content)
    assert_refused(sample(*FEW), what)
    assert not (tmp_path / "out").exists()
