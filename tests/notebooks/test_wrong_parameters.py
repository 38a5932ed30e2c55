"""A parameter of a wrong type ends a notebook in one clear line before anything is written, however it is run."""

import os
import subprocess
import sys

import nbformat
import pytest

from hw2lib import paths, runs
from hw2lib.errors import UserError
from hw2lib.report import parameters

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
WRONG = {
    "int": "3",
    "float": float("nan"),
    "str": 3,
    "bool": "no",
    "list[int]": "3",
    "list[float]": [None],
    "list[str]": "usps",
}


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_the_first_cell_below_the_parameters_checks_each_of_them(file, tmp_path, monkeypatch):
    monkeypatch.setenv("HW2_BUILD", str(tmp_path))
    monkeypatch.setattr(runs, "finished", lambda *args, **options: pytest.fail("it has begun"))
    monkeypatch.chdir(paths.NOTEBOOKS)
    code = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    assert parameters.is_parameters(code[0])
    for name, parameter in parameters.read(file).items():
        namespace = {}
        exec(code[0].source, namespace)
        namespace[name] = WRONG[parameter.type]
        with pytest.raises(UserError) as error:
            exec(code[1].source, namespace)
        assert str(error.value).startswith(f"{file.stem}: parameter {name} must be {parameters.WANTED[parameter.type]}")
        assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.timeout(600)
def test_papermill_alone_leaves_the_earlier_result_of_a_good_run(tmp_path):
    def papermill(*settings: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "papermill", "notebooks/00_data.ipynb", str(tmp_path / "out.ipynb")]
        environment = os.environ | {"HW2_BUILD": str(tmp_path), "PYTHONPATH": str(paths.ROOT)}
        command += ["-p", "preset", "smoke", *settings]
        return subprocess.run(command, cwd=paths.ROOT, env=environment, capture_output=True, text=True)

    done = papermill("-y", "domains: [usps]")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "smoke/figures/00_data"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert {"record.json", "digits.png"} <= before.keys()
    done = papermill("-p", "domains", "usps")
    assert done.returncode != 0
    told = 'UserError: 00_data: parameter domains must be words (list[str]) such as a,b or ["a", "b"], not \'usps\''
    assert done.stderr.strip().splitlines()[-1] == told
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
