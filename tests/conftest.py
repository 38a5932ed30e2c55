"""One thread for every test and its subprocesses: results do not depend on the machine, and others can work on it."""

import os
import sys

import pytest

from hw2lib.cli import main

os.environ["OMP_NUM_THREADS"] = "1"


def pytest_terminal_summary(terminalreporter):
    """How many hostile inputs each test of tests/hostile has seen."""
    seen = {
        report.nodeid.partition("::")[2]: count
        for report in terminalreporter.stats.get("", [])  # when a test is over
        for name, count in report.user_properties
        if name == "hostile inputs" and count >= 20
    }
    if seen:
        terminalreporter.section(f"hostile inputs: {sum(seen.values()):,}")
        for test, count in sorted(seen.items()):
            terminalreporter.write_line(f"{count:6,}  {test}")


@pytest.fixture
def hw2(monkeypatch, capsys):
    """Runs ``hw2 …`` and returns exit status, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hw2", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code or 0, *capsys.readouterr()

    return run
