"""Trained denoisers: loaded as they were trained, and what the tables say of them."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch

from hw2lib.classifier import reference as digit_reference
from hw2lib.classifier.scores import grader
from hw2lib.diffusion import scores, tables
from hw2lib.diffusion.recipe import GUIDED, Recipe
from hw2lib.diffusion.sample import draw_images, load, reverse_states
from hw2lib.diffusion.samplers import SamplerSettings
from hw2lib.diffusion.tables import recipe_table
from hw2lib.errors import UserError
from hw2lib.files import write
from hw2lib.networks import build
from hw2lib.training.run_folder import RunFolder
from hw2lib.weights import save as save_weights


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A run of untrained weights; its card says what is asked for."""
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))  # where no results are kept from earlier tests

    def make(curve=(), **override) -> RunFolder:
        recipe = Recipe.choose("unet-two-level", "study", 0, "smoke", {"steps": 3} | override)
        settings = recipe.model_dump(mode="json") | {"data": {"mnistm": "x"}, "code": "y"}
        path = tmp_path / str(len(list(tmp_path.iterdir())))
        path.mkdir()
        torch.manual_seed(0)
        save_weights(build("unet-two-level").state_dict(), path / "weights.safetensors")
        card = {"settings": settings, "curve": list(curve), "seconds": 90.0, "commit": "0123456789", "dirty": True}
        card |= {"hardware": {"gpu": "some GPU", "cpu": "some CPU"}, "images": "digits", "precision": "32-true"}
        write(path / "card.json", json.dumps(card))
        return RunFolder(path, settings)

    return make


def test_a_run_is_loaded_with_its_schedule_and_size(finished):
    denoiser = load(finished(schedule="linear", diffusion_steps=30, size=32, label_dropout=0.0, guided=False))
    assert (denoiser.schedule.steps, denoiser.size, denoiser.guidable) == (30, 32, False)
    assert denoiser.schedule.beta[0] == pytest.approx(1e-4)
    torch.manual_seed(0)
    assert torch.equal(denoiser.network.last.weight, build("unet-two-level").last.weight)
    assert not denoiser.network.training


def test_the_way_to_a_digit_ends_in_the_digit(finished):
    denoiser = load(finished(diffusion_steps=50, size=28))
    way = SamplerSettings("ddim", 10)
    states = reverse_states(denoiser, way, seed=3, digit=7)
    assert list(states) == [50, 40, 30, 20, 10, 0]
    drawn = draw_images(denoiser, way, 3, [0], torch.tensor([7]))[0]
    assert torch.allclose(states[0], drawn, atol=1e-5)
    few = reverse_states(denoiser, SamplerSettings("ddim", 2), 3, 7)  # visits 50, 25 and 0
    assert list(few) == [50, 40, 30, 20, 10, 0]
    assert torch.equal(few[30], few[20])
    assert not torch.equal(few[40], few[20])


def test_what_cannot_be_drawn_or_scored_is_refused(finished):
    denoiser = load(finished(diffusion_steps=20))
    with pytest.raises(UserError, match="digit -1: give 0 to 9"):
        reverse_states(denoiser, SamplerSettings("ddim", 2), 3, -1)
    with pytest.raises(UserError, match="19 images a set: give at least 20"):
        scores.sweep(denoiser, [SamplerSettings("ddim", 1)], [0], 19, grader())


def test_a_sweep_has_a_row_for_each_way_and_seed(finished):
    denoiser = load(finished(diffusion_steps=20))
    ways = [SamplerSettings("ddim", 2), SamplerSettings("dpm-solver", None, guidance_weight=1.0)]
    calls = []
    denoiser.network.register_forward_hook(lambda *_: calls.append(1))
    frame = scores.sweep(denoiser, ways, [0, 1], 20, grader())
    assert len(calls) == 2 * (2 + 2 * 20), "with guidance two a step"
    assert list(zip(frame["sampler"], frame["steps"], frame["seed"], strict=True)) == [
        ("ddim", 2, 0), ("ddim", 2, 1), ("dpm-solver", 20, 0), ("dpm-solver", 20, 1),
    ]  # fmt: skip
    assert list(frame["calls"]) == [2, 2, 40, 40]
    assert list(frame["guided"]) == ["none", "none", "all", "all"]
    assert frame["accuracy"].between(0, 40).all(), "nothing was learned"


