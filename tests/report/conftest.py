"""Projects of their own for the tests that run notebooks."""

import sys
from pathlib import Path

import pytest
from project import Project, save_notebook

from hw2lib import paths


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def project_with_spaces(tmp_path) -> Project:
    """A project in a folder with a space in its name, and Python too."""
    (tmp_path / "the python").symlink_to(sys.prefix)
    (tmp_path / "a project").mkdir()
    return Project(tmp_path / "a project", tmp_path / "the python" / "bin" / "python")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """The folder that ``hw2lib.paths`` takes for the repository in this process."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.delenv("HW2_BUILD", raising=False)
    (tmp_path / "notebooks").mkdir()
    return tmp_path


@pytest.fixture
def write_notebook(home):
    """Write a notebook in `home`, by name."""
    return lambda name, *cells, **options: save_notebook(home / "notebooks" / f"{name}.ipynb", *cells, **options)
