"""A split is decoded once, again when its folder changes, and never half."""

import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from image_folders import noise, write_2022, write_csv, write_pngs
from PIL import Image

from hw2lib import used
from hw2lib.data import SPLITS, png
from hw2lib.data.folders import RealImages
from hw2lib.errors import UserError


def test_a_split_is_decoded_once_and_mapped_into_memory(small, monkeypatch):
    RealImages(small).load("usps", "train")
    monkeypatch.setattr(png, "decode", None)

    again = RealImages(small).load("usps", "train")

    assert isinstance(again.images, np.memmap)
    assert not again.images.flags.writeable
    np.testing.assert_array_equal(again.images, noise(10, channels=1)[:6])
    np.testing.assert_array_equal(again.labels, range(6))


def test_the_progress_bar_names_domain_and_split(small, capsys):
    RealImages(small).load("usps", "val")
    assert "USPS val: 100%" in capsys.readouterr().err


def change_image(folder: Path) -> None:
    write_pngs(folder / "data", noise(1, channels=1, seed=1), first=3)


def change_label(folder: Path) -> None:
    write_csv(folder / "train.csv", [f"{i:05d}.png" for i in range(6)], [9, 8, 7, 6, 5, 4])


def remove_row(folder: Path) -> None:
    write_csv(folder / "train.csv", [f"{i:05d}.png" for i in range(5)], range(5))


def change_order(folder: Path) -> None:
    write_csv(folder / "train.csv", [f"{i:05d}.png" for i in (5, 4, 3, 2, 1, 0)], [5, 4, 3, 2, 1, 0])


@pytest.mark.parametrize("change", [change_image, change_label, remove_row, change_order])
def test_a_change_of_the_folder_is_seen_and_the_old_copy_removed(small, build, change):
    before, fingerprint = RealImages(small).load("usps", "train"), RealImages(small).fingerprint("usps")
    change(small / "digits/usps")

    source = RealImages(small)
    after = source.load("usps", "train")

    same = len(before) == len(after) and np.array_equal(before.images, after.images)
    assert not (same and np.array_equal(before.labels, after.labels))
    assert source.fingerprint("usps") != fingerprint
    assert len(list(build.glob("cache/images/usps-*/train-*"))) == 1
    assert len(list(build.glob("cache/images/usps-*/*"))) == 3


def test_an_image_of_the_same_size_in_bytes_is_seen_by_its_time(small):
    image, (first, second) = small / "digits/usps/data/00000.png", noise(2, channels=1, seed=1)
    Image.fromarray(first[0]).save(image, compress_level=0)
    RealImages(small).load("usps", "train")
    size = image.stat().st_size
    Image.fromarray(second[0]).save(image, compress_level=0)

    assert image.stat().st_size == size
    np.testing.assert_array_equal(RealImages(small).load("usps", "train").images[0], second)


def test_the_fingerprint_is_that_of_the_images_not_of_their_files(small, tmp_path, build):
    fingerprint = RealImages(small).fingerprint("usps")

    os.utime(small / "digits/usps/data/00001.png", (0, 0))
    assert RealImages(small).fingerprint("usps") == fingerprint
    shutil.copytree(small, tmp_path / "copy")
    assert RealImages(tmp_path / "copy").fingerprint("usps") == fingerprint
    assert len(list(build.glob("cache/images/*"))) == 2  # one for each folder


def test_the_digest_of_a_split_is_that_of_its_pixels_and_labels(small, tmp_path, monkeypatch):
    shutil.copytree(small, tmp_path / "copy")
    source = RealImages(small)
    digest = source.digest("usps", "val")
    assert len(bytes.fromhex(digest)) == 32
    assert digest == RealImages(tmp_path / "copy").digest("usps", "val") != source.digest("usps", "test")

    monkeypatch.setattr(png, "decode", None)
    assert RealImages(small).digest("usps", "val") == digest, "from the cache"
    monkeypatch.undo()
    write_csv(tmp_path / "copy/digits/usps/val.csv", ["00006.png", "00007.png"], [6, 8])
    assert RealImages(tmp_path / "copy").digest("usps", "val") != digest
    with pytest.raises(UserError, match="no split 'validation'"):
        source.digest("usps", "validation")


