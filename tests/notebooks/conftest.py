"""Notebooks cell by cell in this process, with the preset smoke: a kernel and its imports would take most of the time.

Real kernels run in tests/report, tests/browser, and, all notebooks of the report, in the slow test of this folder.
"""

import json
import os

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image

from hw2lib import paths, used
from hw2lib.report import parameters


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """The build folder of all notebook tests of this process, so that one shows the runs that another has trained."""
    return tmp_path_factory.mktemp("build")


@pytest.fixture
def run(build, monkeypatch):
    """Run a notebook, ``run("51", "-p", "seeds=0")``, look at its figures, and return its record."""
    monkeypatch.setenv("HW2_BUILD", str(build))
    monkeypatch.delenv("HW2_DATA", raising=False)
    # One core, so that runs are trained here and not in processes of their own.
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    monkeypatch.chdir(paths.NOTEBOOKS)
    InteractiveShell.instance()  # so that what is displayed can be captured

    def record_of(number: str, *settings: str, preset: str = "smoke") -> dict:
        (file,) = paths.NOTEBOOKS.glob(f"{number}*.ipynb")
        namespace = parameters.check(file, parameters.split([*settings[1::2], f"preset={preset}"]))
        used.forget()
        for cell in parameters.load(file)["cells"]:
            if cell["cell_type"] == "code":
                given = dict(namespace) if parameters.is_parameters(cell) else {}
                with capture_output():
                    exec(compile(cell["source"], file.name, "exec"), namespace)
                namespace |= given
        folder = build / preset / "figures" / file.stem
        record = json.loads((folder / "record.json").read_text())
        for figure in record["figures"]:
            with Image.open(folder / figure["file"]) as picture:
                assert 500 < picture.width < 2400
                assert len(picture.convert("RGB").getcolors(1 << 20)) > 20, f"{figure['file']} is nearly empty"
        return record

    return record_of
