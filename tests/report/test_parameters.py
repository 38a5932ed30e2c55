"""Parameters: what the cell says, and what somebody may set."""

import json

import pytest

from hw2lib.errors import UserError
from hw2lib.report import parameters

CELL = """\
# A comment of its own.
preset = "quick"  # smoke, quick or paper
seed: int = 0
rate: float = 1  # per step = small
mirror = False
pairs = ["mnistm-svhn"]
shift = -2
sizes = [1, 2]
seeds: list[int] = []  # empty: all
scales: list[float] = [1]
names: list = ["a"]
"""


@pytest.fixture
def notebook(home, write_notebook):
    return write_notebook("10_some", "x = 1", parameters=CELL)


def test_the_cell_is_read(notebook):
    found = parameters.read(notebook)
    assert [(p.name, p.default, p.type) for p in found.values()] == [
        ("preset", "quick", "str"),
        ("seed", 0, "int"),
        ("rate", 1, "float"),
        ("mirror", False, "bool"),
        ("pairs", ["mnistm-svhn"], "list[str]"),
        ("shift", -2, "int"),
        ("sizes", [1, 2], "list[int]"),
        ("seeds", [], "list[int]"),
        ("scales", [1], "list[float]"),
        ("names", ["a"], "list[str]"),
    ]
    assert found["rate"].help == "per step = small"
    assert found["seed"].help == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("seed=-3", -3),
        ("rate=3", 3.0),
        ("rate=1e-3", 0.001),
        ("mirror=True", True),
        ("mirror=false", False),
        ("preset=3", "3"),
        ("preset=a=b", "a=b"),
        ("pairs=a,b", ["a", "b"]),
        ('pairs=["a, b"]', ["a, b"]),
        ("pairs=", []),
        ("sizes=3, 4", [3, 4]),
        ("sizes=[3, 4]", [3, 4]),
        ("seeds=3", [3]),
        ("seeds=", []),
        ("scales=1,0.5", [1.0, 0.5]),
        ("names=1", ["1"]),
    ],
)
def test_text_takes_the_type_of_the_parameter(notebook, text, value):
    (found,) = parameters.check(notebook, parameters.split([text])).values()
    assert found == value
    assert repr(found) == repr(value)  # 1 is no 1.0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed=1.5", "seed must be an integer, not '1.5'"),
        ("seed=", "seed must be an integer, not ''"),
        ("rate=nan", "rate must be a finite number, not 'nan'"),
        ("mirror=1", "mirror must be true or false, not '1'"),
        ("sizes=a", "sizes must be integers (list[int]) such as"),
        ("sizes=[1.5]", "sizes must be integers (list[int]) such as"),
        ("sizes=[1", "sizes must be integers (list[int]) such as"),
        ("seeds=banana", "seeds must be integers (list[int]) such as 1,2 or [1, 2], not 'banana'"),
        ("seeds=1,,b", "seeds must be integers"),
        ("scales=[0.1, NaN]", "scales must be finite numbers (list[float]) such as"),
        ("names=[a]", "names must be words (list[str]) such as"),
        ("Seed=1", "unknown parameter 'Seed'; did you mean seed?"),
        ("zzz=1", "unknown parameter 'zzz'; it has preset (str, default 'quick'), seed (int, default 0)"),
        ("=1", "write -p NAME=VALUE"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(notebook, text, told):
    with pytest.raises(UserError) as error:
        parameters.check(notebook, parameters.split([text]))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("seed = 1 + 1", "'seed' must be a literal of type"),
        ("seed = None", "'seed' must be a literal of type"),
        ("seed: 'int | None' = 1", "'seed' must be a literal of type int, float"),
        ("seed: int = 1.5", "'seed' must be a literal of type int, float"),
        ("seeds = []", "'seeds' must be a literal of type .*an empty list says which"),
        ("seeds: list = []", "an empty list says which"),
        ("seeds: list[int] = ['a']", "'seeds' must be a literal"),
        ("seeds: list[int] = 1", "'seeds' must be a literal"),
        ("seeds: list = 1", "'seeds' must be a literal"),
        ("seeds = [[1]]", "'seeds' must be a literal"),
        ("seed = 1\nimport os", "line 2: write NAME = VALUE"),
        ("seed = (", "is not Python"),
    ],
)
def test_a_cell_that_papermill_would_misread_is_refused(home, write_notebook, cell, told):
    with pytest.raises(UserError, match=told):
        parameters.read(write_notebook("10_some", parameters=cell))


def test_there_is_exactly_one_parameters_cell(notebook):
    node = json.loads(notebook.read_text())
    for cells, count in ([node["cells"][1:], 0], [node["cells"] + node["cells"][:1], 2]):
        notebook.write_text(json.dumps(node | {"cells": cells}))
        with pytest.raises(UserError, match=f"{count} cells are tagged 'parameters'; it needs exactly one"):
            parameters.read(notebook)


@pytest.mark.parametrize("content", ["", "[]", '{"worksheets": []}', '{"cells": [{}]}', '{"cells": [3]}'])
def test_what_is_no_notebook_is_refused(home, content):
    file = home / "notebooks" / "10_some.ipynb"
    file.write_text(content)
    with pytest.raises(UserError, match=r"10_some\.ipynb: not a notebook of format 4"):
        parameters.read(file)
