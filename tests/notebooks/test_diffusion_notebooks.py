"""Notebooks 30 to 35."""

import re

import pytest

from hw2lib import paths
from hw2lib.diffusion.sample import default_settings
from hw2lib.report import parameters


def numbers(text: str) -> int:
    return int(text.replace(",", "") or 0)


@pytest.mark.parametrize("number", ["31", "32", "33", "34"])
def test_notebooks_draw_as_the_command_line_does(number):
    (file,) = paths.NOTEBOOKS.glob(f"{number}*.ipynb")
    found = {name: parameter.default for name, parameter in parameters.read(file).items()}
    usual = default_settings("context-unet-64")
    assert tuple(found.pop("guidance_interval")) == usual.guidance_interval
    if number == "33":
        assert usual.guidance_weight in found["limited"]
    for name in ("sampler", "steps", "eta", "guidance_weight"):
        assert found.get(name, getattr(usual, name)) == getattr(usual, name)


def test_architectures(run):
    record = run("30")
    rows = record["tables"]["parameters"]["rows"]
    assert [(row[0], row[-1]) for row in rows] == [
        ("unet-two-level", "5,885,123"),
        ("unet-three-level", "15,664,515"),
        ("unet-wide-bottleneck", "23,335,299"),
        ("context-unet", "18,743,187"),
    ]
    for row in rows:
        layers = record["tables"][f"layers-{row[0]}"]["rows"]
        assert sum(numbers(layer[-1]) for layer in layers) == numbers(row[-1])
    assert [figure["file"] for figure in record["figures"]] == [f"drawing-{row[0]}.png" for row in rows]
    recipes = record["tables"]["recipes"]
    assert recipes["columns"] == ["setting", *(row[0] for row in rows), "any network", "context-unet-64"]
    (steps,) = (row[1:] for row in recipes["rows"] if row[0] == "steps of training")
    assert [*steps[:4], steps[5]] == ["2,000"] * 4 + ["8,000"], "not those of smoke"
    assert len(re.findall(r"\d,\d{3}", steps[4])) == 4, "one for each network"


def test_samples(run):
    record = run("31", "-p", "steps=4")
    (figure,) = record["figures"]
    assert figure["file"] == "digits-unet-two-level.png"
    assert "embedded stand-ins" in figure["source"], "no trained weights are shown as what they are not"


def test_reverse_process(run):
    (figure,) = run("32", "-p", "ancestral=20")["figures"]
    assert "unet-two-level, recipe ours, 2 steps of 4" in figure["source"]


def test_guidance(run):
    ways = ("-p", "weights=0,2", "-p", "limited=2", "-p", "guidance_interval=0.2,0.8")
    record = run("33", "-p", "steps=2", "-p", "count=40", "-p", "seeds=0,1", *ways)
    assert [figure["file"] for figure in record["figures"]] == ["weights.png", "trade-off.png"]
    rows = record["tables"]["guidance"]["rows"]
    assert [row[:3] for row in rows] == [["0", "none", "2"], ["2", "all", "4"], ["2", "0.2 to 0.8", "3"]]
    assert {"w_0_accuracy", "w_2_diversity", "w_2_limited_frechet"} <= set(record["values"])
    assert record["values"]["w_2_limited_calls"] == 3


def test_scores(run):
    settings = (
        "-p",
        "steps=2",
        "-p",
        "count=40",
        "-p",
        "compared=20",
        "-p",
        "grid=1,2",
        "-p",
        "seeds=0",
    )
    record = run("34", *settings)
    usual = {row[0]: row[2:] for row in record["tables"]["default"]["rows"]}
    assert usual["unet-two-level"][0] == str(default_settings("unet-two-level", steps=2).calls(1000))
    assert float(usual["unet-two-level"][1]) < 60
    rows = {row[0]: row[2:] for row in record["tables"]["denoisers"]["rows"]}
    assert float(rows["unet-two-level"][0]) < 60 < 95 < float(rows["real MNIST-M"][0])
    assert [row[0] for row in record["tables"]["samplers"]["rows"]] == ["1", "2"]
    assert {"all_calls", "dpm_solver_2_accuracy", "ddim_1_2_accuracy"} <= set(record["values"])
    assert record["values"]["unet_two_level_accuracy"] == pytest.approx(float(rows["unet-two-level"][0]), abs=0.05)


def test_training(run):
    record = run("35", "-p", "seeds=0")
    assert all("missing" not in row for row in record["tables"]["study"]["rows"])
    schedules = {row[1]: row[3] for row in record["tables"]["training"]["rows"]}
    assert schedules["study-100"] == "cosine, T = 100"
    shown = [row[1] for row in record["tables"]["study"]["rows"]]
    assert [float(value) for value in shown] == pytest.approx(
        [value for name, value in record["values"].items() if name.endswith("accuracy")], abs=0.05
    )


def test_runs_that_are_not_finished_are_missing(run):
    for notebook in ("31_diffusion_samples", "32_diffusion_reverse", "33_diffusion_guidance"):
        assert run(notebook[:2], "-p", "recipe=as-reported", "-p", "train=false")["figures"] == []
    record = run("34", "-p", "recipe=as-reported", "-p", "train=false")
    assert record["tables"]["denoisers"]["rows"][0][2:] == [*["missing"] * 3, "–"]
    record = run("35", "-p", "seeds=7", "-p", "train=false")
    assert {row[1] for row in record["tables"]["study"]["rows"]} == {"missing"}


def test_quick_shows_tables_as_committed_and_measures_what_is_asked_for(run):
    record = run("34", preset="quick")
    for name, table in record["tables"].items():
        assert ("As in the committed report, 20" in table["caption"]) == (name != "training")
    record = run("34", "-p", "count=20", "-p", "seeds=0", "-p", "steps=2", preset="quick")
    default = {row[0]: row for row in record["tables"]["default"]["rows"]}
    assert default["context-unet-64"][-1] == "1 x 20"
    assert "As in" not in record["tables"]["default"]["caption"]
    for name in ("denoisers", "samplers", "samplers-frechet"):
        assert "As in the committed report, 20" in record["tables"][name]["caption"]
    assert record["values"]["context_unet_64_default_calls"] < 8 < record["values"]["all_calls"]
