"""``hw2 classify``: the csv that the homework asks for, and what it refuses."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hw2lib import paths
from hw2lib.adaptation.networks import load
from hw2lib.data import source
from hw2lib.metrics.accuracy import outputs
from hw2lib.training.run_folder import RunFolder

RUN = next((paths.TRAINED / "dann-compact/ours/mnistm-usps/dann").glob("seed-0-*"))
COUNT = 30


@pytest.fixture(autouse=True)
def _cpu(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return source("quick").load("usps", "test").images[:COUNT]


@pytest.fixture
def folder(tmp_path, digits) -> Path:
    """Grey digits, one in colour, and files that are none."""
    home = tmp_path / "digits"
    home.mkdir()
    for i, image in enumerate(digits):
        Image.fromarray(image[0]).save(home / f"{i:05d}.png")
    Image.fromarray(digits[0].repeat(3, 0).transpose(1, 2, 0)).save(home / "a, b.PNG")
    (home / "notes.txt").write_text("mine")
    (home / ".hidden.png").write_text("mine")
    return home


@pytest.fixture
def classify(hw2, folder, tmp_path):
    def run(*arguments: str, weights: Path = RUN / "weights.safetensors") -> tuple[int, str, str]:
        return hw2("classify", str(folder), str(tmp_path / "out/labels.csv"), "--weights", str(weights), *arguments)

    return run


def rows(tmp_path: Path) -> list[list[str]]:
    with open(tmp_path / "out/labels.csv", newline="") as file:
        return list(csv.reader(file))


def test_labels_are_those_of_the_network_in_the_order_of_names(classify, digits, tmp_path):
    status, out, _ = classify()
    assert (status, out) == (0, f"{COUNT + 1} images in {tmp_path / 'out/labels.csv'}\n")
    found = rows(tmp_path)
    assert found[0] == ["image_name", "label"]
    assert [name for name, _ in found[1:]] == [*(f"{i:05d}.png" for i in range(COUNT)), "a, b.PNG"]
    settings = json.loads((RUN / "card.json").read_text())["settings"]
    network, form = load(RunFolder(RUN, settings))
    expected = outputs(network, torch.tensor(digits), *form).argmax(1).tolist()
    assert [int(label) for _, label in found[1:-1]] == expected
    assert found[-1][1] == found[1][1], "grey or in colour"
    assert len(set(expected)) > 5


def test_a_csv_that_is_there_is_kept(classify, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/labels.csv").write_text("mine")
    status, _, err = classify()
    assert status == 2
    assert "labels.csv: is there already; choose another name, or add --overwrite" in err
    assert (tmp_path / "out/labels.csv").read_text() == "mine"
    assert classify("--overwrite")[0] == 0
    assert len(rows(tmp_path)) == COUNT + 2


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_classified(classify, folder, tmp_path):
    broken = folder / "00003.png"
    broken.write_bytes(broken.read_bytes()[:60])
    Image.new("L", (16, 16)).save(folder / "00005.png")
    status, out, err = classify()
    assert status == 1
    assert f"hw2: {broken}: truncated image; copy or download it again; left out\n" in err
    assert "00005.png: 16x16 pixels; it must be 28x28; left out\n" in err
    assert out.startswith(f"{COUNT - 1} images in ")
    names = [name for name, _ in rows(tmp_path)]
    assert not {"00003.png", "00005.png"} & set(names)
    assert len(names) == COUNT


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda folder: shutil.rmtree(folder), "cannot be read: No such file or directory; name a folder of PNG"),
        (lambda folder: [file.unlink() for file in folder.iterdir()], "holds no image that can be classified; name a"),
        (lambda folder: [file.write_text("") for file in folder.iterdir()], "no image that can be classified: "),
    ],
)
def test_a_folder_without_images_makes_no_csv(classify, folder, tmp_path, spoil, what):
    spoil(folder)
    status, out, err = classify()
    assert (status, out) == (2, "")
    assert what in err
    assert not (tmp_path / "out").exists()


def test_weights_that_say_nothing_of_themselves_or_are_of_no_such_network(classify, tmp_path):
    alone = shutil.copy(RUN / "weights.safetensors", tmp_path / "weights.safetensors")
    assert "no card.json beside it says which network it is of" in classify(weights=alone)[2]
    gan = next((paths.TRAINED / "dcgan/ours").glob("seed-0-*")) / "weights.safetensors"
    status, _, err = classify(weights=gan)
    assert (status, err.count("\n")) == (2, 1)
    assert "card.json: not the card of a run between domains" in err
    assert not (tmp_path / "out").exists()
