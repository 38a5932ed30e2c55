"""``hw2 train`` meets bad input with one line and exit status 2, before anything is made."""

import pytest
import torch
from refusals import assert_refused


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No images, no GPU, and a build folder of its own."""
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    monkeypatch.delenv("HW2_DATA", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["dann"], "unknown network 'dann': choose one of gan-plain, dcgan"),
        (
            ["dann-compact", "--recipe", "theirs"],
            "unknown recipe 'theirs': dann.toml has as-reported, as-reported-long",
        ),
        (["dann-compact", "--preset", "fast"], "unknown preset 'fast'; there are smoke, quick, paper"),
        (["dann-compact", "--pair", "mnistm-mnist"], "unknown domain 'mnist'; there are mnistm, svhn, usps, face"),
        (["dann-compact", "--pair", "mnistm"], "a pair is SOURCE-TARGET, such as mnistm-svhn, not 'mnistm'"),
        (["uda-cnn", "--method", "dann"], "method = 'dann': Input should be 'improved'"),
        (["dann-compact", "--method", "gan"], "method = 'gan': Input should be 'source-only', 'dann' or 'target-only'"),
        (["dann-compact", "--device", "cuda"], "device 'cuda': no CUDA device is available here; choose auto or cpu"),
        (["dann-compact", "--device", "tpu"], "unknown device 'tpu': choose auto, cpu, cuda or cuda:N"),
        (["dann-compact", "--seed", "-1"], "seed = -1: Input should be greater than or equal to 0"),
        (["dann-compact", "--set", "steps=0"], "steps = 0: Input should be greater than 0"),
        (["dann-compact", "--set", "steps=many"], "steps = 'many': Input should be a valid integer"),
        (["dann-compact", "--set", "batch=-1"], "batch = -1: Input should be greater than 1"),
        (["dann-compact", "--set", "learning_rate=0"], "learning_rate = 0: Input should be greater than 0"),
        (["dann-compact", "--set", "learning_rate=NaN"], "learning_rate = nan: Input should be a finite number"),
        (["dann-compact", "--set", "stepz=3"], "unknown key 'stepz'; allowed are recipe, network"),
        (["dann-compact", "--set", "steps"], "a setting is KEY=VALUE, such as steps=100, not 'steps'"),
        (["dann-compact", "--set", "network=dann-wide"], "'network' is not a key of the recipe's file"),
        (["dann-compact", "--set", "folder=/tmp"], "unknown key 'folder'"),
        (["dann-compact", "--preset", "paper"], "run `hw2 data fetch mnistm svhn usps`"),
        (["dann-compact", "--data-dir", "/nowhere"], "/nowhere: no such folder of images"),
        ([], "name networks, such as dcgan, or give --missing"),
        (["--missing", "dcgan"], "--missing trains what the report shows: leave out NETWORKS, their options and"),
        (["--missing", "--folder", "run"], "leave out NETWORKS, their options and --folder"),
        (["--missing", "--seed", "0"], "leave out NETWORKS, their options and --folder"),
        (["--missing", "--set", "steps=3"], "leave out NETWORKS, their options and --folder"),
        (["--missing", "--preset", "fast"], "unknown preset 'fast'; there are smoke, quick, paper"),
        (["--missing", "--within", "9"], "--within 9: give a number and its unit, such as 90s, 9m or 2h"),
        (["--missing", "--within", "m"], "--within m: give a number and its unit"),
        (["--missing", "--within", "-1m"], "--within -1m: give a number and its unit"),
        (["--missing", "--within", "9 days"], "--within 9 days: give a number and its unit"),
        (["--missing", "--within", "²s"], "--within ²s: give a number and its unit"),
        (["--missing", "--jobs", "0"], "--jobs 0: give 1 or more"),
        (["--missing"], "run `hw2 data fetch mnistm svhn usps`"),
        (["dcgan", "--folder", "run", "--within", "9m"], "--folder trains one run to its end: leave --list, --jobs"),
    ],
)
def test_bad_input_is_one_line_and_status_2(hw2, tmp_path, arguments, what):
    assert_refused(hw2("train", *arguments), what)
    assert not (tmp_path / "build").exists()


def test_a_batch_larger_than_the_data_is_one_line(hw2):
    status, _, err = hw2(
        "train", "dann-compact", "--preset", "smoke", "--pair", "mnistm-usps", "--method", "target-only", "--device",
        "cpu", "--set", "batch=5000",
    )  # fmt: skip
    assert status == 2
    assert err.splitlines()[-1] == "hw2: error: usps train: a batch of 5000 is larger than its 4000 images"


def test_a_run_is_trained_once_and_then_shown(hw2, tmp_path):
    arguments = ["train", "dann-compact", "--preset", "smoke", "--pair", "mnistm-usps", "--method", "target-only"]
    arguments += ["--device", "cpu"]
    status, first, _ = hw2(*arguments)
    assert status == 0
    (weights,) = tmp_path.glob("build/smoke/runs/dann-compact/ours/mnistm-usps/target-only/seed-0-*/*.safetensors")
    made = weights.stat().st_mtime_ns
    assert "% of target test" in first
    assert str(weights.parent) in first
    assert hw2(*arguments) == (0, first, "")
    assert weights.stat().st_mtime_ns == made
