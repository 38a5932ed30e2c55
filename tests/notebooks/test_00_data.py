"""The data page: real images may not be passed on, so none of their pixels may reach its figures unasked."""

import csv
import json

import nbformat
import numpy as np
import pytest
from PIL import Image

from hw2lib import paths
from hw2lib.errors import UserError


@pytest.fixture
def real_images(tmp_path):
    """USPS in the layout of 2022/23, each digit six times; neither of the other domains, nor faces."""
    folder = tmp_path / "images/digits/usps"
    (folder / "data").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, first, count in (("train", 0, 40), ("val", 40, 10), ("test", 50, 10)):
        rows = [(f"{i:05d}.png", i % 10) for i in range(first, first + count)]
        for name, _ in rows:
            Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8)).save(folder / "data" / name)
        with open(folder / f"{split}.csv", "w", newline="") as file:
            csv.writer(file).writerows([("image_name", "label"), *rows])
    return tmp_path / "images"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the notebook's cells with other parameters and returns its record."""
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))

    def execute(**parameters) -> dict:
        values = {}
        for cell in nbformat.read(paths.NOTEBOOKS / "00_data.ipynb", as_version=4).cells:
            if cell.cell_type == "code":
                exec(cell.source, values)
            if "parameters" in cell.metadata.get("tags", []):
                values |= parameters
        return json.loads((tmp_path / "build/quick/figures/00_data/record.json").read_text())

    return execute


def files(record):
    return [figure["file"] for figure in record["figures"]]


def test_real_images_are_counted_and_not_shown(run, real_images, tmp_path):
    shown = tmp_path / "build/quick/figures/00_data/digits.png"
    run(domains=["usps"])
    stand_ins = shown.read_bytes()
    record = run(data_dir=str(real_images), domains=["usps"])
    assert files(record) == ["digits.png", "classes.png", "brightness.png"]
    assert shown.read_bytes() == stand_ins
    assert "Digits of the stand-ins" in record["figures"][0]["caption"]
    assert "handwriting of scikit-learn" in record["figures"][0]["source"]
    assert [figure["source"] for figure in record["figures"][1:]] == ["real images: USPS"] * 2
    run(data_dir=str(real_images), domains=["usps"], show_images=True)
    assert shown.read_bytes() != stand_ins


def test_what_is_not_there_is_named(run, real_images):
    record = run(data_dir=str(real_images))
    rows = record["tables"]["splits"]["rows"]
    assert ["USPS", "train", "40", "28 × 28", "grey", "10.0", "10.0"] in rows
    assert ["Faces", None, None, None, None, None, None] in rows


def test_the_folder_of_2023_has_no_faces_and_says_what_it_has(run, real_images):
    (real_images / "face/GT").mkdir(parents=True)
    (real_images / "face/UNet.pt").touch()
    record = run(data_dir=str(real_images))
    assert ["Faces", "GT/ (0 files), UNet.pt", None, None, None, None, None] in record["tables"]["splits"]["rows"]


def test_real_images_are_shown_to_who_asks(run, real_images):
    record = run(data_dir=str(real_images), show_images=True)
    assert files(record) == ["digits.png", "classes.png", "brightness.png"]


def test_real_images_are_not_shown_in_what_is_committed(run, real_images, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "report_dir", lambda preset: tmp_path / "committed")
    monkeypatch.setenv("HW2_DATA", str(real_images))
    with pytest.raises(UserError, match=r"show_images .* preset 'paper'"):
        run(preset="paper", show_images=True)
    assert not (tmp_path / "committed").exists()


def test_stand_ins_are_shown(run):
    record = run(domains=["usps"])
    assert files(record) == ["digits.png", "brightness.png"]
    assert record["data"]["origin"] == "stand-in"
