"""Notebooks 40 to 42."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hw2lib import paths
from hw2lib.diffusion.faces import NAMES, named_noise, write_noise
from hw2lib.diffusion.networks import face_unet
from hw2lib.diffusion.networks.face_unet import FaceUNet
from hw2lib.report.age import age

SHORT = ("-p", "steps=2")


def test_eta(run):
    record = run("40", *SHORT, "-p", "etas=0.0,0.5,0.9", "-p", "noises=2", "-p", "repeats=2")
    assert [figure["file"] for figure in record["figures"]] == ["eta.png", "distance.png"]
    assert "face-pyramid, recipe ours, 2 steps of 4" in record["figures"][0]["source"]
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


@pytest.fixture
def edition_2023(tmp_path, monkeypatch) -> Path:
    """The folder as handed out in 2023, without digits, its network and images small ones."""
    monkeypatch.setattr(face_unet, "course", lambda: FaceUNet((32, 32), attending=1, size=16))
    face = tmp_path / "hw2_data/face"
    for folder in ("noise", "GT"):
        (face / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in NAMES:
        torch.save(torch.randn(1, 3, 16, 16), face / f"noise/{name}.pt")
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(face / f"GT/{name}.png")
    torch.save(face_unet.course().state_dict(), face / "UNet.pt")
    return tmp_path / "hw2_data"


HANDED_OUT = {
    "40": (*SHORT, "-p", "etas=0.0,0.5", "-p", "repeats=2"),
    "41": (*SHORT, "-p", "alphas=0.0,0.5,1.0"),
    "42": ("-p", "counts=2"),
}


@pytest.mark.parametrize("number", HANDED_OUT)
@pytest.mark.parametrize("preset", ["smoke", "quick", "paper"])
def test_the_folder_of_2023_alone_is_enough(run, edition_2023, monkeypatch, number, preset):
    monkeypatch.setenv("HW2_DATA", str(edition_2023))
    monkeypatch.setattr(paths, "report_dir", lambda preset: paths.build_dir() / preset)

    record = run(number, *HANDED_OUT[number], preset=preset)

    face = f"file: {edition_2023}/face/"
    used = {name.removeprefix(face).partition("/")[0] for name in record["inputs"] if name.startswith(face)}
    assert used == {"UNet.pt", "noise"} | ({"GT"} if number == "42" else set())
    assert all("weights of UNet.pt, the homework's network" in figure["source"] for figure in record["figures"])


def test_noise_that_comes_later_makes_a_record_out_of_date(run, edition_2023, monkeypatch):
    monkeypatch.setenv("HW2_DATA", str(edition_2023))
    (edition_2023 / "face/noise").rename(edition_2023 / "noise")
    record = run("40", *HANDED_OUT["40"])
    assert age(record, "40_ddim_eta", record["parameters"]).changed == []
    (edition_2023 / "noise").rename(edition_2023 / "face/noise")
    assert age(record, "40_ddim_eta", record["parameters"]).changed == ["absent: face/noise"]


def test_our_network_beside_the_folder_of_2023(run, edition_2023, monkeypatch):
    without = run("40", *HANDED_OUT["40"])
    assert without["inputs"]["absent: face/UNet.pt"] == "none"
    monkeypatch.setenv("HW2_DATA", str(edition_2023))
    values = without["parameters"]
    assert age(without, "40_ddim_eta", values).changed == ["absent: face/UNet.pt"], "it would draw with that now"
    ours = run("40", *HANDED_OUT["40"], "-p", "unet=ours")
    assert ours["values"] == without["values"]
    assert not any(str(edition_2023) in name for name in ours["inputs"])
    assert age(ours, "40_ddim_eta", values | {"unet": "ours"}).changed == []
