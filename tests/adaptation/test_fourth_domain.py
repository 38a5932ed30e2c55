"""A domain that the library does not know: added by name, then source or target like the others."""

from pathlib import Path

import pytest
from synthetic import Synthetic, write_folder

from hw2lib.data.folders import RealImages
from hw2lib.files import read_json


@pytest.fixture
def images(tmp_path, monkeypatch, hw2) -> Path:
    """MNIST-M and USPS, and the patterns of MNIST-M again as the domain ``clean``."""
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    home = write_folder(Synthetic(), tmp_path / "images")
    status, out, _ = hw2("data", "add", "clean", str(home / "digits/mnistm"), "--data-dir", str(home))
    assert (status, out) == (0, f"clean: 200 train, 30 val, 100 test in {home}/digits/clean\n")
    return home


@pytest.mark.parametrize("network", ["dann-compact", "uda-cnn"])
@pytest.mark.parametrize("pair", ["clean-usps", "usps-clean"])
def test_it_is_a_source_or_target_by_name(hw2, images, network, pair):
    method = ["--method", "dann"] if network == "dann-compact" else []
    arguments = ["--pair", pair, *method, "--preset", "smoke", "--data-dir", str(images)]
    status, out, _ = hw2("train", network, *arguments)
    assert status == 0
    card = read_json(Path(out.split()[-1]) / "card.json")
    assert f"{card['settings']['source']}-{card['settings']['target']}" == pair
    assert card["settings"]["data"]["clean"] == RealImages(images).fingerprint("clean")
    assert "clean" in card["images"]
    assert all(0 <= accuracy <= 100 for accuracy in card["accuracy"].values())


def test_one_that_is_not_there_is_named(hw2, images):
    status, _, err = hw2(
        "train", "dann-compact", "--pair", "usps-dirty", "--preset", "smoke", "--data-dir", str(images)
    )
    assert status == 2
    assert "no domain 'dirty'; there are clean, mnistm, usps" in err
