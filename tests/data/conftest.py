"""A tiny folder of images, a disk that is soon full, and the command line."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from image_folders import noise, write_2022

from hw2lib.cli import main


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
    """Makes a folder on a disk of so many KiB; where nothing may be mounted, no file of the process may get larger."""
    disk, limits = tmp_path / "disk", resource.getrlimit(resource.RLIMIT_FSIZE)
    disk.mkdir()

    def make(kib: int) -> Path:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(disk)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            resource.setrlimit(resource.RLIMIT_FSIZE, (kib * 1024, limits[1]))
        return disk

    yield make
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    subprocess.run(["umount", str(disk)], capture_output=True, check=False)


@pytest.fixture
def hw2(monkeypatch, capsys):
    """Runs ``hw2 …`` and returns exit status, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hw2", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code or 0, *capsys.readouterr()

    return run
