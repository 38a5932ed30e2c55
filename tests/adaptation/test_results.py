"""Tables: means with spreads, and what is missing is said to be missing."""

import pytest

from hw2lib.adaptation import tables
from hw2lib.adaptation.recipe import DANNRecipe, ImprovedRecipe
from hw2lib.adaptation.tables import CHANGES, MAPS, change_table, recipe_table, settings_table
from hw2lib.data.augment import Affine, Augmentation
from hw2lib.errors import UserError


class Run:
    """What the tables read of a run folder; `test` None: not finished."""

    def __init__(self, seed, test, method="dann", pair=("mnistm", "svhn"), oracle=None, recipe="ours", val=None):
        source, target = pair
        self.card = test and {
            "settings": {
                "network": "dann-compact", "recipe": recipe, "method": method, "seed": seed, "steps": 100, "batch": 8,
                "source": source, "target": target,
            },
            "accuracy": {"source val": 99.0, "source test": 98.0, "target val": val, "target test": test},
            "oracle": oracle,
            "curve": [(50, 10.0), (100, test)],
            "seconds": 90, "commit": "abcdef0123", "dirty": seed == 2,
            "hardware": {"gpu": None, "cpu": "some CPU"}, "precision": "bf16-mixed", "origin": "real",
        }  # fmt: skip


RUNS = [
    Run(0, 70.0, oracle=72.0, val=60.0),
    Run(1, 72.0, oracle=73.0),
    Run(2, 74.0, oracle=74.0),
    Run(0, 50.0, method="source-only"),
    Run(1, None, method="source-only"),
]


def table(split: str, runs=RUNS, recipes=("ours",), pair="mnistm-svhn", seeds: int = 3) -> list[dict[str, str]]:
    frame = tables.results_frame(runs)
    return tables.accuracy_table(frame, split, pair, ["dann-compact"], recipes, seeds).to_dict("records")


def test_mean_and_sample_standard_deviation_and_the_oracle_beside_them():
    (row,) = table("test")
    assert (row["network"], row["recipe"]) == ("dann-compact", "ours")
    assert row["DANN"] == "72.0 ± 2.0"
    assert row["DANN, oracle"] == "73.0 ± 1.0"


def test_fewer_seeds_than_asked_are_said():
    assert table("test")[0]["source-only"] == "50.0 (1 of 3 seeds)"
    assert table("test", seeds=4)[0]["DANN"] == "72.0 ± 2.0 (3 of 4 seeds)"
    assert table("val")[0]["DANN"] == "60.0 (1 of 3 seeds)"  # two of the runs found no val split


def test_one_seed_that_was_asked_for_has_no_spread():
    assert table("test", seeds=1)[0]["source-only"] == "50.0"


def test_a_cell_without_runs_is_missing():
    assert table("test")[0]["target-only"] == "missing"
    assert table("val")[0]["source-only"] == "missing"


def test_without_any_finished_run_every_cell_is_missing():
    (row,) = table("test", runs=[Run(0, None)])
    assert row == {
        "network": "dann-compact", "recipe": "ours", "source-only": "missing", "DANN": "missing",
        "target-only": "missing", "DANN, oracle": "missing",
    }  # fmt: skip


def test_runs_of_another_recipe_or_pair_are_not_counted():
    runs = [*RUNS, Run(0, 1.0, recipe="as-reported"), Run(0, 2.0, pair=("mnistm", "usps"))]
    recipes = ["as-reported", "ours"]
    assert [row["DANN"] for row in table("test", runs, recipes)] == ["1.0 (1 of 3 seeds)", "72.0 ± 2.0"]
    assert [row["DANN"] for row in table("test", runs, recipes, "mnistm-usps", 1)] == ["missing", "2.0"]


def test_text_and_table_round_alike():
    runs = [Run(0, 96.146)]
    (value,) = (value for name, value in tables.headline(tables.results_frame(runs)).items() if name.endswith("test"))
    assert f"{value:.1f}" == table("test", runs, seeds=1)[0]["DANN"] == "96.1"


def test_a_method_of_another_network_has_a_column_of_its_own():
    frame = tables.results_frame([*RUNS, improved(0, 90.0, pair=("mnistm", "svhn"))])
    rows = tables.accuracy_table(frame, "test", "mnistm-svhn", ["dann-compact", "uda-cnn"], ["ours"], 1)
    assert list(rows.columns[2:]) == ["source-only", "DANN", "target-only", "improved", "DANN, oracle"]
    assert rows["improved"].tolist() == ["missing", "90.0"]


def test_val_has_no_oracle_because_none_is_picked_on_it():
    assert "DANN, oracle" not in table("val")[0]


def test_how_long_and_on_what():
    frame = tables.results_frame(RUNS)
    assert set(frame["hardware"]) == {"some CPU"}
    row = tables.training_table(frame).iloc[0]
    assert (row["pair"], row["method"], row["steps"], row["batch"]) == ("MNIST-M to SVHN", "DANN", 100, 8)
    assert row["seeds"] == "0, 1, 2"
    assert (row["minutes a run"], row["on"]) == ("1.5", "some CPU")
    assert row["commits"] == "abcdef0, abcdef0+"