def test_samplers_are_compared_on_equal_sets(finished, monkeypatch):
    denoiser = load(finished(diffusion_steps=20))
    monkeypatch.setattr(scores, "set_row", lambda *_: {"accuracy": 50.0})
    ours = SamplerSettings("ddim", 1, guidance_weight=1.0, guidance_interval=(0.3, 0.8))
    frame = scores.compare_samplers(denoiser, ours, [1, 5], [0], 60, grader())
    assert list(zip(frame["way"], frame["steps"], frame["calls"], frame["images"], strict=True)) == [
        (way, steps, calls, 60)
        for way in ("DDPM", "DDIM", "DDIM, η = 1", "DPM-Solver++", "SDE-DPM-Solver++")
        for steps, calls in ((1, 1), (5, 8))  # of t/T of 1, 0.8, 0.6, 0.4 and 0.2
    ]
    assert tables.sampler_table(frame).set_index("steps").loc["5"].tolist() == ["8", *["50.0"] * 5]


SETS = pd.DataFrame(
    {
        "way": ["DDPM", "DDPM", "DPM-Solver++", "DPM-Solver++"], "steps": [5, 5, 5, 10], "accuracy": [10.0, 20, 90, 99],
        "frechet": [9.0, 9, 2, 1], "diversity": [0.3, 0.3, 0.2, 0.1],
        "guidance_weight": [0.0, 0.0, 2.0, 2.0], "guided": ["none", "none", "all", "0.2 to 0.8"], "images": 100,
        "calls": [5, 5, 10, 16],
    }
)  # fmt: skip


def test_the_tables():
    real = digit_reference.shipped()
    rows = tables.score_table(["context-unet", "unet-two-level"], {"unet-two-level": SETS[:2]}, real).set_index(
        "digits"
    )
    assert list(rows["accuracy, %"]) == ["missing", "15.0 ± 7.1", f"{real.accuracy:.1f}"]
    assert list(rows["parameters"]) == ["18,743,187", "5,885,123", "–"]
    assert list(rows["images"]) == ["–", "2 x 100", "–"]
    assert "calls" not in rows
    card = pd.DataFrame([{"accuracy": 98.2, "frechet": 24.0, "images": 1000, "calls": 1}])
    rows = tables.score_table(
        ["unet-two-level", "acgan"], {"unet-two-level": SETS[:2], "acgan": card}, real, calls=True
    )
    assert list(rows["calls"]) == ["5", "1", "–"]
    assert rows.set_index("digits").loc["acgan", "diversity"] == "–"
    rows = tables.guidance_table([SETS[:2], SETS[2:3], SETS[3:]])
    assert list(zip(rows["w"], rows["guided t/T"], rows["calls"], strict=True)) == [
        ("0", "none", "5"), ("2", "all", "10"), ("2", "0.2 to 0.8", "16"),
    ]  # fmt: skip
    assert list(rows["diversity"]) == ["0.300 ± 0.000", "0.200", "0.100"]
    rows = tables.sampler_table(SETS).set_index("steps")
    assert rows.loc["5", "DDPM"] == "15.0 ± 7.1"
    assert list(rows["DPM-Solver++"]) == ["90.0", "99.0"]
    assert rows.loc["10", "DDPM"] == "–", "not drawn in so many steps"
    assert tables.sampler_table(SETS, "frechet").set_index("steps").loc["5", "DDPM"] == "9 ± 0"


