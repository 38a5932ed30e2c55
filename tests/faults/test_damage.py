"""A flipped bit and a cut, in every kind of file: found, named, and made anew where that can be."""

import os
import random
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from image_folders import noise, write_2022, write_pngs
from records import WHOLE

from hw2lib import files, weights
from hw2lib.data import cache
from hw2lib.data.folders import RealImages
from hw2lib.data.image_folder import Batch, write_images
from hw2lib.data.png import read_png
from hw2lib.errors import UserError
from hw2lib.kept import kept
from hw2lib.report import record
from hw2lib.training.run_folder import RunFolder


def flip(file: Path, where: random.Random) -> None:
    """Flip one bit; the file's times stay, as they do on a disk that fails."""
    content, times = bytearray(file.read_bytes()), file.stat()
    bit = where.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def cut(file: Path, where: random.Random) -> None:
    os.truncate(file, where.randrange(file.stat().st_size))


SETTINGS = {"steps": 10, "rate": 0.25, "data": {"usps": "ab"}}


def settings(folder: RunFolder) -> dict:
    with folder.open():
        return files.read_json(folder.path / "settings.json")


def card(folder: RunFolder) -> tuple:
    """A card under which the settings have changed counts as none; so it is read as a file."""
    found = files.read_json(folder.path / "card.json")
    return found["settings"], found["accuracy"]


def state(folder: RunFolder) -> tuple:
    found = folder.load_state()
    return found["step"], found["weight"].tolist(), folder.history()


def tensors(folder: RunFolder) -> dict:
    return {name: tensor.tolist() for name, tensor in weights.read(folder.weights).items()}


def snapshot(folder: RunFolder) -> dict:
    """A file of torch.save, as the homework hands out."""
    return {name: tensor.tolist() for name, tensor in weights.read_torch(folder.path / "UNet.pt", "another").items()}


def drawn(folder: RunFolder) -> list:
    return read_png(folder.path / "0.png", 28).tolist()


REFUSED = {"settings.json": settings, "card.json": card, "state.pt": state, "weights.safetensors": tensors,
           "UNet.pt": snapshot, "0.png": drawn}  # fmt: skip


@pytest.mark.parametrize("damage", [flip, cut])
@pytest.mark.parametrize("name", REFUSED)
def test_damage_is_found_and_named(tmp_path, name, damage):
    """Or nothing has changed: some bits of a zip archive have no meaning."""
    folder, where, found = RunFolder(tmp_path, SETTINGS), random.Random(0), 0
    with folder.open():
        folder.finish({"weight": torch.randn(500), "bias": torch.randn(())}, {"accuracy": 71.0})
        folder.log(step=1, loss=0.5)
        folder.save_state({"step": 1, "weight": torch.randn(500)})
    torch.save({"weight": torch.randn(500)}, tmp_path / "UNet.pt")
    write_pngs(tmp_path, noise(1))
    (tmp_path / "00000.png").rename(tmp_path / "0.png")
    good, whole = (tmp_path / name).read_bytes(), REFUSED[name](folder)
    for _ in range(150):
        damage(tmp_path / name, where)
        told = ""
        try:
            same = REFUSED[name](folder) == whole
        except UserError as error:
            told = str(error)
        assert (
            str(tmp_path / name) in told or (name == "settings.json" and str(tmp_path) in told) or (not told and same)
        )
        found += bool(told)
        (tmp_path / name).write_bytes(good)
    assert found > 100
    assert REFUSED[name](folder) == whole


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_log_is_that_of_the_state_again(tmp_path, damage):
    folder = RunFolder(tmp_path, SETTINGS)
    with folder.open():
        for step in (20, 40):
            folder.log(step=step, loss=1 / step)
        folder.save_state({"step": 40})
        damage(tmp_path / "log.jsonl", random.Random(1))
        folder.load_state()
        assert folder.history() == [{"step": 20, "loss": 0.05}, {"step": 40, "loss": 0.025}]


@kept
def expensive() -> torch.Tensor:
    return torch.arange(1000)


@pytest.mark.parametrize("damage", [flip, cut])
def test_what_can_be_made_anew_is(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    where, images = random.Random(2), noise(10, channels=1)
    write_2022(tmp_path / "images/digits/usps", images, range(10))

    def draw() -> torch.Tensor:
        return torch.from_numpy(noise(2))

    for _ in range(40):
        split = RealImages(tmp_path / "images").load("usps", "train")
        np.testing.assert_array_equal(split.images, images[:6])
        np.testing.assert_array_equal(split.labels, range(6))
        assert torch.equal(expensive(), torch.arange(1000))
        write_images(tmp_path / "drawn", [Batch(["0.png", "1.png"], draw)], {"seed": 0})
        np.testing.assert_array_equal(read_png(tmp_path / "drawn/1.png", 28), noise(2)[1])
        for pattern in ("build/cache/images/*/train-*/*", "build/cache/results/*.pt", "drawn/1.png"):
            damage(where.choice(sorted(tmp_path.glob(pattern))), where)
        cache._digest_of_images.cache_clear()  # as in another process


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_record_is_none_and_is_named(tmp_path, monkeypatch, capsys, damage):
    monkeypatch.setenv("HW2_BUILD", str(tmp_path))
    file = record.path("smoke", "10_page")
    file.parent.mkdir(parents=True)
    content = WHOLE | {"values": {"accuracy": 71.0}}
    files.write_json(file, content)
    assert record.read("smoke", "10_page") == content
    damage(file, random.Random(3))
    record._tell_damaged.cache_clear()
    assert record.read("smoke", "10_page") is None
    assert capsys.readouterr().err == f"hw2: {file}: damaged; its notebook has to run again\n"


def test_a_clock_that_is_set_back_makes_nothing_old_look_new(tmp_path, monkeypatch):
    """All files are of next year; one image changes, at a time before that."""
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    write_2022(tmp_path / "images/digits/usps", noise(10, channels=1), range(10))
    RealImages(tmp_path / "images").load("usps", "train")
    later = time.time() + 365 * 24 * 3600
    for path in tmp_path.rglob("*"):
        os.utime(path, (later, later))
    before = RealImages(tmp_path / "images").load("usps", "train").images[0]
    np.testing.assert_array_equal(before, noise(10, channels=1)[0])
    write_pngs(tmp_path / "images/digits/usps/data", noise(1, channels=1, seed=1), first=0)
    os.utime(tmp_path / "images/digits/usps/data/00000.png", (0, 0))
    after = RealImages(tmp_path / "images").load("usps", "train").images[0]
    np.testing.assert_array_equal(after, noise(1, channels=1, seed=1)[0])
