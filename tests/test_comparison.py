"""GAN beside diffusion: one clock, the homework's limits, tables and the trade-off plot."""

import time
from types import SimpleNamespace

import pytest
import torch

from hw2lib import comparison
from hw2lib.comparison import Generator
from hw2lib.diffusion.sample import Denoiser, default_settings
from hw2lib.diffusion.samplers import SamplerSettings
from hw2lib.diffusion.schedule import cosine
from hw2lib.networks import build

ACGAN = Generator(None, build("acgan"))
DIGITS = Denoiser(build("context-unet-32"), cosine(1000))
GUIDED = Generator(None, DIGITS, default_settings("context-unet-32"))
FACES = Generator(None, Denoiser(build("context-unet-32"), cosine(1000), classes=0), SamplerSettings("ddim", 50))


def test_generators_draw_images_and_know_their_size():
    assert [one.family for one in (ACGAN, GUIDED)] == ["GAN", "diffusion"]
    assert [one.calls for one in (ACGAN, GUIDED, FACES)] == [1, 14, 50]
    assert ACGAN.parameters == 1_496_168, "the discriminator does not draw"
    for one in (ACGAN, Generator(None, DIGITS, SamplerSettings("ddim", 1))):
        images = one.draw(3)
        assert images.shape == (3, 3, 28, 28)
        assert images.dtype == torch.uint8


def test_the_clock_takes_the_median_of_rounds_behind_a_first_image(monkeypatch):
    now, drawn = 0.0, []

    def of(name: str, *durations: float):
        left = iter(durations)

        def draw(count: int) -> None:
            nonlocal now
            drawn.append((name, count))
            now += next(left)

        return SimpleNamespace(draw=draw)

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    generators = {"a": of("a", 99, 10, 90, 20), "b": of("b", 99, 3, 2, 1)}
    assert comparison.seconds_an_image(generators, count=10) == {"a": 2.0, "b": 0.2}
    assert drawn == [("a", 1), ("b", 1), *[("a", 10), ("b", 10)] * 3]


@pytest.mark.parametrize(
    ("generator", "seconds", "cell"),
    [
        (ACGAN, 0.6, "10 min, kept"),
        (ACGAN, 0.61, "10 min, exceeded"),
        (GUIDED, 0.61, "15 min, kept"),
        (FACES, 29.0, "5 min for 10, kept"),
        (FACES, 31.0, "5 min for 10, exceeded"),
    ],
)
def test_a_limit_is_kept_or_exceeded(generator, seconds, cell):
    (row,) = comparison.clock_table({"x": generator}, {"x": seconds}).to_dict("records")
    assert row["limit"] == cell
    values = comparison.headline({"x": generator}, {"x": []}, {"x": seconds})
    assert values["x_limit_kept"] == cell.endswith("kept")


def test_scores_stand_beside_those_of_real_images():
    generators = {"acgan": ACGAN, "context-unet-32": GUIDED}
    sets = {
        "acgan": [{"accuracy": 98.0, "frechet": 20.0, "diversity": 0.25}],
        "context-unet-32": [{"accuracy": 99.0, "frechet": 30.0}, {"accuracy": 100.0, "frechet": 50.0}],
    }
    seconds, real = {"acgan": 0.002, "context-unet-32": 0.05}, {"accuracy": 97.4, "frechet": 14.3}
    table = comparison.comparison_table("digits", generators, sets, seconds, real)
    assert table.to_numpy().tolist() == [
        ["acgan", "1,496,168", "1", "98.0", "20.0", "0.250", "2.00", "10 min, kept"],
        ["context-unet-32", "415,683", "14", "99.5 ± 0.7", "40.0 ± 14.1", "missing", "50.0", "15 min, kept"],
        ["real", "–", "–", "97.4", "14.3", "–", "–", "–"],
    ]
    values = comparison.headline(generators, sets, seconds)
    assert (values["context_unet_32_accuracy"], values["context_unet_32_slower"]) == (99.5, 25.0)
    assert "acgan_slower" not in values

    by_kind = {"digits": generators, "faces": {}}
    figure = comparison.trade_off(by_kind, sets, seconds, {"digits": real, "faces": {}})
    digits, faces = figure.axes
    marks = {text.get_text(): text.xy for text in digits.texts}
    assert marks == {"acgan, 98.0 %": (2.0, 20.0), "context-unet-32, 99.5 %": (50.0, 40.0)}
    assert digits.lines[-1].get_ydata() == [14.3, 14.3]
    assert [text.get_text() for text in figure.legends[0].texts] == ["GAN", "diffusion"]
    assert not faces.texts


def test_ways_differ_from_the_default_in_one_thing(monkeypatch):
    folders = [SimpleNamespace(settings={"network": name}, weights="") for name in ("acgan", "context-unet-32")]
    monkeypatch.setattr(comparison.gan, "load", lambda *_: ACGAN.network)
    monkeypatch.setattr(comparison.diffusion, "load", lambda *_: DIGITS)
    found = comparison.generators(folders, [0.0, 1.0], [20], SamplerSettings(), "cpu")
    assert found["faces"] == {}
    assert list(found["digits"]) == ["acgan", "context-unet-32", "w = 0", "w = 1", "20 steps"]
    assert [one.calls for one in found["digits"].values()] == [1, 14, 8, 14, 35]
