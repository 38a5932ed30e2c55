"""Every notebook keeps to the form of a page: one parameters cell, calls into the library, no stored output."""

import ast
from collections import Counter

import nbformat
import pytest

from hw2lib import comparison, paths, runs
from hw2lib.adaptation import tables as adaptation
from hw2lib.diffusion import faces
from hw2lib.diffusion import tables as diffusion
from hw2lib.gan import tables as gan
from hw2lib.report import parameters

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_a_page(file):
    notebook = nbformat.read(file, as_version=4)
    assert notebook.metadata.kernelspec.name == "hw2lib"
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        assert not cell.outputs
        assert cell.execution_count is None
        defined = [
            node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.FunctionDef | ast.ClassDef)
        ]
        assert not defined
        assert max(len(line) for line in cell.source.splitlines()) <= 120


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_explains_its_parameters(file):
    read = parameters.read(file)
    assert read["preset"].default == "quick"
    assert all(parameter.help for parameter in read.values())


PARTS = (gan, diffusion, faces, adaptation, comparison)


SHOWING = {name for part in PARTS for name in part.REPORT}
SLOW = ("12_gan_scores", "60_comparison")  # they look for faces in hundreds of images
MARKED = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in sorted(SHOWING)]


@pytest.mark.parametrize("notebook", MARKED)
def test_a_notebook_shows_the_runs_that_the_report_asks_for(run, monkeypatch, notebook):
    """`hw2 train --missing` trains by ``REPORT``, and a notebook what it chooses."""
    shown, asked = Counter(), Counter()

    def finished(chosen, *settings, train: bool = True, with_weights: bool = False) -> list:
        shown.update(dict.fromkeys(chosen if train else (), with_weights))
        return []

    monkeypatch.setattr(runs, "finished", finished)
    run(notebook)
    for one in (one for part in PARTS for one in part.REPORT.get(notebook, [])):
        asked.update(dict.fromkeys(runs.asked("smoke", one), one.with_weights))
    assert shown.keys() == asked.keys()
    assert +shown == +asked, "those whose weights are needed"


def test_no_other_notebook_shows_runs():
    showing = {file.stem for file in NOTEBOOKS if "runs.finished" in file.read_text()}
    assert showing == SHOWING
