"""Notebook 70."""

import json

import numpy as np
import pytest
from PIL import Image

from hw2lib import paths
from hw2lib.grading import problems


def test_our_own_results(run):
    record = run("70")
    rows = {row[0]: row for row in record["tables"]["own"]["rows"]}
    baselines = [one.baselines for numbers in problems().values() for one in numbers.values()]
    assert len(rows) == sum(map(len, baselines))
    assert rows["2022, 3: MNIST-M to SVHN, %"][1:] == ["dann-compact", "64.62", "40.00", "–", "passed"]
    above = rows["2021, bonus: USPS to SVHN, %"]
    assert above[3] == rows["2021, 3: USPS to SVHN, %"][2], "it has to exceed problem 3"
    assert float(above[2]) > float(above[3])
    assert rows["2023, 2: mean squared error, 0 to 255"][2:] == ["–", "20.00", "–", "not measured"]
    assert record["values"]["2023_3_mnistm_usps"] == 96.438
    assert rows["2021, 2: accuracy, %"][2] == f"{record['values']['2021_2_accuracy']:.2f}"
    assert "file: hw2lib/grading.toml" in record["inputs"]


def test_what_takes_long_is_as_committed(run, build, monkeypatch):
    """In `quick`; the digits of the ACGAN are drawn."""
    row, others = "2022, 2: accuracy, %", ["context-unet-64", "99.30", "80.00", "88.00", "strong"]
    columns = ["edition, problem: measure", "of", "score", "simple", "strong", "result"]
    table = {"columns": columns, "rows": [[row, *others]], "caption": "Committed."}
    earlier = {"figures": [], "tables": {"own": table}, "values": {"2022_2_accuracy": 99.3}, "completed": True}
    earlier |= {"commit": "0" * 40, "started": "2026-11-28T00:00:00+00:00", "seconds": 1.0, "torch": "2.15.0"}
    earlier |= {"parameters": {}, "inputs": {}, "hardware": {"cpu": "A CPU", "cores": 2}}
    where = build / "figures"
    (where / "70_grade").mkdir(parents=True)
    (where / "70_grade/record.json").write_text(json.dumps(earlier))
    home = paths.figures_dir
    monkeypatch.setattr(paths, "figures_dir", lambda preset: where if preset == "paper" else home(preset))
    record = run("70", preset="quick")
    rows = {row[0]: row[1:] for row in record["tables"]["own"]["rows"]}
    assert rows[row] == others
    assert record["tables"]["own"]["earlier"].keys() == {row}
    assert (record["values"]["2022_2_accuracy"], rows["2021, 2: accuracy, %"][1]) == (99.3, "98.20")
    assert [figure["file"] for figure in record["figures"]] == ["confusion-0.png", "worst.png"]


@pytest.mark.parametrize("absolute", [True, False])
def test_a_submission(run, tmp_path, monkeypatch, absolute):
    rng = np.random.default_rng(0)
    for digit in range(10):
        Image.fromarray(rng.integers(0, 256, (28, 28, 3), np.uint8)).save(tmp_path / f"{digit}_001.png")
    monkeypatch.chdir(tmp_path)
    where = tmp_path if absolute else "."
    record = run("70", "-p", f"submission={where}", "-p", "edition=2023", "-p", "problem=1")
    assert "own" not in record["tables"]
    summary = record["tables"]["summary"]
    assert summary["columns"][1] == "2023, problem 1, diffusion"
    wrong = ["wrong", "missing (990): 0_002.png, 0_003.png, 0_004.png and 987 more"]
    assert summary["rows"][1:3] == [["there", "10 PNG images"], wrong]
    assert record["tables"]["scores"]["rows"][0][4] == "below, not the course's own"
