"""Images from a denoiser: seeded one by one, by every sampler, and what is refused."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from hw2lib.classifier.scores import digit_scores, grader
from hw2lib.diffusion import sample as drawing
from hw2lib.diffusion import scores
from hw2lib.diffusion.networks.context_unet import ContextUNet
from hw2lib.diffusion.recipe import GUIDED, UNGUIDED
from hw2lib.diffusion.sample import BATCH, Denoiser, draw_images, sample
from hw2lib.diffusion.samplers import SAMPLERS, SamplerSettings
from hw2lib.diffusion.schedule import cosine
from hw2lib.errors import UserError

SCHEDULE = cosine(20)
SETTINGS = {
    "ddpm": SamplerSettings("ddpm", 5),
    "ddim": SamplerSettings("ddim", 5, eta=0.5, guidance_weight=1.0),
    "dpm-solver": SamplerSettings("dpm-solver", 5),
}


@pytest.fixture(scope="module")
def denoiser():
    torch.manual_seed(0)
    return Denoiser(ContextUNet(8), SCHEDULE)


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_image_does_not_depend_on_the_others(denoiser, name):
    whole = draw_images(denoiser, SETTINGS[name], 7, range(4), torch.tensor([1, 1, 2, -1]))
    alone = draw_images(denoiser, SETTINGS[name], 7, [2], torch.tensor([2]))
    assert torch.allclose(whole[2:3], alone, atol=1e-3)
    assert (whole[0] - whole[1]).abs().max() > 0.1
    other = draw_images(denoiser, SETTINGS[name], 8, [2], torch.tensor([2]))
    assert (alone - other).abs().max() > 0.1


@pytest.mark.parametrize("fast", [True, False])
def test_mixed_precision_is_used_where_it_is_asked_for_and_fast(denoiser, monkeypatch, fast):
    monkeypatch.setattr(drawing, "bf16_is_fast", lambda device: fast)
    exact, mixed = (
        draw_images(denoiser, SETTINGS["dpm-solver"], 7, [0, 1], torch.tensor([1, 2]), mixed) for mixed in (False, True)
    )
    assert mixed.dtype == torch.float32
    difference = (exact - mixed).abs().mean()
    assert 0 < difference < 0.03 if fast else difference == 0


def test_digits_take_turns_and_share_their_noise(denoiser, monkeypatch):
    calls = []

    def recorded(*arguments):
        calls.append((list(arguments[3]), arguments[4].tolist()))
        return draw_images(*arguments)

    monkeypatch.setattr(drawing, "draw_images", recorded)
    images, labels = sample(denoiser, SamplerSettings(steps=1), 0, BATCH + 3)
    assert images.shape == (BATCH + 3, 3, 28, 28)
    assert images.dtype == torch.uint8
    assert labels.tolist() == [i % 10 for i in range(BATCH + 3)]
    assert [len(numbers) for numbers, _ in calls] == [BATCH, 3]
    assert calls[0][0] == [i // 10 for i in range(BATCH)]
    assert calls[1] == ([5, 5, 5], [0, 1, 2])


def test_images_drawn_larger_are_scaled(denoiser):
    images, _ = sample(replace(denoiser, size=32), SamplerSettings(steps=1), 0, 2)
    assert images.shape == (2, 3, 28, 28)


def test_states_on_the_way(denoiser):
    states = draw_images(denoiser, SamplerSettings(steps=None), 0, [0], torch.tensor([0]), return_intermediates=True)
    assert len(states) == 21
    assert states[-1].abs().max() <= 1, "clipped"


def test_quality_of_a_network_that_knows_nothing(denoiser):
    found = scores.quality(replace(denoiser, schedule=cosine(10)), None, "mnistm", 20, UNGUIDED)
    assert 0 <= found["accuracy"] <= 40
    assert found["frechet"] > 10


@pytest.mark.parametrize(("way", "columns"), [(UNGUIDED, set()), (GUIDED, {"diversity"})])
def test_quality_is_that_of_images_drawn_as_asked(denoiser, way, columns):
    way = replace(way, steps=2)
    images, labels = sample(denoiser, way, 0, 20, mixed=True)
    found = scores.quality(denoiser, None, "mnistm", 20, way)
    assert set(found) == {"accuracy", "frechet", *columns}
    assert found["frechet"] == pytest.approx(digit_scores(images, labels, grader())["frechet"], rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"sampler": "euler"}, "unknown sampler 'euler': choose one of ddpm, ddim, dpm-solver"),
        ({"steps": 0}, "0 steps: give at least 1"),
        ({"guidance_weight": -0.5}, "guidance weight -0.5: give 0 or more"),
        ({"guidance_weight": float("inf")}, "guidance weight inf"),
        ({"sampler": "ddim", "eta": 1.5}, "eta 1.5: give 0 to 1"),
        ({"sampler": "ddpm", "eta": 0.5}, "eta 0.5: ddpm has none; choose ddim or dpm-solver"),
        ({"spacing": "even"}, "unknown spacing 'even'"),
        ({"guidance_weight": 1.0, "guidance_interval": (0.5, 0.5)}, "interval 0.5 to 0.5: give two shares of T from 0"),
        ({"guidance_weight": 1.0, "guidance_interval": (-0.1, 0.5)}, "guidance interval -0.1 to 0.5: give"),
        ({"guidance_weight": 1.0, "guidance_interval": (0.5, 1.1)}, "guidance interval 0.5 to 1.1: give"),
        ({"guidance_weight": 1.0, "guidance_interval": (float("nan"), 1.0)}, "guidance interval nan to 1: give"),
        ({"guidance_interval": (0.2, 0.8)}, "interval 0.2 to 0.8 of the guidance weight 0: give a weight"),
    ],
)
def test_bad_settings(settings, what):
    with pytest.raises(UserError, match=what):
        SamplerSettings(**settings)


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (torch.tensor([10]), "label 10: give 0 to 9, or -1 for none"),
        (torch.tensor([-2]), "label -2"),
        (torch.tensor([1.0]), "labels of 1 images have to be as many integers"),
        (torch.tensor([1, 2]), "labels of 1 images"),
    ],
)
def test_bad_labels(denoiser, labels, what):
    with pytest.raises(UserError, match=what):
        draw_images(denoiser, SamplerSettings(steps=1), 0, [0], labels)


def test_more_steps_than_there_are(denoiser):
    with pytest.raises(UserError, match="21 steps: give 1 to 20"):
        draw_images(denoiser, SamplerSettings(steps=21), 0, [0], torch.tensor([0]))


def test_guidance_of_a_network_that_learned_no_image_without_its_label(denoiser):
    settings = SamplerSettings(steps=1, guidance_weight=0.5)
    with pytest.raises(UserError, match=r"weight 0\.5: the network learned no image without its label; give 0"):
        draw_images(replace(denoiser, guidable=False), settings, 0, [0], torch.tensor([0]))


def test_a_way_in_words():
    way = SamplerSettings("ddim", 10, 2.0, eta=1.0)
    assert (way.title, way.guided) == ("10 steps of DDIM, η = 1, w = 2", "all")
    limited = replace(way, guidance_interval=(0.25, 0.85))
    assert (limited.title, limited.guided) == (f"{way.title} at t/T of 0.25 to 0.85", "0.25 to 0.85")
    assert replace(way, guidance_weight=0.0).guided == "none"


def test_the_default_without_guidance_has_no_interval():
    usual = drawing.default_settings("context-unet-64")
    assert usual.guidance_interval != (0.0, 1.0)
    assert usual.calls(1000) <= 16
    assert drawing.default_settings("context-unet-64", guidance_weight=0.0).guidance_interval == (0.0, 1.0)
    assert drawing.default_settings("context-unet-64", sampler="ddpm").guidance_interval == usual.guidance_interval


def test_drawing_loads_neither_training_nor_other_families():
    code = "import sys, hw2lib.diffusion.sample; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    others = ("hw2lib.diffusion.train", "hw2lib.classifier", "hw2lib.gan", "hw2lib.adaptation", "pandas")
    assert "hw2lib.diffusion.sample" in loaded
    assert not [name for name in loaded if name.startswith(others)]
