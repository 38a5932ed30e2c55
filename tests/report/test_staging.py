"""Folders that appear whole, with real processes side by side and killed."""

import os
import signal
import subprocess
import sys

from hw2lib.report.record import Staging

STAGE = "import sys; from pathlib import Path; from hw2lib.report.record import Staging; final = Path(sys.argv[1])\n"


def start(code, final):
    command = [sys.executable, "-c", STAGE + code, str(final)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_has_stays(tmp_path):
    code = "s = Staging(final); (s.folder / 'half').touch(); print(s.folder.name, flush=True); input()"
    dead, live = (start(code, tmp_path / "page") for _ in range(2))
    folders = {process: process.stdout.readline().strip() for process in (dead, live)}
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    Staging(tmp_path / "page").discard()
    assert sorted(os.listdir(tmp_path)) == sorted([".lock", folders[live]])
    live.kill()
    live.wait()


def test_processes_that_finish_at_the_same_time_leave_one_whole_result(tmp_path):
    code = """
for n in range(60):
    staging = Staging(final)
    for name in "ab":
        (staging.folder / name).write_text(f"{sys.argv} {id(final)} {n}")
    staging.swap_in()
"""
    processes = [start(code, tmp_path / "page") for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert sorted(os.listdir(tmp_path)) == [".lock", "page"]
    assert sorted(os.listdir(tmp_path / "page")) == ["a", "b"]
    assert (tmp_path / "page/a").read_text() == (tmp_path / "page/b").read_text()
