"""``hw2 data add``: a further domain is there whole, or not at all."""

import os
from pathlib import Path

import numpy as np
import pytest
from image_folders import litter, noise, write_2022, write_csv, write_pngs
from refusals import assert_refused

from hw2lib.data import fetch
from hw2lib.data.folders import RealImages
from hw2lib.files import try_lock


@pytest.fixture
def mine(tmp_path) -> Path:
    """A folder of a user's, in the layout of 2022/23."""
    write_2022(tmp_path / "mine", noise(10, seed=3), range(10))
    return tmp_path / "mine"


def left(images: Path) -> list[str]:
    """All that is there but locks."""
    return sorted(path.relative_to(images).as_posix() for path in images.rglob("*") if path.suffix != ".lock")


def test_a_domain_is_read_as_any_other(hw2, small, mine):
    status, out, _ = hw2("data", "add", "clean_1", str(mine), "--data-dir", str(small))
    assert (status, out) == (0, f"clean_1: 6 train, 2 val, 2 test in {small}/digits/clean_1\n")
    source = RealImages(small)
    assert source.domains() == ("clean_1", "usps")
    np.testing.assert_array_equal(source.load("clean_1", "test").images, noise(10, seed=3)[8:])
    np.testing.assert_array_equal(source.load("clean_1", "test").labels, [8, 9])
    assert [name for name in left(small) if "building" in name] == []


def test_a_csv_with_capitals(hw2, small, mine):
    (mine / "val.csv").rename(mine / "VAL.CSV")
    (mine / "train.csv").rename(mine / "Train.csv")
    status, out, _ = hw2("data", "add", "clean_1", str(mine), "--data-dir", str(small))
    assert (status, out) == (0, f"clean_1: 6 train, 2 val, 2 test in {small}/digits/clean_1\n")


def test_the_layout_of_2021_and_a_folder_of_images_that_is_not_there_yet(hw2, tmp_path):
    images = noise(20)
    write_csv(tmp_path / "old/train.csv", write_pngs(tmp_path / "old/train", images), [0] * 20)
    status, out, _ = hw2("data", "add", "old", str(tmp_path / "old"), "--data-dir", str(tmp_path / "new"))
    assert (status, out) == (0, f"old: 18 train, 2 val in {tmp_path}/new/digits/old\n")


@pytest.mark.parametrize("name", ["a-b", "Clean", "", "..", "a/b", "face", "_"])
def test_a_bad_name_is_refused(hw2, small, mine, name):
    before = left(small)
    assert_refused(hw2("data", "add", name, str(mine), "--data-dir", str(small)), "choose small letters, digits and _")
    assert left(small) == before


def test_a_domain_that_is_there_is_kept(hw2, small, mine):
    before = left(small)
    assert_refused(hw2("data", "add", "usps", str(mine), "--data-dir", str(small)), "digits/usps: is there already")
    assert left(small) == before


def break_image(mine: Path) -> str:
    (mine / "data/00009.png").write_text("no image")
    return f"{mine}/data/00009.png"


def break_label(mine: Path) -> str:
    (mine / "val.csv").write_text("image_name,label\n00006.png,ten\n")
    return f"{mine}/val.csv, line 2: label 'ten'"


def lose_train(mine: Path) -> str:
    (mine / "train.csv").unlink()
    return f"{mine}: no train split"


@pytest.mark.parametrize("damage", [break_image, break_label, lose_train])
def test_of_a_damaged_one_nothing_is_left(hw2, small, mine, damage):
    before, what = left(small), damage(mine)
    status, out, err = hw2("data", "add", "mine", str(mine), "--data-dir", str(small))
    assert (status, out) == (2, "")
    assert what in err.splitlines()[-1]
    assert ".building" not in err.splitlines()[-1]
    assert left(small) == before


def test_a_folder_that_is_not_there(hw2, small):
    assert_refused(hw2("data", "add", "mine", "/no/such", "--data-dir", str(small)), "/no/such: no such folder")


def test_only_what_belongs_to_the_layout_is_copied(hw2, small, mine, tmp_path):
    """No film beside the images, no folder that leads back, and what a link leads to."""
    (mine / "film.mkv").write_bytes(bytes(1000))
    (mine / "data/notes.txt").write_text("mine")
    (mine / "again").symlink_to(mine)
    (mine / "data/00009.png").rename(tmp_path / "elsewhere.png")
    (mine / "data/00009.png").symlink_to(tmp_path / "elsewhere.png")
    litter(mine)
    litter(mine / "data")
    assert hw2("data", "add", "mine", str(mine), "--data-dir", str(small))[0] == 0
    home = small / "digits/mine"
    images = [f"data/{i:05d}.png" for i in range(10)]
    assert left(home) == ["data", *images, "test.csv", "train.csv", "val.csv"]
    assert not (home / "data/00009.png").is_symlink()
    np.testing.assert_array_equal(RealImages(small).load("mine", "test").images, noise(10, seed=3)[8:])


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [pipe, link_to_nothing, Path.mkdir])
@pytest.mark.parametrize("name", ["data/00009.png", "val.csv"])
def test_a_pipe_or_a_link_to_nothing_is_refused_before_anything_is_copied(hw2, small, mine, make, name):
    before = left(small)
    (mine / name).unlink()
    make(mine / name)
    refusal = f"{mine / name}: neither a file nor a link to one; remove it, or put the file itself there"
    assert_refused(hw2("data", "add", "mine", str(mine), "--data-dir", str(small)), refusal)
    assert left(small) == before


def test_one_process_at_a_time_and_nothing_stays_of_one_that_was_killed(hw2, small, mine):
    killed = small / "digits/.clean_1.building/digits/clean_1/data"
    killed.mkdir(parents=True)
    held = try_lock(small / "digits/.clean_1.lock")
    before = left(small)
    assert_refused(
        hw2("data", "add", "clean_1", str(mine), "--data-dir", str(small)),
        f"{small}/digits/clean_1: another process is making it",
    )
    assert left(small) == before
    held.release()
    assert hw2("data", "add", "clean_1", str(mine), "--data-dir", str(small))[0] == 0
    assert not killed.exists()


def test_a_domain_that_another_process_made_in_the_meantime_is_kept(hw2, small, mine, monkeypatch):
    theirs = small / "digits/clean_1/theirs"

    def late(lock: Path):
        theirs.mkdir(parents=True)
        return try_lock(lock)

    monkeypatch.setattr(fetch, "try_lock", late)
    assert_refused(
        hw2("data", "add", "clean_1", str(mine), "--data-dir", str(small)), f"{small}/digits/clean_1: is there already"
    )
    assert theirs.is_dir()
