"""A folder of generated images is read whole and in order, or refused in one line."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from hw2lib.data.image_folder import labels_in_names, read_folder
from hw2lib.errors import UserError


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).integers(0, 256, shape, np.uint8)


def test_images_come_in_the_order_of_their_names_and_grey_becomes_rgb(tmp_path):
    colour, grey = noise(8, 8, 3), noise(8, 8)
    Image.fromarray(colour).save(tmp_path / "b.PNG", "PNG")
    Image.fromarray(grey).save(tmp_path / "a.png")
    for name in (".hidden.png", "._a.png", ".DS_Store", "Thumbs.db", "notes.txt", "c.jpg"):
        (tmp_path / name).write_text("no image")
    (tmp_path / "below").mkdir()

    names, images = read_folder(tmp_path, 8)

    assert names == ["a.png", "b.PNG"]
    assert images.dtype == torch.uint8
    np.testing.assert_array_equal(images[0], np.stack([grey] * 3))
    np.testing.assert_array_equal(images[1], colour.transpose(2, 0, 1))


def test_bad_folders_are_refused(tmp_path):
    def refused(what: str) -> None:
        with pytest.raises(UserError, match=what) as error:
            read_folder(tmp_path / "set", 8)
        assert "\n" not in str(error.value)

    refused("set: cannot be read: No such file or directory; name a folder of PNG images")
    (tmp_path / "set").write_text("a file")
    refused("set: cannot be read: Not a directory")
    os.unlink(tmp_path / "set")
    (tmp_path / "set").mkdir()
    refused("set: holds no PNG image; a score needs two at least")
    (tmp_path / "set/a.jpg").write_text("x")
    refused("set: holds no PNG image")
    Image.fromarray(noise(8, 8)).save(tmp_path / "set/a.png")
    refused("set: holds 1 PNG image; a score needs two at least")
    Image.fromarray(noise(9, 9)).save(tmp_path / "set/b.png")
    refused(r"set/b\.png: 9x9 pixels; it must be 8x8")
    whole = (tmp_path / "set/a.png").read_bytes()
    (tmp_path / "set/b.png").write_bytes(whole[:60])
    refused(r"set/b\.png: truncated")
    os.unlink(tmp_path / "set/b.png")
    (tmp_path / "set/b.png").mkdir()
    refused(r"set/b\.png: cannot be read: Is a directory")


def test_labels_are_the_digits_that_names_begin_with(tmp_path):
    assert labels_in_names(tmp_path, ["0_001.png", "7_100.png", "9.png", "3-a.png"]).tolist() == [0, 7, 9, 3]


@pytest.mark.parametrize("name", ["00001.png", "seven.png", "_7.png", "12_1.png", "٣_1.png"])
def test_a_name_without_a_label_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=f"{name}: the name does not begin with the image's digit, as 7_001.png does"):
        labels_in_names(tmp_path, ["0_001.png", name])
