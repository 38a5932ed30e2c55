"""Faults while a notebook runs in a real kernel: it is named, and the earlier page stays."""

import os
import random
import signal
import subprocess
import time

import pytest
from project import Project

pytestmark = pytest.mark.slow

MEMORY = """\
import resource, torch
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
torch.zeros(4 << 30)"""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """A project with a page."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.notebook("10_page", "page.value('number', 1)")
    done = project.hw2("run", "10", "-p", "preset=smoke")
    assert done.returncode == 0, done.stderr
    return project


def test_too_little_memory_in_a_kernel_is_named(project):
    before = project.contents("10_page")
    project.notebook("10_page", MEMORY)
    done = project.hw2("run", "10", "-p", "preset=smoke")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("hw2: error: 10_page, cell [4] 'import resource, torch': the memory is not enough (")
    assert project.contents("10_page") == before


def test_ctrl_c_while_a_notebook_runs_is_one_line(project):
    before = project.contents("10_page")
    project.notebook("10_page", "import time\nopen('begun', 'w')\ntime.sleep(300)")
    command = [project.python, "-m", "hw2lib", "run", "10", "-p", "preset=smoke"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HW2_")} | {"PYTHONPATH": str(project.root)}
    with subprocess.Popen(command, cwd=project.root, env=environment, stderr=subprocess.PIPE, text=True) as running:
        end = time.monotonic() + 100
        while not (project.root / "notebooks/begun").exists() and time.monotonic() < end:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert err.splitlines()[-1] == "hw2: stopped; what is finished stays, and the same command goes on"
    assert "Traceback" not in err
    assert project.contents("10_page") == before


def test_hw2_run_that_is_killed_leaves_the_earlier_page_and_runs_again(project):
    before, seed = project.contents("10_page"), random.randrange(2**32)
    print(f"seed {seed}")
    project.notebook("10_page", "page.value('number', 2)")
    command = [project.python, "-m", "hw2lib", "run", "10", "-p", "preset=smoke"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HW2_")} | {"PYTHONPATH": str(project.root)}
    for share in (0.4, 0.7, 0.95):
        with subprocess.Popen(command, cwd=project.root, env=environment, process_group=0) as running:
            time.sleep(share * 5 * random.Random(seed).uniform(0.8, 1))
            os.killpg(running.pid, signal.SIGKILL)
        assert project.contents("10_page") == before or project.record("10_page")["values"] == {"number": 2}
    assert project.hw2("run", "10", "-p", "preset=smoke").returncode == 0
    assert project.record("10_page")["values"] == {"number": 2}
    assert sorted(path.name for path in project.figures("10_page").parent.iterdir()) == [".lock", "10_page"]
