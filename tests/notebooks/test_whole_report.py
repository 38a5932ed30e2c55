"""The whole report as a user makes it: real kernels, papermill, Snakemake, report.md and the PDF."""

import json
import os
import subprocess
import sys

import pytest

from hw2lib.report import running


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_report_of_the_preset_smoke(tmp_path):
    environment = os.environ | {"HW2_BUILD": str(tmp_path)}
    command = [sys.executable, "-m", "hw2lib", "report", "--preset", "smoke"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for notebook in running.names():
        record = json.loads((tmp_path / f"smoke/figures/{notebook}/record.json").read_text())
        assert record["completed"], notebook
    assert (tmp_path / "smoke/report.pdf").read_bytes().startswith(b"%PDF")
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert "out of date" not in again.stderr, "nothing has changed"
