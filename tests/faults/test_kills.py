"""SIGKILL at random moments: the same call goes on, and ends as if it had never been killed."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from forks import Fork, Kills, contents, timed
from image_folders import noise, write_2022
from records import WHOLE
from synthetic import Portraits, Synthetic

from hw2lib import files, image_files, networks, runs, weights
from hw2lib.data import FACES, cache
from hw2lib.data.folders import RealImages
from hw2lib.kept import kept
from hw2lib.report import record
from hw2lib.training.run_folder import RunFolder

pytestmark = pytest.mark.slow

COUNTS = {"train": 20, "val": 8, "test": 8}
PAIR = {"pairs": ["mnistm-usps"]}
FAMILIES = {  # a network of each, and what makes it as quick as it can be
    "gan-plain": ({}, ["scored=2"]),
    "acgan": ({}, ["scored=10"]),
    "context-unet-32": ({}, ["scored=2"]),
    "face-pyramid": ({}, ["scored=2", "size=16"]),
    "dann-compact": (PAIR | {"methods": ["dann"]}, []),
    "uda-cnn": (PAIR, []),
    "digit-classifier": ({}, []),
}


def train(recipe, images, path: Path) -> None:
    networks.training_of(recipe.network)(recipe, images, RunFolder(path, {}), "cpu", lambda n: None)


def result(path: Path) -> dict[str, bytes | dict]:
    """The files of a finished run; of its card all but the time."""
    found = contents(path)
    card = json.loads(found.pop("card.json"))
    del card["seconds"], card["sha256"]
    return found | {"card.json": card}


@pytest.mark.parametrize("network", FAMILIES)
def test_a_training_that_is_killed_ends_bit_for_bit_the_same(tmp_path, network):
    options, own = FAMILIES[network]
    settings = ["steps=3", "evaluations=3", "batch=4", *own]
    (recipe,) = runs.recipes_for([network], ["ours"], [0], "smoke", settings=settings, **options)
    images = (Portraits if recipe.domains == (FACES,) else Synthetic)(COUNTS)

    def start(name: str) -> Fork:
        return Fork(tmp_path / "build", train, recipe, images, tmp_path / name)

    timed(start("first"))  # whose results some are kept
    seconds = timed(start("whole"))
    kills = Kills(100, min(1.2 * seconds, max(0.6, seconds / 4)))
    whole = result(tmp_path / "whole")
    assert result(tmp_path / "first") == whole
    while kills:
        kills.end(lambda: start("broken"))
        assert result(tmp_path / "broken") == whole
        assert not list((tmp_path / "broken").rglob("*.partial"))
        shutil.rmtree(tmp_path / "broken")


def draw(network: str, count: int, digits: list[int], folder: Path) -> None:
    image_files.write(network, folder, count, digits=digits, device="cpu")


@pytest.mark.parametrize(("network", "count", "digits"), [("dcgan", 150, []), ("context-unet-64", 20, [7])])
def test_a_drawing_that_is_killed_ends_with_the_same_images(tmp_path, network, count, digits):
    def start(name: str) -> Fork:
        return Fork(tmp_path / "build", draw, network, count, digits, tmp_path / name)

    def is_whole() -> None:
        assert contents(tmp_path / "broken").items() <= whole.items()

    seconds = timed(start("whole"))
    whole = contents(tmp_path / "whole")
    kills = Kills(30, min(1.2 * seconds, 1.0))
    while kills:
        kills.end(lambda: start("broken"), is_whole)
        assert contents(tmp_path / "broken") == whole
        shutil.rmtree(tmp_path / "broken")


# What is written again and again until it is killed, so that many kills fall into the writing


@kept
def expensive(number: int) -> dict:
    return {"tensor": torch.full((20_000,), number), "array": np.full(10, number)}


def keep(_: Path) -> None:
    for number in itertools.count():
        expensive(number)


def look_at_kept(place: Path) -> None:
    for file in (place / "build/cache/results").glob("[!.]*"):
        files.check_zip(file)
        torch.load(file, weights_only=True)
        file.unlink()


def save(place: Path) -> None:
    for number in itertools.count():
        weights.save({"a": torch.full((100_000,), number)}, place / "final/weights.safetensors")
        files.write_json(place / "final/card.json", {"number": number, "many": [number] * 10_000})


def look_at_saved(place: Path) -> None:
    assert weights.read(place / "final/weights.safetensors")["a"].unique().numel() == 1
    files.read_json(place / "final/card.json")


def put_pages(place: Path) -> None:
    for number in itertools.count():
        staging = record.Staging(place / "build/smoke/figures/10_page")
        files.write(staging.folder / "line.png", str(number) * 10_000)
        files.write_json(staging.folder / record.FILE, WHOLE | {"values": {"number": number}})
        staging.swap_in()


def look_at_page(place: Path) -> None:
    number = record.read("smoke", "10_page")["values"]["number"]
    assert record.path("smoke", "10_page").with_name("line.png").read_text() == str(number) * 10_000


def decode(place: Path) -> None:
    while True:
        RealImages(place / "images").load("usps", "train")
        for folder in (place / "build/cache/images").glob("*/train-*"):
            folder.rename(folder.with_name(".old"))
            shutil.rmtree(folder.with_name(".old"))


def look_at_decoded(place: Path) -> None:
    for folder in (place / "build/cache/images").glob("*/train-*"):
        np.testing.assert_array_equal(cache.read(folder).images, noise(10, channels=1)[:6])


@pytest.mark.parametrize(
    ("write", "look", "written"),
    [
        (keep, look_at_kept, "build/cache/results/[!.]*"),
        (save, look_at_saved, "final/card.json"),
        (put_pages, look_at_page, "build/smoke/figures/10_page/record.json"),
        (decode, look_at_decoded, "build/cache/images/*/train-*"),
    ],
)
def test_what_stands_under_a_final_name_is_whole_after_every_kill(tmp_path, write, look, written, monkeypatch):
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    write_2022(tmp_path / "images/digits/usps", noise(10, channels=1), range(10))

    def start() -> Fork:
        return Fork(tmp_path / "build", write, tmp_path)

    kills = Kills(100, 0.3)
    first = start()
    while not list(tmp_path.glob(written)):  # so that there is something to look at
        assert first.wait(0.1) is None, first.told()
    first.kill()
    look(tmp_path)
    while kills:
        assert kills.kill(start()), "it would write for ever"
        look(tmp_path)
