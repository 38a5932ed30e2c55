"""Every notebook keeps to the form of a page: one parameters cell, calls into the library, no stored output."""

import ast

import nbformat
import pytest

from hw2lib import paths
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