def test_what_is_loaded_is_noted_by_its_digest(small):
    source = RealImages(small)
    used.forget()
    source.load("usps", "val")
    assert used.notes() == {"images: usps val": source.digest("usps", "val")}
    source.fingerprint("usps")
    assert used.notes() == {f"images: usps {split}": source.digest("usps", split) for split in SPLITS}


def test_equal_folders_of_other_layouts_have_equal_fingerprints(tmp_path, build):
    images, labels = noise(22), [i % 10 for i in range(22)]
    write_2022(tmp_path / "a/digits/svhn", images, labels, sizes=(18, 2, 2))
    folder = tmp_path / "b/digits/svhn"
    train, test = write_pngs(folder / "train", images[:20]), write_pngs(folder / "test", images[20:])
    write_csv(folder / "train.csv", train, labels[:20])
    write_csv(folder / "test.csv", test, labels[20:])
    assert RealImages(tmp_path / "a").fingerprint("svhn") == RealImages(tmp_path / "b").fingerprint("svhn")


def truncated(folder: Path) -> None:
    os.truncate(folder / "images.npy", 500)


def empty(folder: Path) -> None:
    os.truncate(folder / "images.npy", 0)


def gone(folder: Path) -> None:
    (folder / "images.npy").unlink()


def a_pickle(folder: Path) -> None:
    (folder / "images.npy").write_bytes(pickle.dumps(np.zeros(3)))


@pytest.mark.parametrize("damage", [truncated, empty, gone, a_pickle])
def test_a_damaged_copy_is_made_again(small, build, damage):
    RealImages(small).load("usps", "train")
    damage(next(build.glob("cache/images/usps-*/train-*")))
    np.testing.assert_array_equal(RealImages(small).load("usps", "train").images, noise(10, channels=1)[:6])


# Other processes

BUILD = """
import os, signal, sys, time
from hw2lib.data import png
from hw2lib.data.folders import RealImages
decode = png.decode
{how}
png.decode = decode_so
print(RealImages(sys.argv[1]).load("usps", "train").images.sum())
"""
TOGETHER = """
def decode_so(*arguments):
    digest = decode(*arguments)
    print("decoded", flush=True)
    sys.stdin.readline()
    return digest
"""
KILLED = """
def decode_so(folder, names, size, npy, title):
    decode(folder, names, size, npy, title)
    os.truncate(npy, 1000)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def start(how: str, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", BUILD.format(how=how), str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_that_build_at_the_same_time_both_read_the_whole(small, build):
    processes = [start(TOGETHER, small) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "decoded\n"
    (unfinished,) = build.glob("cache/images/*")
    assert len(list(unfinished.iterdir())) == 2  # both have decoded and neither has put its copy in place

    total = noise(10, channels=1)[:6].sum()
    for process in processes:
        out, err = process.communicate("\n")
        assert (process.returncode, out) == (0, f"{total}\n"), err
    assert [path.name.partition("-")[0] for path in unfinished.iterdir()] == ["train"]


def test_a_build_that_is_killed_leaves_nothing_under_the_final_name(small, build):
    process = start(KILLED, small)
    process.communicate()
    assert process.returncode == -9
    (left,) = build.glob("cache/images/usps-*/*")
    assert left.name.startswith(".building-")

    os.utime(left, (time.time() - 25 * 3600,) * 2)
    np.testing.assert_array_equal(RealImages(small).load("usps", "train").images, noise(10, channels=1)[:6])
    assert not left.exists()  # swept away when it is a day old


# Where it cannot be written


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, build, small_disk, monkeypatch):
    write_2022(tmp_path / "digits/usps", noise(600, channels=1), [0] * 600, sizes=(598, 1, 1))
    small_disk.leave(64)
    monkeypatch.setenv("HW2_BUILD", str(small_disk.path))
    with pytest.raises(UserError, match=r"the cache cannot be written: .*make room"):
        RealImages(tmp_path).load("usps", "train")
    assert [path for path in small_disk.path.rglob("*") if path.is_file()] == []
    assert len(RealImages(tmp_path).load("usps", "val")) == 1  # which fits


def test_a_build_folder_that_is_a_file_is_one_line(small, build):
    build.write_text("")
    with pytest.raises(UserError, match="the cache cannot be written: Not a directory"):
        RealImages(small).load("usps", "train")
