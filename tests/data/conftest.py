"""A tiny folder of images, a disk that is soon full, and the command line."""

import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
from image_folders import noise, write_2022


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


class SmallDisk:
    """A disk of 1 MiB at ``path``. Where nothing may be mounted, a limit on the size of files stands in for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self._mounted = self._call("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path))
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def leave(self, kib: int) -> None:
        """Leave so much room, rounded up to the disk's blocks of 4 KiB (or let no file get larger)."""
        if self._mounted:
            disk = os.statvfs(self.path)
            used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize // 1024
            assert self._call("mount", "-o", f"remount,size={used + kib}k", str(self.path))
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (kib * 1024, self._limits[1]))

    def close(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
        if self._mounted:
            self._call("umount", str(self.path))

    @staticmethod
    def _call(*command: str) -> bool:
        return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    disk = SmallDisk(tmp_path / "disk")
    yield disk
    disk.close()
