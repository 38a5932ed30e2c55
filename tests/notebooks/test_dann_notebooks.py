"""Notebooks 50 to 55."""

from statistics import mean

import pytest

from hw2lib import paths, runs
from hw2lib.adaptation import tables
from hw2lib.files import read_json
from hw2lib.training.run_folder import shipped_run

COLUMNS = [
    "network", "recipe", "source-only, val", "DANN, val", "target-only, val",
    "source-only, test", "DANN, test", "target-only, test", "DANN, oracle, test",
]  # fmt: skip


@pytest.fixture
def accuracy(run):
    return run("51")


def test_architectures(run):
    record = run("50")
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
    table = accuracy["tables"]["mnistm-svhn"]
    assert table["columns"] == COLUMNS
    assert [row[:2] for row in table["rows"]] == [["dann-compact", "as-reported"], ["dann-compact", "ours"]]
    for split in ("val", "test"):
        value = accuracy["values"][f"dann_compact_ours_mnistm_usps_dann_{split}"]
        row = accuracy["tables"]["mnistm-usps"]["rows"][1]
        assert row[COLUMNS.index(f"DANN, {split}")] == f"{value:.1f}"
    assert "on embedded stand-ins of MNIST-M, SVHN" in table["source"]
    assert "live" not in accuracy["tables"], "smoke trains everything"


def test_runs_that_are_not_finished_are_missing(run, accuracy):
    record = run("51", "-p", "seeds=0,1", "-p", "train=false")
    cells = [cell for row in record["tables"]["mnistm-svhn"]["rows"] for cell in row[2:]]
    assert all(cell.endswith("(1 of 2 seeds)") for cell in cells)


def test_feature_space_uses_the_runs_of_the_table(run, build, accuracy):
    before = {file: file.stat().st_mtime_ns for file in (build / "smoke" / "runs").rglob("card.json")}
    record = run("53", "-p", "count=60", "-p", "pairs=mnistm-usps")
    assert [figure["file"] for figure in record["figures"]] == ["class.png", "domain.png", "mnistm-usps-read.png"]
    rows = record["tables"]["distance"]["rows"]
    assert [row[1] for row in rows] == ["source-only", "DANN", "improved"]
    assert all(0 <= row[2] <= 2 for row in rows)
    after = {file: file.stat().st_mtime_ns for file in (build / "smoke" / "runs").rglob("card.json")}
    assert before.items() <= after.items()


def test_other_networks_on_another_pair(run):
    record = run("52", "-p", "networks=dann-grey,dann-compact", "-p", "pairs=usps-svhn")
    table = record["tables"]["usps-svhn"]
    assert table["columns"] == COLUMNS
    networks = ["dann-grey", "dann-grey", "dann-compact", "dann-compact"]
    assert [row[:2] for row in table["rows"]] == [*map(list, zip(networks, 2 * ["as-reported", "ours"], strict=True))]
    assert "missing" not in str(table["rows"])
    value = record["values"]["dann_grey_ours_usps_svhn_dann_test"]
    assert table["rows"][1][COLUMNS.index("DANN, test")] == f"{value:.1f}"


def test_the_improved_model_beside_the_original(run):
    record = run("54", "-p", "pairs=mnistm-usps,svhn-mnistm")
    table = record["tables"]["models"]
    assert table["columns"] == ["split", "model", "MNIST-M to USPS", "SVHN to MNIST-M"]
    models = ["dann-grey, as reported", "dann-grey, ours", "uda-cnn, improved"]
    assert [row[:2] for row in table["rows"]] == [[split, model] for split in ("test", "val") for model in models]
    assert "missing" not in str(table["rows"])
    parts = record["tables"]["parts"]["rows"]
    assert parts[0][:2] == ["everything", f"{record['values']['uda_cnn_parts_usps_svhn_improved_test']:.1f}"]
    assert len(parts) == len([name for name in tables.VARIANTS["smoke"] if name in tables.ABLATION])
    assert record["tables"]["settings"]["rows"][0] == ["steps", "4", "4"], "of the preset, not of paper"
    sizes = record["tables"]["sizes"]["rows"]
    assert [row[:2] for row in sizes] == [
        ["uda-cnn", "the teacher's"],
        ["uda-cnn", "its own"],
        ["uda-cnn-wide", "the teacher's"],
    ]
    values = [
        record["values"][f"uda_cnn_{kind}_mnistm_usps_improved_test"] for kind in ("ours", "with_labels", "wide_ours")
    ]
    assert [row[5] for row in sizes] == [f"{value:.2f}" for value in values]
    bound = record["tables"]["bound"]["rows"]
    assert [row[1] for row in bound] == ["the teacher's", "its own"]
    assert bound[1][5] == f"{record['values']['uda_cnn_with_labels_usps_svhn_improved_test']:.2f}"
    weights = {row[0]: row[1] for row in record["tables"]["settings-wider"]["rows"]}
    assert weights["weight of the loss on the teacher's labels"] == "3"
    choices = record["tables"]["choice"]["rows"]
    assert [row[0] for row in choices][-1] == "oracle"
    assert max(float(row[2]) for row in choices) == float(choices[-1][2])
    assert {figure["file"] for figure in record["figures"]} == {"accuracy.png", "criteria.png"}


