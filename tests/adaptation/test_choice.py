"""Which run a criterion chooses, and how well it ranks."""

import pytest
from test_results import Run

from hw2lib.adaptation import choice, tables


def run(seed: int, test: float | None, source: float, **criteria: float) -> Run:
    """A run whose other criteria are all the same."""
    found = Run(seed, test)
    if found.card:
        found.card["accuracy"]["source val"] = source
        found.card["criteria"] = {"entropy": 1.0, "information": 1.0, "density": 5.0} | criteria
    return found


def candidates(*runs: Run):
    return choice.candidates(tables.results_frame(runs))


RUNS = (run(0, 70.0, 99.0, entropy=0.9), run(1, 80.0, 98.0, entropy=0.5), run(2, 90.0, 97.0, entropy=0.1))


def test_less_entropy_is_better_and_more_accuracy_on_the_source_is():
    runs = candidates(*RUNS)
    assert choice.chosen(runs, "entropy")["run"] == "ours, seed 2"
    assert choice.chosen(runs, "source val")["run"] == "ours, seed 0"
    assert choice.rank_correlation(runs, "entropy") == pytest.approx(1)
    assert choice.rank_correlation(runs, "source val") == pytest.approx(-1)


def test_the_table_has_the_oracle_in_the_last_row():
    rows = {row["criterion"]: row for row in choice.choice_table(candidates(*RUNS)).to_dict("records")}
    assert list(rows) == ["accuracy on source val", "entropy", "mutual information", "neighbourhood density", "oracle"]
    assert (rows["entropy"]["target test"], rows["entropy"]["rank correlation"]) == ("90.0", "1.00")
    assert (rows["accuracy on source val"]["target test"], rows["oracle"]["target test"]) == ("70.0", "90.0")
    assert rows["neighbourhood density"]["rank correlation"] == "–", "all the same: no order"


def test_candidates_are_numbered_in_their_order():
    runs = candidates(*RUNS)
    rows = choice.candidate_table(runs).to_dict("records")
    assert [(row["number"], row["run"], row["target test"]) for row in rows] == [
        ("1", "ours, seed 0", "70.0"), ("2", "ours, seed 1", "80.0"), ("3", "ours, seed 2", "90.0"),
    ]  # fmt: skip
    assert rows[1]["entropy"] == "0.5"
    assert choice.candidate_table(candidates()).empty


def test_values_for_the_text():
    values = choice.headline(candidates(*RUNS))
    assert (values["entropy_choice"], values["entropy_rank"], values["source_val_rank"]) == (90.0, 1.0, -1.0)
    assert values["oracle_choice"] == 90.0
    assert "density_rank" not in values


def test_runs_from_before_there_were_criteria_are_no_candidates():
    assert list(candidates(Run(0, 99.0), *RUNS)["test"]) == [70.0, 80.0, 90.0]


def test_without_runs_there_is_a_table_of_dashes():
    table = choice.choice_table(candidates())
    assert len(table) == 5
    assert set(table.drop(columns="criterion").to_numpy().ravel()) == {"–"}
    assert choice.headline(candidates()) == {}
