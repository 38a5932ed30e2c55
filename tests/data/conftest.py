"""A tiny folder of images, and a disk that is soon full."""

from pathlib import Path

import pytest
from image_folders import noise, write_2022
from small_disk import SmallDisk


@pytest.fixture
def build(tmp_path, monkeypatch) -> Path:
    """A build folder of the test's own."""
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    monkeypatch.delenv("HW2_DATA", raising=False)
    return tmp_path / "build"


@pytest.fixture
def small(tmp_path, build) -> Path:
    """A folder with ten USPS images in grey: 6 train, 2 val, 2 test, with the labels 0 to 9."""
    write_2022(tmp_path / "images/digits/usps", noise(10, channels=1), range(10))
    return tmp_path / "images"


@pytest.fixture
def small_disk(tmp_path):
    disk = SmallDisk(tmp_path / "disk")
    yield disk
    disk.close()