def test_what_is_not_trained_is_missing_and_there_is_a_page_all_the_same(run):
    settings = ["-p", "pairs=usps-svhn", "-p", "seeds=7", "-p", "parts_pair=usps-svhn", "-p", "parts_seeds=7"]
    record = run("54", *settings, "-p", "train=false")
    assert [row[2:] for row in record["tables"]["models"]["rows"]] == 6 * [["missing"]]
    assert [row[3:] for row in record["tables"]["sizes"]["rows"]] == 3 * [["–", "missing", "missing"]]
    assert [row[3:] for row in record["tables"]["bound"]["rows"]] == 2 * [["–", "missing", "missing"]]
    assert "choice" not in record["tables"]
    assert [figure["file"] for figure in record["figures"]] == ["accuracy.png"]


def test_the_shape_of_the_target(run):
    record = run("55", "-p", "pairs=svhn-mnistm", "-p", "changed=svhn-mnistm")
    (choice,) = record["tables"]["choice"]["rows"]
    assert choice[0] == "SVHN to MNIST-M"
    assert float(choice[6]) == max(map(float, choice[4:7])), "the oracle is the best"
    assert choice[1] == f"× {record['values']['svhn_mnistm_shape_width']:.2f}"
    gains = record["tables"]["gain"]["rows"]
    assert [row[1] for row in gains] == ["ours", "shaped", "fitted"]
    assert gains[2][-1] == f"{record['values']['dann_compact_fitted_svhn_mnistm_dann_test']:.1f}"
    changes = {row[1]: row[2] for row in record["tables"]["changes-shaped"]["rows"]}
    assert changes["stretched, the middle"] == "+0.35"
    assert [figure["file"] for figure in record["figures"]] == ["information.png"]


def test_without_a_trained_network_no_shape_is_found_and_the_gains_are_missing(run):
    settings = ["-p", "pairs=usps-mnistm", "-p", "changed=svhn-mnistm", "-p", "seeds=7", "-p", "train=false"]
    record = run("55", *settings)
    assert "choice" not in record["tables"]
    assert record["figures"] == []
    assert {cell for row in record["tables"]["gain"]["rows"] for cell in row[2:]} == {"missing"}


def shipped(title: str) -> list[float]:
    """Target test accuracy of each seed that ships."""
    cards = [read_json(file) for file in paths.TRAINED.glob(f"{title}/seed-*/card.json")]
    return [card["accuracy"]["target test"] for card in cards]


def test_quick_shows_the_accuracies_that_ship_and_trains_two_networks(run, monkeypatch):
    trained = []

    def train_all(chosen, *_):
        trained.extend(chosen)
        return [shipped_run(recipe.title, None, False) for recipe in chosen]

    monkeypatch.setattr(runs, "train_all", train_all)
    record = run("51", preset="quick")
    found = shipped("dann-wide/ours/mnistm-svhn/dann")
    assert len(found) == 3
    assert record["values"]["dann_wide_ours_mnistm_svhn_dann_test"] == pytest.approx(mean(found))
    assert "missing" not in str(record["tables"])
    source = record["tables"]["mnistm-svhn"]["source"]
    assert source.startswith("54 runs of our own training on real images of MNIST-M, SVHN")
    assert [(recipe.pair, recipe.method) for recipe in trained] == [
        ("mnistm-svhn", "source-only"),
        ("mnistm-svhn", "dann"),
    ]
    assert sum(recipe.steps * recipe.batch for recipe in trained) < 20_000, "a minute"
    assert [figure["file"] for figure in record["figures"]] == ["curves.png", "live.png"]


def test_quick_shows_shapes_of_real_images_as_the_committed_report_has_them(run):
    record, committed = run("55", preset="quick"), read_json(paths.ROOT / "figures/55_dann_shape/record.json")
    assert record["tables"]["choice"]["rows"] == committed["tables"]["choice"]["rows"]
    assert "As in the committed report, 20" in record["tables"]["choice"]["caption"]
    found = shipped("dann-compact/fitted/svhn-mnistm/dann")
    assert record["values"]["dann_compact_fitted_svhn_mnistm_dann_test"] == pytest.approx(mean(found))
    assert record["values"].keys() == committed["values"].keys()


def test_quick_says_that_its_feature_spaces_are_of_stand_ins(run):
    record = run("53", "-p", "count=40", "-p", "pairs=mnistm-usps", preset="quick")
    for figure in record["figures"]:
        assert figure["source"].startswith("embedded stand-ins")
        assert "training on real images of MNIST-M, USPS" in figure["source"]
    assert "As in the committed report" in record["tables"]["distance"]["caption"]


def test_quick_shows_what_the_reports_observe_as_it_ships(run):
    record = run("56", preset="quick")
    assert list(record["tables"]) == ["length", "training", "course", "data", "structure"]
    assert "missing" not in str(record["tables"])
    targets = {row[2]: row[5] for row in record["tables"]["course"]["rows"] if row[1] == "MNIST-M to SVHN"}
    assert list(targets) == tables.LENGTHS
    for recipe, shown in targets.items():
        cards = [
            shipped_run(f"dann-compact/{recipe}/mnistm-svhn/source-only/seed-{seed}", None, False) for seed in (0, 1)
        ]
        found = mean(run.card["accuracy"]["target test"] for run in cards)
        assert shown.startswith(f"{found:.1f} ± ")
