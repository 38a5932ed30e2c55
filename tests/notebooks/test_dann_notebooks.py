"""Notebooks 50, 51 and 53."""

import pytest


@pytest.fixture(scope="module")
def accuracy(run):
    return run("51", "51_dann_accuracy")


def test_architectures(run):
    record = run("50", "50_dann_architectures")
    totals = {row[0]: row[-1] for row in record["tables"]["parameters"]["rows"]}
    assert totals == {
        "dann-compact": "710,172",
        "dann-deep": "976,651",
        "dann-wide": "631,888",
        "dann-grey": "3,728,011",
        "dann-grey-plus": "3,765,067",
    }
    for name, total in totals.items():
        layers = record["tables"][f"layers-{name}"]["rows"]
        assert sum(int(row[-1].replace(",", "") or 0) for row in layers) == int(total.replace(",", ""))


def test_accuracy_table_has_both_recipes_and_the_oracle(accuracy):
    table = accuracy["tables"]["test-mnistm-svhn"]
    assert table["columns"] == ["network", "recipe", "source-only", "DANN", "target-only", "DANN, oracle"]
    assert [row[:2] for row in table["rows"]] == [["dann-compact", "as-reported"], ["dann-compact", "ours"]]
    assert accuracy["tables"]["val-mnistm-usps"]["columns"][-1] == "target-only", "no oracle but on test"
    value = accuracy["values"]["dann_compact_ours_mnistm_usps_dann_test"]
    assert accuracy["tables"]["test-mnistm-usps"]["rows"][1][3] == f"{value:.1f}"
    assert accuracy["data"]["origin"] == "stand-in"


def test_runs_that_are_not_finished_are_missing(run, accuracy):
    record = run("51", "51_dann_accuracy", "-p", "seeds=0,1", "-p", "train=false")
    cells = [cell for row in record["tables"]["test-mnistm-svhn"]["rows"] for cell in row[2:]]
    assert all(cell.endswith("(1 of 2 seeds)") for cell in cells)


def test_feature_space_uses_the_runs_of_the_table(run, build, accuracy):
    before = {file: file.stat().st_mtime_ns for file in (build / "smoke" / "runs").rglob("card.json")}
    record = run("53", "53_dann_tsne", "-p", "count=60", "-p", "pairs=mnistm-usps")
    assert [figure["file"] for figure in record["figures"]] == ["mnistm-usps-class.png", "mnistm-usps-domain.png"]
    rows = record["tables"]["distance"]["rows"]
    assert [row[1] for row in rows] == ["source-only", "DANN"]
    assert all(0 <= row[2] <= 2 for row in rows)
    after = {file: file.stat().st_mtime_ns for file in (build / "smoke" / "runs").rglob("card.json")}
    assert after == before
