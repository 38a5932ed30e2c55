"""Real kernels: what a run leaves behind when it is good, and when it is not."""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hw2lib.errors import UserError
from hw2lib.report import parameters, running

FIGURE = """\
import matplotlib.pyplot as plt
fig, ax = plt.subplots(figsize=(1, 1))
ax.plot([0, seed])
page.figure(fig, "line", caption="A line.")
page.value("seed", seed)"""


@pytest.fixture(scope="module")
def good(project):
    """A notebook that has run once, with its results."""
    project.notebook("10_good", FIGURE)
    done = project.hw2("run", "10", "-p", "preset=smoke", "-p", "seed=3")
    assert done.returncode == 0, done.stderr
    return project


def test_a_good_run_leaves_figure_record_and_executed_copy(good):
    record = good.record("10_good")
    assert record["completed"] is True
    assert record["values"] == {"seed": 3}
    assert record["parameters"] == {"preset": "smoke", "seed": 3, "device": "auto"}
    assert record["figures"] == [{"file": "line.png", "caption": "A line.", "source": ""}]
    assert good.contents("10_good")["line.png"].startswith(b"\x89PNG")
    assert [file.name for file in (good.root / "build/smoke/executed").glob("10*")] == ["10_good.ipynb"]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("x = 1\n\n1 / 0", ["cell [4]", "ZeroDivisionError: division by zero"]),
        ("import os\nos.kill(os.getpid(), 9)", ["cell [4] \"page.value('half', 1)\": the kernel died"]),
        pytest.param("import sys\nsys.exit()", ["page.finish()"], marks=pytest.mark.slow),
        pytest.param("raise report.page.UserError('no images')", ["no images"], marks=pytest.mark.slow),
    ],
)
def test_a_failed_run_is_one_line_and_leaves_the_earlier_result_alone(good, cell, told):
    before, executed = good.contents("10_good"), good.root / "build/smoke/executed/10_good.ipynb"
    copy = executed.read_bytes()
    good.notebook("10_good", f"page.value('half', 1)\n{cell}")
    done = good.hw2("run", "10_good", "-p", "preset=smoke", "-p", "seed=4")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("hw2: error: 10_good")
    assert all(part in done.stderr for part in told), done.stderr
    assert good.contents("10_good") == before
    assert executed.read_bytes() == copy
    assert executed.with_name("10_good.failed.ipynb").exists()


def wait_for(condition):
    end = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_two_runs_of_one_notebook_at_a_time_do_not_mix(good):
    wait = (
        "import time\nfrom pathlib import Path\nPath(f'begun{seed}').touch()\n"
        "while not Path(f'go{seed}').exists(): time.sleep(0.05)"
    )
    good.notebook("10_good", wait, FIGURE.replace('"line"', 'f"line{seed}"'))
    with ThreadPoolExecutor() as pool:
        runs = {s: pool.submit(good.hw2, "run", "10", "-p", "preset=smoke", "-p", f"seed={s}") for s in (7, 8)}
        wait_for(lambda: len(list(good.root.glob("notebooks/begun*"))) == 2)
        for seed, run in runs.items():
            (good.root / f"notebooks/go{seed}").touch()
            assert run.result().returncode == 0, run.result().stderr
            assert good.record("10_good")["values"] == {"seed": seed}
            assert sorted(good.contents("10_good")) == [f"line{seed}.png", "record.json"]
            assert f"seed = {seed}" in (good.root / "build/smoke/executed/10_good.ipynb").read_text()
    assert not list((good.root / "build/smoke/executed").glob("*.partial*"))


def test_a_result_that_another_run_has_replaced_is_not_taken_for_ones_own(good):
    file = good.figures("12_replaced") / "record.json"
    good.notebook(
        "12_replaced",
        f"from pathlib import Path\nfrom hw2lib import files\nfile, finish = Path({str(file)!r}), page.finish",
        "def replace(): files.write_json(file, files.read_json(file) | {'run': 'another'})",
        "page.finish = lambda: (finish(), replace())",
    )
    done = good.hw2("run", "12", "-p", "preset=smoke")
    assert done.returncode == 2
    assert "another run of it has just put its own figures there" in done.stderr


