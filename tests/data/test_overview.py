"""``hw2 data`` says what is where, as far as it knows, and ends with one line and status 2 on bad input."""

import pytest
from image_folders import noise, write_2022, write_2023, write_csv, write_pngs

from hw2lib.data import fetch as fetching
from hw2lib.data.folders import RealImages

pytestmark = pytest.mark.usefixtures("build")


def lines_by_domain(table: str) -> dict[str, str]:
    return {line.split()[0]: " ".join(line.split()[1:]) for line in table.splitlines()[2:]}


@pytest.fixture
def images(small, tmp_path, monkeypatch):
    """USPS in grey (2022/23), MNIST-M in RGB (2021), a domain of one's own, faces; USPS as many as were published."""
    folder = small / "digits/mnistm"
    write_csv(folder / "train.csv", write_pngs(folder / "train", noise(20)), [0] * 20)
    write_csv(folder / "test.csv", write_pngs(folder / "test", noise(3)), [0] * 3)
    write_2022(small / "digits/mine", noise(10), range(10))
    write_pngs(small / "face/train", noise(4, size=64))
    registry = tmp_path / "downloads.toml"
    registry.write_text(
        "[mnistm]\ntrain = 20\ntest = 5\n[svhn]\ntrain = 1\ntest = 1\nmegabytes = 246\n[usps]\ntrain = 8\ntest = 2\n"
    )
    monkeypatch.setattr(fetching, "REGISTRY", registry)
    return small


def test_status_says_what_is_there_and_what_is_known_of_it(images, hw2):
    RealImages(images).fingerprint("usps")

    status, out, _ = hw2("data", "status", "--data-dir", str(images))

    assert status == 0
    assert lines_by_domain(out) == {
        "mine": "2022/23 RGB 6 2 2 not all images decoded yet; no published counts to compare with",
        "mnistm": "2021 RGB 18 2 3 not all images decoded yet; not the published counts: test 3 of 5",
        "usps": "2022/23 grey 6 2 2 every image decoded; counts equal the published ones",
        "face": "faces RGB 4 - - not all images decoded yet; no published counts to compare with",
        "svhn": "- - - - - not there; hw2 data fetch svhn (246 MB)",
    }


def test_status_says_what_is_there_of_the_folder_of_2023(small, tmp_path, hw2):
    there = (
        "2023 - - - - neither train/ nor val/, but GT/ (10 files), UNet.pt, noise/ (10 files); notebooks 40 to 42 use"
    )
    for folder, usps in (
        (small, "2022/23 grey 6 2 2"),
        (tmp_path / "alone", "- - - - - not there; hw2 data fetch usps"),
    ):
        write_2023(folder / "face", 16, {})
        status, out, _ = hw2("data", "status", "--data-dir", str(folder))
        assert status == 0
        assert lines_by_domain(out)["face"].startswith(there)
        assert lines_by_domain(out)["usps"].startswith(usps)


def test_a_broken_domain_is_reported_beside_the_others(images, hw2):
    (images / "digits/usps/val.csv").write_text("image_name,label\n00000.png,12\n")
    status, out, _ = hw2("data", "status", "--data-dir", str(images))
    assert status == 2
    assert "val.csv, line 2: label '12'" in lines_by_domain(out)["usps"]
    assert lines_by_domain(out)["mine"].startswith("2022/23 RGB 6 2 2")


def test_the_folder_is_that_of_hw2_data_else_below_build(small, build, hw2, monkeypatch):
    status, _, err = hw2("data", "status")
    assert (status, err) == (
        2,
        f"hw2: error: {build}/images: no such folder of images; they are looked for in data_dir, else HW2_DATA, else "
        f"{build}/images: run `hw2 data fetch mnistm svhn usps`, or see data/README.md for what goes there\n",
    )
    monkeypatch.chdir(small.parent)
    for chosen in ([], ["--data-dir", "images"]):
        monkeypatch.setenv("HW2_DATA", "nowhere" if chosen else "images")
        status, out, _ = hw2("data", "status", *chosen)
        assert status == 0
        assert out.startswith(f"images in {small}\n")


def test_fetch_refuses_with_one_line(hw2, tmp_path):
    for domain, what in (("face", "CelebA may not be downloaded"), ("kmnist", "no download of a domain 'kmnist'")):
        status, _, err = hw2("data", "fetch", domain, "--data-dir", str(tmp_path))
        assert status == 2
        assert err.startswith(f"hw2: error: {what}")
        assert err.count("\n") == 1
