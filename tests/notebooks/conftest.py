"""Notebooks as a user runs them: `hw2 run` with the preset smoke, in a kernel of its own."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    return tmp_path_factory.mktemp("build")


@pytest.fixture(scope="module")
def run_hw2(build):
    def run(*arguments: str) -> subprocess.CompletedProcess:
        environment = os.environ | {"HW2_BUILD": str(build)}
        command = [sys.executable, "-m", "hw2lib", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    return run


@pytest.fixture(scope="module")
def run(run_hw2, build):
    def record_of(number: str, name: str, *settings: str, preset: str = "smoke") -> dict:
        done = run_hw2("run", number, "-p", f"preset={preset}", *settings)
        assert done.returncode == 0, done.stderr[-2000:]
        folder = build / preset / "figures" / name
        record = json.loads((folder / "record.json").read_text())
        for figure in record["figures"]:
            with Image.open(folder / figure["file"]) as picture:
                assert 600 < picture.width < 2400
                assert len(picture.convert("RGB").getcolors(1 << 20)) > 20, f"{figure['file']} is nearly empty"
        return record

    return record_of
