"""Recipes, settings and parameters that somebody writes: nonsense, code, and what a shell or a template would run."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz import JSON, NASTY, WORDS, changed_json, fuzz, mutated
from hypothesis import example
from hypothesis import strategies as st
from papermill.translators import papermill_translators
from report.conftest import Project

from hw2lib import networks, paths, recipes, runs
from hw2lib.errors import UserError
from hw2lib.report import build, parameters

# Recipes

TASKS = {"gan": "dcgan", "diffusion": "context-unet-64", "classifier": "digit-classifier"}
FILES = {task: (recipes.FOLDER / f"{task}.toml").read_bytes() for task in TASKS}
KEYS = sorted({key for network in TASKS.values() for key in networks.recipe_class(network).model_fields})
LINES = st.one_of(
    st.builds("{} = {}".format, st.one_of(st.sampled_from(KEYS), WORDS), st.one_of(JSON.map(json.dumps), WORDS)),
    st.sampled_from(
        [
            "[ours]",
            "[ours.network.dcgan]",
            "[ours.preset.smoke]",
            "[[ours]]",
            "[ours.pair]",
            'extends = "ours"',
            "[a.b.c]",
            "extends = 1",
            "ours = 1",
            "network = []",
            'augment = "none"',
        ]
    ),
)


def appended(task: str, lines: list[str]) -> bytes:
    return FILES[task] + "\n".join(["", *lines]).encode(errors="surrogatepass")


@st.composite
def tomls(draw: st.DrawFn) -> tuple[str, bytes]:
    task = draw(st.sampled_from(sorted(TASKS)))
    lines = st.lists(LINES, max_size=4)
    alone = lines.map(lambda lines: "\n".join(["[ours]", *lines]).encode(errors="surrogatepass"))
    return task, draw(st.one_of(mutated(FILES[task]), lines.map(lambda lines: appended(task, lines)), alone))


@fuzz(600, recipe=tomls())
@example(recipe=("gan", b"a = " + b"[" * 3000))
@example(recipe=("gan", b"\xff"))
def test_a_recipe(guard, recipe):
    task, content = recipe
    (guard.home / f"{task}.toml").write_bytes(content)
    (guard.home / recipes.AUGMENTATIONS).write_bytes((recipes.FOLDER / recipes.AUGMENTATIONS).read_bytes())
    kind, choice = networks.recipe_class(TASKS[task]), {"network": TASKS[task], "seed": 0, "preset": "smoke"}
    made = guard(recipes.resolve, kind, task, "ours", None, {"preset": paths.PRESETS}, guard.home, **choice)
    assert isinstance(made, UserError | kind)


NETWORKS = sorted(name for task in networks.TASKS.values() for name in task.networks)


@fuzz(
    900,
    network=st.one_of(st.sampled_from(NETWORKS), WORDS),
    settings=st.lists(
        st.one_of(
            st.builds("{}={}".format, st.one_of(st.sampled_from(KEYS), WORDS), st.one_of(JSON.map(json.dumps), WORDS)),
            WORDS,
        ),
        min_size=1,
        max_size=3,
    ),
    pairs=st.lists(st.one_of(st.sampled_from(runs.PAIRS), WORDS), max_size=1),
    recipe=st.one_of(st.just("ours"), WORDS),
)
@example(network="dcgan", settings=["steps=" + "[" * 3000], pairs=[], recipe="ours")
def test_settings_of_a_training(guard, network, settings, pairs, recipe):
    made = guard(runs.recipes_for, [network], [recipe], [0], "smoke", pairs, settings=settings)
    for one in [] if isinstance(made, UserError) else made:
        folder = paths.runs_dir("smoke") / f"{one.title}-00000000"
        assert folder.resolve().is_relative_to(paths.runs_dir("smoke").resolve())


# Parameters of notebooks

CELL = "\n".join(
    [
        'preset: str = "quick"  # smoke, quick or paper',
        "seed: int = 0",
        "rate = 1.5",
        "names: list[str] = []",
        "on = True",
    ]
)


def notebook(cell: object) -> dict:
    cells = [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "outputs": [], "source": cell}]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"hw2lib": {"after": ["00_data"]}}, "cells": cells}


CODE = st.one_of(
    st.lists(
        st.one_of(
            st.builds(
                "{} = {}".format,
                st.sampled_from(["a", "b: int", "c: list[str]", "d.e", "(f)"]),
                st.one_of(JSON.map(repr), WORDS),
            ),
            WORDS,
        ),
        max_size=4,
    ).map("\n".join),
    st.sampled_from(
        [
            "x = " + "-" * 5000 + "1",
            "x = " + "(" * 3000,
            "x = 9**9**9",
            "x = __import__('os').system('touch marker')",
            "x = " + "[" * 90 + "]" * 90,
            "x = 'a' * 10**10",
            "x = f'{open(1)}'",
            "x: print(1) = 1",
            "def f(): pass",
        ]
    ),
    mutated(CELL.encode()).map(lambda code: code.decode(errors="replace")),
)


@fuzz(
    700,
    content=st.one_of(CODE.map(notebook), changed_json(notebook(CELL)), changed_json(notebook(CELL.splitlines(True)))),
)
@example(content=notebook("x = " + "-" * 5000 + "1"))
@example(content=notebook("\ud800"))
@example(content=notebook(CELL) | {"cells": [{"source": CELL}]})
def test_the_cell_of_parameters(guard, content):
    file = guard.home / "10_some.ipynb"
    file.write_text(json.dumps(content), encoding="utf-8")
    found = guard(parameters.read, file)
    for parameter in [] if isinstance(found, UserError) else found.values():
        assert ast.literal_eval(repr(parameter.default)) == parameter.default
        guard(parameters.check, file, {parameter.name: "1"})


@fuzz(100, content=st.one_of(st.binary(max_size=50), st.sampled_from([b"[" * 3000, b"{}", b"[]", b'{"cells": 1}'])))
@example(content=b"[" * 3000)
def test_what_is_no_notebook(guard, content):
    file = guard.home / "10_some.ipynb"
    file.write_bytes(content)
    assert isinstance(guard(parameters.read, file), UserError)


NOTEBOOKS = [parameters.notebook_file(name) for name in ("31_diffusion_samples", "51_dann_accuracy", "70_grade")]
KNOWN = sorted({name for file in NOTEBOOKS for name in parameters.read(file)})
TEXTS = st.one_of(WORDS, JSON.map(json.dumps), st.lists(st.sampled_from(NASTY), min_size=2, max_size=4).map(",".join))


@fuzz(
    900,
    file=st.sampled_from(NOTEBOOKS),
    assignments=st.lists(st.one_of(st.builds("{}={}".format, st.sampled_from(KNOWN), TEXTS), TEXTS), max_size=3),
)
@example(file=NOTEBOOKS[0], assignments=["seeds=" + "[" * 3000])
@example(file=NOTEBOOKS[1], assignments=["pairs=" + "[" * 3000])
def test_parameters_are_values_and_never_code(guard, file, assignments):
    checked = guard(lambda: parameters.check(file, parameters.split(assignments)))
    if not isinstance(checked, UserError):
        code = papermill_translators.find_translator("hw2lib", "python").codify(checked)
        lines = ast.parse(code).body
        assert {line.targets[0].id: ast.literal_eval(line.value) for line in lines} == checked


EVIL = [text for text in NASTY if "touch" in text or text in ("'", '"', "\n", "\\", "{0}", "-rf")]


@pytest.mark.slow
def test_parameters_reach_a_notebook_as_they_are(guard, tmp_path):
    """Through Snakemake, a shell, the command line and papermill."""
    (root := guard.home / "a $(touch marker) 'project'").mkdir()
    project, text = Project(root), "; ".join(EVIL)
    cell = 'preset = "smoke"\nseed = 0\ndevice = "auto"\ndata_dir = ""\nwords = ""'
    project.notebook("10_some", 'page.value("words", repr(words))', parameters=cell)
    done = project.hw2("report", "--preset", "smoke", "-p", f"words={text}", "-p", "data_dir=--help; touch marker")
    assert done.returncode == 0, done.stderr
    assert ast.literal_eval(project.record("10_some")["values"]["words"]) == text
    assert not list(tmp_path.rglob("marker*"))


@fuzz(20, values=st.dictionaries(st.sampled_from(["seed", "data_dir", "unet", "pair"]), TEXTS, min_size=1, max_size=2))
@example(values={"data_dir": "a" * 5000})
def test_the_plan_of_a_report(guard, values):
    guard(build.plan, "smoke", values)


# Not what is a number for Python, nor what no argument can be.
WORDS_OF_ARGUMENTS = [word for word in NASTY if word not in ("\0", "\ud800", "-0", "1_000", "٣")]


@pytest.mark.parametrize("word", WORDS_OF_ARGUMENTS)
def test_no_command_takes_a_word_for_more(hw2, word, tmp_path, monkeypatch):
    """As a network, a folder, a file, a notebook and a value."""
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    for command in (
        ["train", "--", word],
        ["train", "dcgan", "--list", "--set", f"steps={word}"],
        ["sample", "--out", "a", "--", word],
        ["data", "fetch", "--", word],
        ["run", "31", "-p", f"seed={word}"],
        ["run", "--", word],
        ["run", "70", "-p", f"preset={word}"],
        ["grade", "--edition", word, "--problem", "1", "--", word],
        ["report", "--preset", word],
        ["ship", "--", word or "a"],
        ["score", "--kind", "digits", "--", word],
    ):
        status, _, err = hw2(*command)
        assert "Traceback" not in err
        assert status in (1, 2)
    assert {file.name for file in (tmp_path / "cwd").rglob("*")} <= {""}


@pytest.mark.slow
def test_a_hostile_name_of_a_folder_reaches_a_kernel_as_a_name(guard, tmp_path):
    """A submission whose files are called so that a page, a shell or a template would run them."""
    (folder := guard.home / "'; touch marker; '").mkdir()
    for word in EVIL:
        (folder / f"{word.replace('/', '')}<img src=x onerror=alert(1)>.png").write_bytes(b"")
    options = [f"submission={folder}", "edition=2022", "problem=1", "preset=smoke"]
    command = [sys.executable, "-m", "hw2lib", "run", "70", *(x for option in options for x in ("-p", option))]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path / "cwd", env=os.environ | {"PYTHONPATH": str(paths.ROOT)}
    )
    assert done.returncode == 0, done.stderr
    executed = json.loads((paths.executed_dir("smoke") / "70_grade.ipynb").read_text())
    shown = [output["data"] for cell in executed["cells"] for output in cell.get("outputs", []) if "data" in output]
    text = "".join("".join(data.get("text/markdown", "")) + "".join(data.get("text/html", "")) for data in shown)
    assert "img src=x" in text
    assert "<img" not in text
    assert not list(Path(tmp_path).rglob("marker*"))
