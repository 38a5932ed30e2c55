"""Both layouts of the homework come out as they went in; whatever is wrong with a folder is one clear line."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from image_folders import litter, noise, write_2022, write_2023, write_csv, write_pngs
from PIL import Image

from hw2lib.data import source
from hw2lib.data.folders import RealImages
from hw2lib.errors import UserError

pytestmark = pytest.mark.usefixtures("build")


def refused(call, *parts: str) -> None:
    """The call is refused in one line that holds all the parts."""
    with pytest.raises(UserError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


# What is read


@pytest.mark.parametrize("channels", [1, 3])
def test_layout_2022_gives_each_split_its_images_in_the_order_of_its_csv(tmp_path, channels):
    images = noise(10, channels=channels)
    names = write_pngs(tmp_path / "digits/svhn/data", images)
    order = {"train": [5, 1, 3, 0], "val": [9, 2], "test": [4]}
    for split, rows in order.items():
        write_csv(tmp_path / f"digits/svhn/{split}.csv", [names[i] for i in rows], [i % 10 for i in rows])

    source = RealImages(tmp_path)

    assert source.splits("svhn") == ("train", "val", "test")
    for split, rows in order.items():
        found = source.load("svhn", split)
        assert (found.domain, found.split, found.origin) == ("svhn", split, "real")
        assert found.images.dtype == np.uint8
        assert found.labels.dtype == np.int64
        np.testing.assert_array_equal(found.images, images[rows])
        np.testing.assert_array_equal(found.labels, rows)


def test_layout_2021_has_the_last_tenth_of_train_as_val(tmp_path):
    images = noise(25)
    folder = tmp_path / "digits/mnistm"
    write_csv(folder / "train.csv", write_pngs(folder / "train", images[:20]), [i % 10 for i in range(20)])
    write_csv(folder / "test.csv", write_pngs(folder / "test", images[20:]), range(5))

    source = RealImages(tmp_path)

    assert source.layout("mnistm") == "2021"
    assert source.splits("mnistm") == ("train", "val", "test")
    np.testing.assert_array_equal(source.load("mnistm", "train").images, images[:18])
    np.testing.assert_array_equal(source.load("mnistm", "val").images, images[18:20])
    np.testing.assert_array_equal(source.load("mnistm", "val").labels, [8, 9])
    np.testing.assert_array_equal(source.load("mnistm", "test").images, images[20:])


def test_faces_have_no_labels_and_come_by_name(tmp_path):
    images = noise(12, size=64)
    write_pngs(tmp_path / "face/train", images[6:], first=6)
    write_pngs(tmp_path / "face/train", images[:6])
    write_pngs(tmp_path / "face/val", images[:1])

    source = RealImages(tmp_path)

    assert source.splits("face") == ("train", "val")
    assert source.load("face", "train").labels is None
    np.testing.assert_array_equal(source.load("face", "train").images, images)


def test_faces_of_2021_have_their_test_images_as_val(tmp_path):
    write_pngs(tmp_path / "face/train", noise(3, size=64))
    write_pngs(tmp_path / "face/test", noise(2, size=64, seed=1))
    source = RealImages(tmp_path)
    assert source.splits("face") == ("train", "val", "test")
    for split in ("val", "test"):
        np.testing.assert_array_equal(source.load("face", split).images, noise(2, size=64, seed=1))


def test_the_folder_of_2023_has_no_faces_and_its_digits_are_read(tmp_path):
    write_2022(tmp_path / "digits/usps", noise(10, channels=1), range(10))
    write_2023(tmp_path / "face", 16, {})
    source = RealImages(tmp_path)
    assert source.domains() == ("usps",)
    assert len(source.load("usps", "train")) == 6
    for call in (source.fingerprint, source.splits, lambda domain: source.load(domain, "train")):
        holds = (
            f"{tmp_path}/face: no faces, neither train/ nor val/; it holds GT/ (10 files), UNet.pt, noise/ (10 files)"
        )
        refused(lambda call=call: call("face"), holds)


def test_what_systems_leave_in_folders_is_passed_over(tmp_path):
    write_2022(tmp_path / "digits/usps", noise(10, channels=1), range(10))
    write_pngs(tmp_path / "face/train", noise(3, size=64))
    clean = RealImages(tmp_path)
    expected = clean.domains(), clean.fingerprint("usps"), clean.fingerprint("face"), clean.kept_key()
    for folder in ("", "digits", "digits/usps", "digits/usps/data", "face", "face/train"):
        litter(tmp_path / folder)
    found = RealImages(tmp_path)
    assert (found.domains(), found.fingerprint("usps"), found.fingerprint("face"), found.kept_key()) == expected


def test_any_folder_below_digits_is_a_domain(tmp_path):
    write_2022(tmp_path / "digits/synthetic", noise(10), range(10))
    write_2022(tmp_path / "digits/usps", noise(10, channels=1), range(10))
    source = RealImages(tmp_path)

    assert source.domains() == ("synthetic", "usps")
    assert source.load("synthetic", "test").images.shape == (2, 3, 28, 28)
    assert source.describe() == "real images: synthetic, USPS"
    assert source.describe(["usps"]) == "real images: USPS"
    assert source.describe(["usps", "synthetic"]) == "real images: USPS, synthetic"


def test_a_csv_may_have_spaces_blank_lines_windows_ends_and_a_byte_order_mark(small):
    csv = small / "digits/usps/val.csv"
    csv.write_bytes(b"\xef\xbb\xbfimage_name,label\r\n\r\n00007.png, 7\r\n\r\n00006.png ,2\r\n\r\n")
    found = RealImages(small).load("usps", "val")
    np.testing.assert_array_equal(found.images, noise(10, channels=1)[[7, 6]])
    np.testing.assert_array_equal(found.labels, [7, 2])


def test_many_images_decoded_by_several_processes_keep_their_order(tmp_path):
    images = noise(1100, channels=1)
    write_2022(tmp_path / "digits/usps", images, [0] * 1100, sizes=(1098, 1, 1))
    np.testing.assert_array_equal(RealImages(tmp_path).load("usps", "train").images, images[:1098])


def without_labels(csv) -> None:
    csv.write_text("".join(line.partition(",")[0] + "\n" for line in csv.read_text().splitlines()))


def test_labels_that_are_not_known_may_be_left_out(small):
    for split in ("train", "test"):
        without_labels(small / f"digits/usps/{split}.csv")
    source = RealImages(small)
    found = source.load("usps", "train")
    assert found.labels is None
    np.testing.assert_array_equal(found.images, noise(10, channels=1)[:6])
    np.testing.assert_array_equal(source.load("usps", "val").labels, [6, 7])
    assert source.load("usps", "train").labels is None, "nor when it comes from the cache"


def test_train_without_labels_is_carved_in_the_layout_of_2021(tmp_path):
    images = noise(20)
    folder = tmp_path / "digits/mnistm"
    write_csv(folder / "train.csv", write_pngs(folder / "train", images), [0] * 20)
    without_labels(folder / "train.csv")
    found = RealImages(tmp_path).load("mnistm", "val")
    np.testing.assert_array_equal(found.images, images[18:])
    assert found.labels is None


def test_a_label_below_a_header_without_labels_is_refused(small):
    csv = small / "digits/usps/val.csv"
    csv.write_text("image_name\n00006.png\n00007.png,3\n")
    refused(lambda: RealImages(small).load("usps", "val"), f"{csv}, line 3: 2 fields; a row is image_name")


# Where it is looked for


def test_images_are_those_of_the_given_folder_else_of_hw2_data_else_below_build(small, build, monkeypatch):
    refused(lambda: source("paper"), "data_dir", "HW2_DATA", f"{build}/images", "hw2 data fetch mnistm svhn usps")
    write_2022(build / "images/digits/svhn", noise(10), range(10))
    assert source("paper").domains() == ("svhn",)
    write_2022(build.parent / "others/digits/mine", noise(10), range(10))
    monkeypatch.setenv("HW2_DATA", str(build.parent / "others"))
    assert source("paper").domains() == ("mine",)
    for preset in ("paper", "quick"):
        assert source(preset, str(small)).domains() == ("usps",)
    assert source("quick").origin == "stand-in"
    monkeypatch.setenv("HW2_DATA", str(build.parent / "nowhere"))
    refused(lambda: source("paper"), f"{build.parent}/nowhere: no such folder")  # and not those below build


def test_a_relative_folder_is_named_in_full(small, monkeypatch):
    monkeypatch.chdir(small.parent)
    images = RealImages("images")
    monkeypatch.chdir("/")
    assert images.folder("usps") == small / "digits/usps"
    assert len(images.load("usps", "train")) == 6


@pytest.mark.parametrize("data_dir", ["", "images"])
def test_an_unknown_preset_is_refused(small, monkeypatch, data_dir):
    monkeypatch.chdir(small.parent)
    refused(lambda: source("papre", data_dir), "unknown preset 'papre'; there are smoke, quick, paper")


def test_a_missing_or_empty_data_folder_is_refused(tmp_path):
    refused(lambda: RealImages(tmp_path / "nowhere"), f"{tmp_path}/nowhere", "data/README.md")
    (tmp_path / "empty").mkdir()
    refused(lambda: RealImages(tmp_path / "empty"), f"{tmp_path}/empty", "data/README.md")


def test_what_is_not_there_is_refused_with_what_is(small):
    source = RealImages(small)
    refused(lambda: source.load("svhn", "train"), "no domain 'svhn'", "usps")
    refused(lambda: source.load("../usps", "train"), "no domain '../usps'")
    refused(lambda: source.load("usps", "validation"), "no split 'validation'", "train, val, test")
    (small / "digits/usps/val.csv").unlink()
    assert source.splits("usps") == ("train", "test")
    refused(lambda: source.load("usps", "val"), "no split 'val'", "train, test")


def test_a_split_without_images_is_refused(small, tmp_path):
    for image in (small / "digits/usps/data").iterdir():
        image.unlink()
    refused(lambda: RealImages(small).load("usps", "train"), "digits/usps/data", "no PNG images")
    (tmp_path / "images/face/train").mkdir(parents=True)
    refused(lambda: RealImages(small).load("face", "train"), "face/train", "no PNG images")


# What is wrong with a csv


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        ("00000.png,3\n", 1, "image_name,label"),
        ("", 1, "image_name,label"),
        ("image_name,label\n00000.png,3\nnone.png,1\n", 3, "'none.png' is not among the PNG files"),
        ("image_name,label\n00000.png,10\n", 2, "label '10'"),
        ("image_name,label\n00000.png,-1\n", 2, "label '-1'"),
        ("image_name,label\n00000.png,3.0\n", 2, "label '3.0'"),
        ("image_name,label\n00000.png,\n", 2, "label ''"),
        ("image_name,label\n00000.png\n", 2, "1 fields"),
        ("image_name,label\n00000.png,1\n00001.png,1\n00000.png,1\n", 4, "'00000.png' a second time"),
        ("image_name,label\n../data/00000.png,1\n", 2, "is a path"),
        ("image_name,label\n/etc/passwd,1\n", 2, "is a path"),
        ("image_name,label\n..\\data\\00000.png,1\n", 2, "is a path"),
        ("image_name,label\n..,1\n", 2, "is a path"),
        ("image_name,label\n", None, "names no image"),
        (b"image_name,label\n\xff\xfe,1\n", None, "UTF-8"),
    ],
)
def test_a_csv_is_refused_with_its_name_and_line(small, content, line, what):
    csv = small / "digits/usps/train.csv"
    csv.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(lambda: RealImages(small).load("usps", "train"), f"{csv}, line {line}:" if line else f"{csv}:", what)


@pytest.mark.parametrize("asked", ["train", "test"])
def test_an_image_of_two_splits_is_refused(small, asked):
    folder = small / "digits/usps"
    write_csv(folder / "test.csv", ["00008.png", "00004.png"], [8, 4])
    refused(lambda: RealImages(small).load("usps", asked), "'00004.png'", f"{folder}/train.csv", f"{folder}/test.csv")
    assert len(RealImages(small).load("usps", "val")) == 2


def test_splits_that_are_cached_are_checked_again_when_one_of_them_changes(small):
    RealImages(small).fingerprint("usps")
    write_csv(small / "digits/usps/test.csv", ["00008.png", "00004.png"], [8, 4])
    refused(lambda: RealImages(small).fingerprint("usps"), "'00004.png'", "train.csv", "test.csv")


def test_in_the_layout_of_2021_two_splits_may_have_images_of_the_same_name(tmp_path):
    for split, seed in (("train", 0), ("test", 1)):
        folder = tmp_path / "digits/mnistm"
        names = write_pngs(folder / split, noise(10, seed=seed))
        write_csv(folder / f"{split}.csv", names, range(10))
    sizes = [len(RealImages(tmp_path).load("mnistm", split)) for split in ("train", "val", "test")]
    assert sizes == [9, 1, 10]


# What leads out of the folder


LINKED = pytest.mark.parametrize("linked", ["digits/usps/data/00000.png", "digits/usps/data", "digits/usps/train.csv"])


@LINKED
def test_links_that_lead_out_of_the_folder_are_refused(small, tmp_path, linked):
    (small / linked).rename(tmp_path / "outside")
    (small / linked).symlink_to(tmp_path / "outside")
    refused(lambda: RealImages(small).load("usps", "train"), str(small / linked), "leads out of")


@LINKED
def test_links_within_the_folder_and_to_the_folder_are_followed(small, tmp_path, linked):
    (small / linked).rename(small / "elsewhere")
    (small / linked).symlink_to(small / "elsewhere")
    (tmp_path / "link").symlink_to(small)
    assert len(RealImages(tmp_path / "link").load("usps", "train")) == 6


def test_a_link_to_nowhere_is_refused(small):
    (small / "digits/usps/data/00099.png").symlink_to("nowhere.png")
    refused(lambda: RealImages(small).load("usps", "train"), "00099.png", "No such file")


# What is wrong with an image


def png(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def altered(start: int, new: bytes) -> bytes:
    """An RGB image of 28x28 with other bytes in its header, whose checksum is mended."""
    content = bytearray(png(Image.new("RGB", (28, 28))))
    content[start : start + len(new)] = new
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


SIXTEEN_BIT_RGB = altered(24, b"\x10")  # Pillow cannot write one
HUGE = altered(16, struct.pack(">II", 50_000, 40_000))  # Pillow refuses it with an error of its own


WHOLE = png(Image.fromarray(noise(1, channels=1)[0, 0]))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not a PNG"),
        (WHOLE[:20], "truncated"),
        (WHOLE[: len(WHOLE) // 2], "truncated"),
        (WHOLE[:-12], "truncated"),
        (b"\xff\xd8\xff\xe0 a picture of another kind", "not a PNG"),
        (png(Image.new("L", (32, 32))), "32x32 pixels; it must be 28x28"),
        (png(Image.new("L", (28, 27))), "28x27 pixels; it must be 28x28"),
        (png(Image.fromarray(np.zeros((28, 28), np.uint16))), "16-bit"),
        (SIXTEEN_BIT_RGB, "16-bit"),
        (HUGE, "50000x40000 pixels; it must be 28x28"),
        (png(Image.new("RGBA", (28, 28))), "mode RGBA"),
        (png(Image.new("LA", (28, 28))), "mode LA"),
        (png(Image.new("P", (28, 28))), "mode P"),
        (png(Image.new("1", (28, 28))), "mode 1"),
        (png(Image.new("RGB", (28, 28))), "RGB among grey images"),
    ],
)
def test_an_image_is_refused_with_its_name_and_leaves_nothing_cached(small, build, content, what):
    image = small / "digits/usps/data/00003.png"
    image.write_bytes(content)
    refused(lambda: RealImages(small).load("usps", "train"), f"{image}: ", what)
    assert [path for path in build.rglob("*") if path.is_file()] == []


def test_a_grey_image_among_rgb_ones_is_refused(tmp_path):
    write_2022(tmp_path / "digits/svhn", noise(10), range(10))
    image = tmp_path / "digits/svhn/data/00005.png"
    image.write_bytes(WHOLE)
    refused(lambda: RealImages(tmp_path).load("svhn", "train"), f"{image}: grey among RGB images")


def test_an_error_in_a_worker_process_reaches_the_user_as_it_is(tmp_path):
    write_2022(tmp_path / "digits/usps", noise(1100, channels=1), [0] * 1100, sizes=(1098, 1, 1))
    image = tmp_path / "digits/usps/data/01050.png"
    image.write_bytes(WHOLE[:100])
    with pytest.raises(UserError, match=re.escape(str(image))):
        RealImages(tmp_path).load("usps", "train")


def test_faces_of_another_size_are_refused(tmp_path):
    write_pngs(tmp_path / "face/train", noise(2, size=28))
    refused(lambda: RealImages(tmp_path).load("face", "train"), "28x28 pixels; it must be 64x64")