def test_how_long_on_each_of_two_machines():
    frame = tables.results_frame(RUNS[:3]).assign(hardware=["some CPU", "a GPU", "a GPU"], seconds=[180.0, 6.0, 18.0])
    row = tables.training_table(frame).iloc[0]
    assert (row["minutes a run"], row["on"]) == ("0.2, 3.0", "a GPU, some CPU")


def test_without_runs_every_table_is_there_and_says_so():
    frame = tables.results_frame([])
    cells = tables.accuracy_table(frame, "test", "mnistm-svhn", ["dann-compact"], ["ours"], 3).iloc[0, 2:]
    assert set(cells) == {"missing"}
    assert tables.training_table(frame).empty
    assert tables.headline(frame) == {}
    assert tables.provenance(frame) == "No run is finished"


@pytest.mark.parametrize(("pair", "title"), [("mnistm-usps", "MNIST-M to USPS"), ("svhn-mine", "SVHN to mine")])
def test_pairs_have_titles(pair, title):
    assert tables.pair_title(pair) == title


def test_numbers_for_the_text_are_means_over_seeds():
    values = tables.headline(tables.results_frame(RUNS))
    assert values["dann_compact_ours_mnistm_svhn_dann_test"] == 72.0
    assert values["dann_compact_ours_mnistm_svhn_dann_oracle"] == 73.0
    assert values["dann_compact_ours_mnistm_svhn_dann_val"] == 60.0
    assert "dann_compact_ours_mnistm_svhn_source_only_val" not in values


def test_whose_numbers_these_are():
    frame = tables.results_frame(RUNS)
    images = "real images of MNIST-M, SVHN"
    assert tables.provenance(frame) == f"4 runs of our own training on {images}, seeds 0, 1, 2, on some CPU, bf16-mixed"
    assert tables.provenance(tables.results_frame([])) == "No run is finished"


# The improved model


def improved(seed: int, test: float | None, recipe: str = "ours", pair=("usps", "svhn")) -> Run:
    found = Run(seed, test, "improved", pair, recipe=recipe)
    if found.card:
        found.card["settings"]["network"] = "uda-cnn"
    return found


def test_the_improved_model_stands_beside_both_recipes_of_the_original():
    pair = ("usps", "svhn")
    runs = [
        improved(0, 90.0),
        improved(1, 92.0),
        Run(0, 30.0, pair=pair, recipe="as-reported"),
        Run(0, 60.0, pair=pair),
    ]
    frame = tables.results_frame(runs)
    pairs = ["usps-svhn", "mnistm-usps"]
    first, second = tables.improved_table(frame, "test", pairs, "dann-compact", "uda-cnn", 2).to_dict("records")
    assert list(first.values()) == ["USPS to SVHN", "30.0 (1 of 2 seeds)", "60.0 (1 of 2 seeds)", "91.0 ± 1.4"]
    assert list(second.values()) == ["MNIST-M to USPS", "missing", "missing", "missing"]


def test_networks_of_two_sizes_and_what_is_read_where_no_label_is_guessed():
    runs = [improved(0, 90.0), improved(1, 92.5), improved(0, 95.0, "with-labels")]
    kinds = [("uda-cnn", "ours"), ("uda-cnn", "with-labels"), ("uda-cnn-wide", "ours")]
    rows = tables.size_table(tables.results_frame(runs), "usps-svhn", kinds, 2).to_dict("records")
    assert [list(row.values()) for row in rows] == [
        ["uda-cnn", "the teacher's", "298,444", "1.5", "missing", "91.25 ± 1.77"],
        ["uda-cnn", "its own", "298,444", "1.5", "missing", "95.00 (1 of 2 seeds)"],
        ["uda-cnn-wide", "the teacher's", "654,700", "–", "missing", "missing"],
    ]


def test_a_part_adds_what_is_lost_without_it():
    runs = [improved(0, 90.0, "parts"), improved(0, 80.0, "without-pseudo"), improved(0, 90.5, "without-domain")]
    rows = {
        row["model"]: row
        for row in tables.ablation_table(tables.results_frame(runs), "usps-svhn", [*tables.ABLATION], 1).to_dict(
            "records"
        )
    }
    assert rows["everything"]["target test"] == "90.0"
    assert rows["everything"]["points it adds"] == "–"
    assert rows["without the teacher's labels"]["points it adds"] == "+10.0"
    assert rows["without the domain loss"]["points it adds"] == "-0.5"
    missing = rows["without augmentation of the source"]
    assert (missing["target test"], missing["points it adds"]) == ("missing", "–")


