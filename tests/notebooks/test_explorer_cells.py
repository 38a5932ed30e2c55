"""Notebook 90, and the explorers at the end of others."""

import json

import pytest

from hw2lib import explore, paths
from hw2lib.report import parameters

EXPLORER = "from hw2lib import explore\n\nexplore."


def test_all_explorers(run):
    record = run("90")
    assert record["figures"] == []
    assert "module: hw2lib/explore/domains.py" in record["inputs"]


def test_each_explorer_is_in_notebook_90_and_at_the_end_of_another():
    (page,) = paths.NOTEBOOKS.glob("90*.ipynb")
    assert {name for name in explore.PLACES if f"explore.{name}(" in page.read_text()} == set(explore.PLACES)
    ends = [parameters.load(file)["cells"][-1] for file in paths.NOTEBOOKS.glob("[0-8]*.ipynb")]
    ends = [cell["source"] for cell in ends if "explorer" in parameters.tags(cell)]
    assert all(source.startswith(EXPLORER) for source in ends)
    assert sorted(source.removeprefix(EXPLORER).partition("(")[0] for source in ends) == sorted(explore.PLACES)


@pytest.mark.parametrize("file", sorted(paths.NOTEBOOKS.glob("[0-8]*.ipynb")), ids=lambda file: file.stem)
def test_an_explorer_follows_the_page(file):
    """Its modules, weights and images are loaded once the record is written, and its cell does not count."""
    for cell in json.loads(file.read_text())["cells"][:-1]:
        assert "explore" not in "".join(cell["source"])
