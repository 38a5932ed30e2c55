"""One notebook for each combination of parameters, and one table."""

import csv
import json
import re

import pytest

from hw2lib.report import sweep

PARAMETERS = 'preset = "smoke"\nseed = 0\nwords = ["a"]'
NUMBERS = """\
from pathlib import Path
open("runs.txt", "a").write(f"{seed},{words}\\n")
page.value("double", 2 * seed)
page.value("length", len(words))
if Path(f"fails{seed}").exists():
    raise report.page.UserError("no such seed")"""


@pytest.fixture(scope="module")
def swept(project):
    project.notebook("40_numbers", NUMBERS, parameters=PARAMETERS)
    return project


def runs(project, *arguments: str, status: int = 0) -> tuple[list[str], str, str]:
    """Sweep; return which combinations ran, and what was said on standard output and standard error."""
    log = project.root / "notebooks/runs.txt"
    log.write_text("")
    done = project.hw2("run", "40", "-p", "preset=smoke", *arguments)
    assert done.returncode == status, done.stderr
    return sorted(log.read_text().split("\n")[:-1]), done.stdout, done.stderr


@pytest.mark.slow
def test_each_combination_runs_once_and_the_table_has_them_all(swept):
    sweeps = ("--sweep", "seed=1,2", "--sweep", 'words=["a","b"],["c"]')
    ran, out, err = runs(swept, *sweeps)
    assert ran == ["1,['a', 'b']", "1,['c']", "2,['a', 'b']", "2,['c']"]
    folder = swept.root / "build/smoke/sweeps/40_numbers"
    table = folder / "seed,words.csv"
    assert out.splitlines()[-1] == str(table)
    assert (folder / "seed,words.md").read_text().strip() in out
    assert list(csv.reader(table.read_text().splitlines())) == [
        ["seed", "words", "double", "length"],
        ["1", '["a", "b"]', "2", "2"],
        ["1", '["c"]', "2", "1"],
        ["2", '["a", "b"]', "4", "2"],
        ["2", '["c"]', "4", "1"],
    ]
    assert "4/4 " in err
    pages = [json.loads(file.read_text())["parameters"] for file in folder.glob("*/record.json")]
    assert sorted((page["seed"], len(page["words"])) for page in pages) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert len(list(folder.glob("*.ipynb"))) == 4
    assert not swept.figures("40_numbers").exists(), "the notebook's own page is another"

    assert runs(swept, *sweeps)[0] == [], "all are current"
    assert runs(swept, "--sweep", "seed=2,3", "--sweep", 'words=["c"]')[0] == ["3,['c']"]


@pytest.mark.slow
def test_one_that_fails_is_named_and_the_others_go_on(swept):
    fails = swept.root / "notebooks/fails6"
    fails.touch()
    ran, out, err = runs(swept, "--sweep", "seed=5,6,7", status=2)
    assert len(ran) == 3
    assert re.search(r"\| +6 \| missing \| missing \|", out)
    assert re.search(r"\| +7 \| 14 \| 1 \|", out)
    assert err.splitlines()[-1].startswith("hw2: error: failed: seed=6; ")
    assert "seed=6: 40_numbers, cell [4]" in err
    fails.unlink()
    ran, out, _ = runs(swept, "--sweep", "seed=5,6,7")
    assert ran == ["6,['a']"]
    assert re.search(r"\| +6 \| 12 \| 1 \|", out)


@pytest.mark.parametrize(
    ("sweeps", "told"),
    [
        (["seed=1,x"], "parameter seed must be an integer, not 'x'"),
        (["seed=1", "sed=1"], "unknown parameter 'sed'; did you mean seed?"),
        (["seed="], "--sweep seed=: write --sweep NAME=VALUE,VALUE"),
        (["seed"], "write --sweep NAME=VALUE,VALUE"),
        (["seed=1", "seed=2"], "--sweep seed=2: seed is given twice"),
        (["words=a,b"], "--sweep words=a,b: words is given twice"),
        (["preset=smoke,quick"], "-p preset=NAME"),
    ],
)
def test_wrong_sweeps_run_nothing(swept, sweeps, told):
    options = [word for one in sweeps for word in ("--sweep", one)]
    ran, out, err = runs(swept, "-p", "words=z", *options, status=2)
    assert (ran, out) == ([], "")
    assert told in err
    assert err.count("\n") == 1


def test_values_stand_between_commas_or_are_json():
    def values(text: str) -> list[str]:
        return sweep.split([f"name={text}"], {})["name"]

    assert values("0,1.5,true") == ["0", "1.5", "true"]
    assert values("ddim,ddpm") == ["ddim", "ddpm"]
    assert values('["a-b","c-d"],["a-b"]') == ['["a-b", "c-d"]', '["a-b"]']
    assert values('"a,b","c"') == ["a,b", "c"]
