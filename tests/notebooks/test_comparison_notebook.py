"""Notebook 60."""

import pytest


@pytest.mark.slow  # it looks for faces in hundreds of images
def test_gan_and_diffusion_are_measured_alike(run):
    record = run("60", "-p", "seeds=0", "-p", "weights=0", "-p", "grid=2", "-p", "steps=2")
    digits = {row[0]: row[1:] for row in record["tables"]["digits"]["rows"]}
    assert list(digits) == ["acgan", "context-unet-64", "w = 0", "2 steps", "real"]
    assert [row[1] for row in digits.values()] == ["1", "14", "8", "3", "–"]
    faces = {row[0]: row[1:] for row in record["tables"]["faces"]["rows"]}
    assert list(faces) == ["gan-plain", "dcgan", "face-pyramid", "real"]
    missing = [cell for row in (*digits.values(), *faces.values()) for cell in row if cell == "missing"]
    assert not missing
    assert [figure["file"] for figure in record["figures"]] == ["trade-off.png"]
    values = record["values"]
    assert 0 < values["acgan_seconds"] < values["context_unet_64_seconds"]
    assert values["face_pyramid_calls"] == 2
    assert "clock" not in record["tables"]


def test_quick_measures_time_and_shows_scores_as_committed(run):
    record = run("60", "-p", "timed=1", "-p", "weights=[]", "-p", "grid=2", "-p", "steps=2", preset="quick")
    rows = {row[0]: row[1:] for row in record["tables"]["clock"]["rows"]}
    assert list(rows) == ["acgan", "context-unet-64", "2 steps", "gan-plain", "dcgan", "sagan", "face-pyramid"]
    assert all(float(row[0]) > 0 for row in rows.values())
    assert record["tables"].keys() == {"clock", "digits", "faces"}
    for name in ("digits", "faces"):
        assert "As in the committed report, 20" in record["tables"][name]["caption"]