def test_without_weights_a_run_is_known_by_its_last_step(finished):
    last = {"step": 3, "accuracy": 90.0, "frechet": 8.0, "diversity": 0.2}
    folder = finished(curve=[{"step": 2, "accuracy": 1.0, "frechet": 9.0}, last], scored=70)
    folder.weights.unlink()
    frame = tables.at_the_end(folder, grader())
    (row,) = tables.score_table(["unet-two-level"], {"unet-two-level": frame}, None).to_dict("records")[:1]
    assert (row["accuracy, %"], row["Fréchet distance"], row["diversity"]) == ("90.0", "8.00", "0.200")
    assert row["images"] == "1 x 70"
    assert list(frame["calls"]) == [GUIDED.calls(1000)]
    assert tables.at_the_end(finished(curve=[last], guided=False), grader()).empty
    other = replace(grader(), accuracy=None)
    assert tables.at_the_end(folder, other).empty, "graded by another classifier"


def test_the_study_and_the_lengths_of_training(finished):
    runs = [
        finished(curve=[{"accuracy": 1.0, "frechet": 9.0}, {"accuracy": value, "frechet": 2.0}])
        for value in (50.0, 60.0)
    ]
    rows = tables.study_table(runs, 2).set_index("changed")
    assert rows.loc["nothing (unet-two-level)", "accuracy, %"] == "55.0 ± 7.1", "the last step of each seed"
    assert (rows.drop("nothing (unet-two-level)")["accuracy, %"] == "missing").all()
    (row, _) = tables.training_table(runs).to_dict("records")
    assert (row["schedule"], row["images seen"], row["minutes"], row["on"], row["commit"]) == (
        "cosine, T = 1,000",
        "12",
        "1.5",
        "some GPU",
        "0123456+",
    )


def test_means_for_the_text():
    assert scores.headline({"w 0.5": SETS[:2]})["w_0_5_accuracy"] == 15


def test_as_reported_and_ours():
    table = recipe_table(["unet-three-level", "unet-wide-bottleneck"]).set_index("setting")
    assert table["unet-three-level"].to_dict() == {
        "recipe": "as-reported",
        "image size": "32x32",
        "schedule": "linear",
        "steps of noise T": "400",
        "alpha-bar at T": "1.7e-2",
        "loss": "smooth L1",
        "weight of a step": "1",
        "label dropout": "none",
        "optimiser": "Adam",
        "learning rate": "1e-4, constant",
        "batch": "16",
        "steps of training": "2,000",
        "EMA": "none",
        "time": "256 sines and cosines",
        "label": "a learned vector",
        "both enter": "added at every level",
    }
    assert table.loc["learning rate"].tolist() == ["1e-4, constant", "3e-3, one-cycle", "1e-3, one-cycle"]
    ours = table["any network"]
    assert ours[["recipe", "weight of a step", "EMA"]].tolist() == ["ours", "min(SNR, 2) / SNR", "0.999"]
    assert ours["image size"] == "16x16 for 70% of the steps, then 28x28"


def test_networks_of_our_own_have_a_column():
    table = recipe_table(["unet-two-level"], ["context-unet-64"]).set_index("setting")
    assert list(table.columns) == ["unet-two-level", "any network", "context-unet-64"]
    assert table.loc["image size"].tolist()[1:] == ["16x16 for 70% of the steps, then 28x28", "28x28"]


def test_what_differs_in_ours_stands_in_the_order_of_the_networks(monkeypatch):
    choose = Recipe.choose

    def changed(network, recipe, seed, preset):
        return choose(network, recipe, seed, preset, {"batch": 32} if network == "context-unet" else None)

    monkeypatch.setattr(Recipe, "choose", changed)
    table = recipe_table(["unet-three-level", "context-unet"]).set_index("setting")
    assert list(table.columns) == ["unet-three-level", "context-unet", "any network"]
    assert table.loc["batch"].tolist() == ["16", "32", "64; 32"]


def test_another_preset_and_an_unknown_network():
    table = recipe_table(["context-unet"], preset="quick").set_index("setting")
    assert table.loc["steps of training"].tolist() == ["200", "200"]
    with pytest.raises(UserError, match="unet-nine-level"):
        recipe_table(["unet-nine-level"])