def test_a_notebook_that_finishes_no_page_has_failed(good):
    good.bare_notebook("11_pageless", "1 + 1")
    done = good.hw2("run", "11", "-p", "preset=smoke")
    assert done.returncode == 2
    assert "page.finish()" in done.stderr


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("sed=1", "did you mean seed?"),
        ("seed=banana", "must be an integer, not 'banana'"),
        ("seeds=banana", "seeds must be integers (list[int]) such as 1,2 or [1, 2], not 'banana'"),
        ("seed", "NAME=VALUE"),
        ("preset=huge", "unknown preset 'huge'; there are smoke, quick, paper"),
        ("device=tpu", "choose auto, cpu, cuda or cuda:N"),
    ],
)
def test_a_wrong_parameter_stops_before_anything_runs(home, write_notebook, setting, told):
    write_notebook("12_some", parameters="preset = 'smoke'\nseed = 0\ndevice = 'auto'\nseeds: list[int] = []")
    with pytest.raises(UserError, match=re.escape(told)):
        running.run_notebook("12", parameters.split([setting]))
    assert not (home / "build").exists()


def test_a_notebook_is_found_by_number_name_or_path(home):
    for name in ("50_dann_architectures", "51_dann_accuracy", "00_data"):
        (home / "notebooks" / f"{name}.ipynb").touch()
    assert running.find("51") == running.find("51_dann_accuracy.ipynb") == "51_dann_accuracy"
    assert running.find(str(home / "notebooks/00_data.ipynb")) == "00_data"
    with pytest.raises(UserError, match=r"several notebooks are called '5': 50_dann_architectures, 51_dann_accuracy$"):
        running.find("5")
    for unknown in ("7", "", str(home / "elsewhere/00_data.ipynb")):
        with pytest.raises(UserError, match=r"no notebook is called .*: 00_data, 50_dann"):
            running.find(unknown)


# Progress

PLAN = {"expected": {"10_a": 30.0, "20_b": 60.0, "30_c": 90.0}, "current": 4, "cores": 2, "time": 100.0}


def event(notebook: str, kind: str, time: float, began: float = 0.0) -> dict:
    return {"notebook": notebook, "event": kind, "began": began or time, "time": time}


def test_a_notebook_says_how_far_the_report_is():
    begun = [event("10_a", "begins", 100.0), event("20_b", "begins", 100.0)]
    line = running.progress_line(PLAN, begun)
    assert line == "4/7 20_b begins, about 2 min left", "180 seconds of work on two cores"
    done = [*begun, event("10_a", "done", 115.0, 100.0)]
    assert running.progress_line(PLAN, done).startswith("5/7 10_a done in 15 s, about 60 s left")
    failed = [*done, event("20_b", "failed", 120.0, 100.0)]
    assert running.progress_line(PLAN, failed).startswith("5/7 20_b failed after 20 s, about ")
    last = [*failed, event("30_c", "begins", 120.0), event("30_c", "done", 190.0, 120.0)]
    assert running.progress_line(PLAN, last) == "6/7 30_c done in 70 s"


def test_what_is_left_follows_the_speed_that_is_seen():
    def left(took: float) -> int:
        events = [event("10_a", "begins", 100.0), event("10_a", "done", 100.0 + took, 100.0)]
        return int(re.search(r"about (\d+) (?:s|min) left", running.progress_line(PLAN, events))[1])

    assert left(300.0) > left(60.0), "minutes on a slow machine"
    assert running.progress_line(PLAN | {"cores": 1}, [event("10_a", "begins", 100.0)]).endswith("about 3 min left")


def test_each_event_is_said_once(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv(running.PROGRESS, raising=False)
    running.tell_progress("10_a", "begins")  # nobody has planned it
    file = tmp_path / "progress"
    monkeypatch.setenv(running.PROGRESS, str(file))
    running.plan_progress(file, {"10_a": 20.0}, 0, 1)
    assert running.say_progress(file, 0) == 0
    began = running.tell_progress("10_a", "begins")
    assert running.say_progress(file, 0) == 1
    assert capsys.readouterr().err.splitlines() == ["0/1 10_a begins, about 20 s left"]
    running.tell_progress("10_a", "done", began)
    with open(file, "a") as log:
        log.write('{"notebook": "10_a", "eve')  # is being written
    assert running.say_progress(file, 1) == 2
    assert capsys.readouterr().err.splitlines() == ["1/1 10_a done in 0 s"]