def test_both_splits_stand_beside_each_other():
    table = tables.accuracy_on_both(tables.results_frame(RUNS), "mnistm-svhn", ["dann-compact"], ["ours"], 3)
    assert table.index.to_list() == [("dann-compact", "ours")]
    methods = ["source-only", "DANN", "target-only"]
    assert list(table) == [f"{m}, val" for m in methods] + [f"{m}, test" for m in [*methods, "DANN, oracle"]]
    assert table.iloc[0][["DANN, val", "DANN, test"]].to_list() == ["60.0 (1 of 3 seeds)", "72.0 ± 2.0"]


def test_what_a_change_does():
    runs = [Run(0, 70.0), Run(0, 60.0, recipe="other"), Run(0, 50.0, method="source-only", recipe="other")]
    titles = {"ours": "nothing", "other": "another thing"}
    methods = ["source-only", "dann"]
    rows = tables.change_effects(tables.results_frame(runs), "recipe", titles, "method", methods, 1).to_dict("records")
    assert rows == [
        {"changed": "nothing", "recipe": "ours", "source-only": "missing", "DANN": "70.0"},
        {"changed": "another thing", "recipe": "other", "source-only": "50.0", "DANN": "60.0"},
    ]


def test_lengths_of_a_training_stand_together():
    names = [("svhn", "as-reported"), ("usps", "as-reported"), ("svhn", "as-reported-long")]
    recipes = [
        DANNRecipe.choose("dann-compact", name, "mnistm", target, "source-only", 0, "paper") for target, name in names
    ]
    runs = [Run(0, 50.0, method="source-only", recipe="as-reported-long")]
    columns = {"source": ("source-only", "source"), "target": ("source-only", "test")}
    table = tables.length_table(tables.results_frame(runs), recipes, columns, 1)
    assert table.drop(columns="network").to_numpy().tolist() == [
        ["MNIST-M to SVHN", "as-reported", "1,500", "missing", "missing"],
        ["MNIST-M to SVHN", "as-reported-long", "4,150", "98.0", "50.0"],
        ["MNIST-M to USPS", "as-reported", "1,500", "missing", "missing"],
    ]


# Recipes in words

PAIRS = (("mnistm", "usps"), ("usps", "svhn"))


def test_as_reported_and_ours():
    table = recipe_table(["dann-compact", "dann-grey"], PAIRS[0]).set_index("setting")
    assert table["dann-grey"].to_dict() == {
        "recipe": "as-reported",
        "each image": "as it is",
        "augmentation": "none",
        "optimiser": "Adam",
        "weight decay": "0",
        "learning rate": "0.001",
        "over training": "constant",
        "images of each domain a step": "64",
        "steps": "1,000",
        "average of the weights": "none",
    }
    ours = table["any network"]
    assert ours[["augmentation", "images of each domain a step"]].tolist() == ["by pair", "256; 128"]
    assert ours["over training"] == "falls to 0 along a cosine, after 100 steps of rising"
    with pytest.raises(UserError, match="dann-nine"):
        recipe_table(["dann-nine"], PAIRS[0])


def test_changes_are_those_of_the_recipe():
    recipes = [DANNRecipe.choose("dann-compact", "ours", *pair, "dann", 0, "paper") for pair in PAIRS]
    table = change_table(recipes, {"augment_source": "source", "augment_target": "target"})
    table = table.set_index(["images", "change"])
    assert list(table.columns) == ["MNIST-M to USPS", "USPS to SVHN"]
    assert table.loc[("source", "made grey")].tolist() == ["50%", "–"]
    assert table.loc[("source", "painted onto a patch of the target")].tolist() == ["–", "100%"]
    assert table.loc[("source", "magnified")].tolist() == ["1 to 1.5", "0.6 to 1.05"]
    assert table.loc[("target", "turned, degrees")].tolist() == ["± 10", "–"]
    assert ("source", "a hole of 6 to 12 pixels") not in table.index, "no pair has it"


def test_the_strong_view_of_the_improved_model():
    recipe = ImprovedRecipe.choose("uda-cnn", "ours", *PAIRS[0], "improved", 0, "paper")
    table = change_table([recipe], {"augment_strong": "target, strong"}).set_index("change")
    assert table.loc["a hole of 6 to 12 pixels", "MNIST-M to USPS"] == "50%"


def test_settings_of_the_improved_model():
    override = {"confidence_last": 0.7, "equal_shares": True, "domain_weight": 0.0, "ramp": [5, 1200]}
    changed = ImprovedRecipe.choose("uda-cnn", "ours", "svhn", "mnistm", "improved", 0, "paper", override)
    plain = ImprovedRecipe.choose("uda-cnn", "ours", "usps", "svhn", "improved", 0, "paper")
    table = settings_table([changed, plain]).set_index("setting")
    assert table["SVHN to MNIST-M"].iloc[3:].tolist() == ["0", "1", "5 to 1200", "0.9, falling to 0.7", "yes"]
    assert table["USPS to SVHN"].tolist() == [
        "4,500", "64 and 128", "0.002", "0.3", "1", "400 to 800", "0.9", "no",
    ]  # fmt: skip


def test_no_change_is_forgotten():
    assert set(MAPS) == set(Affine.model_fields)
    assert {"affine", *CHANGES} == set(Augmentation.model_fields)
