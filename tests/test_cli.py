"""Which faults are one line for the user, and which are a traceback for us."""

import errno
import os
import subprocess
import sys

import pytest

from hw2lib import cli


def fail_with(error, monkeypatch):
    def raise_it(**options):
        raise error

    monkeypatch.setattr(cli, "cli", raise_it)
    cli.main()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "/there/file"),
            "/there/file: Permission denied; runs write",
        ),
        (OSError(errno.EROFS, "Read-only file system", "/there"), "/there: Read-only file system; runs write"),
        (OSError(errno.ENOSPC, "No space left on device"), "error: No space left on device; runs write"),
    ],
)
def test_a_fault_of_the_disk_is_one_line(error, told, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HW2_BUILD", str(tmp_path))
    with pytest.raises(SystemExit) as exit:
        fail_with(error, monkeypatch)
    assert exit.value.code == 2
    stderr = capsys.readouterr().err
    assert told in stderr
    assert stderr.endswith(f"runs write to {tmp_path}, and HW2_BUILD can name another folder\n")
    assert stderr.count("\n") == 1


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "No such file", "x"), OSError("odd"), KeyError("x")])
def test_any_other_fault_keeps_its_traceback(error, monkeypatch):
    with pytest.raises(type(error)):
        fail_with(error, monkeypatch)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores can be kept from a process on Linux alone")
def test_a_report_takes_the_cores_that_it_may_use_and_not_all_that_there_are():
    one = min(os.sched_getaffinity(0))
    code = f"import os, runpy; os.sched_setaffinity(0, [{one}]); runpy.run_module('hw2lib', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code, "report", "--help"], capture_output=True, text=True)
    assert "[default: 1]" in done.stdout, done.stderr
