"""Notebooks 40 to 42."""

import pytest
import torch
from PIL import Image

from hw2lib.diffusion.faces import NAMES, named_noise, write_noise

SHORT = ("-p", "steps=2")


def test_eta(run):
    record = run("40", *SHORT, "-p", "etas=0.0,0.5,0.9", "-p", "noises=2", "-p", "repeats=2")
    assert [figure["file"] for figure in record["figures"]] == ["eta.png", "runs.png", "distance.png"]
    assert "face-pyramid, recipe ours, 2 steps of 4" in record["figures"][0]["caption"]
    values = record["values"]
    assert values["distance_0"] == 0, "bit-identical"
    assert 0 < values["distance_0_5"] < values["distance_noises"] * 2


def test_interpolation_between_noises_of_a_user(run, tmp_path):
    write_noise(tmp_path, 64)
    torch.save(2 * named_noise(64)[:1], tmp_path / "00.pt")
    torch.save(2 * named_noise(64)[1:2], tmp_path / "01.pt")
    settings = ("-p", "alphas=0.0,0.5,1.0", "-p", f"noise_dir={tmp_path}")
    record = run("41", *SHORT, *settings)
    assert [figure["file"] for figure in record["figures"]] == ["faces.png", "measured.png"]
    values = record["values"]
    assert values["slerp_norm_ends"] == pytest.approx(2 * (3 * 64 * 64) ** 0.5, rel=0.02)
    assert values["slerp_norm_half"] == pytest.approx(values["slerp_norm_ends"], rel=0.02)
    assert values["lerp_norm_half"] == pytest.approx(values["lerp_norm_ends"] / 2**0.5, rel=0.02)
    assert values["slerp_sharpness_ends"] == values["lerp_sharpness_ends"]
    assert [row[0] for row in record["tables"]["halfway"]["rows"]] == ["ends", "slerp", "lerp"]
    assert values["halfway_ends_sliced_wasserstein"] > 50, "it has learned for two steps"


def test_consistency(run, tmp_path):
    for name in NAMES:
        Image.new("RGB", (64, 64), (0, 128, 255)).save(tmp_path / f"{name}.png")
    record = run("42", "-p", "counts=2,4", "-p", "noises=3", "-p", f"truth_dir={tmp_path}")
    assert [figure["file"] for figure in record["figures"]] == ["errors.png", "faces.png"]
    rows = record["tables"]["errors"]["rows"]
    assert [row[0] for row in rows] == [
        "DDIM, leading",
        "DDIM, leading-offset",
        "DDIM, trailing",
        "DPM-Solver++, trailing",
    ]
    assert record["values"]["ddim_leading_2"] > 1000, "untrained"
    assert f"file: {tmp_path / NAMES[0]}.png" in record["inputs"]


def test_runs_that_are_not_finished_show_nothing(run):
    assert run("42", "-p", "recipe=full", "-p", "train=false")["figures"] == []
