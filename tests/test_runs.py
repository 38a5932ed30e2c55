"""Where runs are, which are used again, and training side by side."""

import itertools
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from synthetic import Synthetic, recipe, write_folder

from hw2lib import comparison, data, files, paths, runs
from hw2lib.adaptation import dann, tables
from hw2lib.adaptation.networks import load
from hw2lib.adaptation.recipe import DANNRecipe
from hw2lib.diffusion import faces
from hw2lib.diffusion import tables as diffusion_tables
from hw2lib.errors import UserError
from hw2lib.files import try_lock
from hw2lib.gan import tables as gan_tables
from hw2lib.networks import build
from hw2lib.training.recipe import Trainings
from hw2lib.training.run_folder import RunFolder, shipped_weights
from hw2lib.weights import load as load_weights

SHORT = {"steps": 4, "evaluations": 2, "batch": 8}


@pytest.fixture(autouse=True)
def _places(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    monkeypatch.setattr(paths, "TRAINED", tmp_path / "trained")
    monkeypatch.delenv("HW2_DATA", raising=False)


@pytest.fixture
def images(tmp_path) -> str:
    return str(write_folder(Synthetic({"train": 40, "test": 20}), tmp_path / "images"))


def trained(settings: DANNRecipe, preset: str = "paper") -> RunFolder:
    folder = runs.run_folder(settings, preset, Synthetic())
    dann.train(settings, Synthetic(), folder, "cpu", lambda n: None)
    return folder


# The folder of a run


def test_a_changed_recipe_has_another_folder():
    changes = [
        {}, {"learning_rate": 0.5}, {"ema_decay": 0.5}, {"augment_source": {"noise": 0.1}}, {"batch": 9}, {"steps": 5}
    ]  # fmt: skip
    folders = {runs.run_folder(recipe(**SHORT | change), "paper", Synthetic()).path for change in changes}
    assert len(folders) == len(changes)
    assert {folder.parent for folder in folders} == {
        paths.runs_dir("paper") / "dann-compact/ours/mnistm-usps/dann"
    }  # fmt: skip
    assert all(folder.name.startswith("seed-0-") for folder in folders)


def test_other_images_have_another_folder():
    settings = recipe(**SHORT)
    one, other = (runs.run_folder(settings, "paper", Synthetic({"train": n})) for n in (20, 30))
    assert one.path != other.path
    assert one.path == runs.run_folder(settings, "paper", Synthetic({"train": 20})).path


def test_changed_code_has_another_folder_but_for_paper(monkeypatch):
    settings = recipe(**SHORT)

    def places() -> dict[str, Path]:
        return {preset: runs.run_folder(settings, preset, Synthetic()).path for preset in paths.PRESETS}

    before = places()
    monkeypatch.setattr(runs, "_code_digest", lambda module: "another")
    after = places()
    assert after["paper"] == before["paper"]
    assert after["quick"] != before["quick"]
    assert after["smoke"] != before["smoke"]


def test_a_changed_default_is_another_run(monkeypatch):
    before = runs.run_folder(recipe(**SHORT), "paper", Synthetic()).path
    values = recipe(**SHORT).model_dump(mode="json") | {"needless": 0.5}  # a key with a default, in no recipe's table
    monkeypatch.setattr(DANNRecipe, "model_dump", lambda self, mode: values)
    assert runs.run_folder(recipe(**SHORT), "paper", Synthetic()).path != before


# Runs that ship


def test_a_shipped_run_is_used_when_its_settings_are_these():
    settings = recipe(**SHORT)
    local = trained(settings)
    shipped = runs.ship(local.path, with_weights=True)
    assert shipped == paths.TRAINED / local.path.relative_to(paths.runs_dir("paper"))
    assert sorted(file.name for file in shipped.iterdir()) == ["card.json", "weights.safetensors"]

    found = runs.run_folder(settings, "paper", Synthetic())
    assert found.path == shipped
    assert found.card == local.card
    network, form = load(found)
    assert not network.training
    assert form == (3, 28, "instance")
    whole = build("dann-compact")
    load_weights(whole, local.weights)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, whole.state_dict()[name], rtol=1e-3, atol=1e-4)


def test_a_shipped_run_is_not_used_for_other_images_or_settings():
    settings = recipe(**SHORT)
    runs.ship(trained(settings).path, with_weights=False)
    assert runs.run_folder(settings, "paper", Synthetic()).card
    for other, images in ((settings, Synthetic({"train": 20})), (recipe(**SHORT, seed=1), Synthetic())):
        found = runs.run_folder(other, "paper", images)
        assert found.path.is_relative_to(paths.runs_dir("paper"))
        assert not found.card


def test_a_card_under_the_right_name_but_of_other_settings_is_not_used():
    settings = recipe(**SHORT)
    shipped = runs.ship(trained(settings).path, with_weights=False)
    card = files.read_json(shipped / "card.json")
    card["settings"]["data"]["usps"] = "other"
    files.write_json(shipped / "card.json", card)
    assert runs.run_folder(settings, "paper", Synthetic()).path != shipped


def test_a_card_alone_does_not_do_where_weights_are_needed():
    settings = recipe(**SHORT)
    local = trained(settings)
    shipped = runs.ship(local.path, with_weights=False)
    assert runs.run_folder(settings, "paper", Synthetic()).path == shipped
    assert runs.run_folder(settings, "paper", Synthetic(), with_weights=True).path == local.path
    with pytest.raises(UserError, match="no such weights file"):
        load(runs.run_folder(settings, "paper", Synthetic()))


def test_only_finished_runs_of_the_preset_paper_ship(tmp_path):
    with pytest.raises(UserError, match=r"no finished run below .*; only such runs ship"):
        runs.ship(tmp_path, with_weights=False)
    elsewhere = trained(recipe(**SHORT), "smoke")
    with pytest.raises(UserError, match=r"no finished run below .*; only such runs ship"):
        runs.ship(elsewhere.path, with_weights=False)


def test_the_network_of_a_run_that_is_not_finished_is_refused(tmp_path):
    with pytest.raises(UserError, match="the run is not finished; train it with hw2 train"):
        load(RunFolder(tmp_path / "run", {}))


# Many runs


def cores(monkeypatch, count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)))


@pytest.mark.slow
def test_two_workers_side_by_side_train_what_one_does_alone(images, monkeypatch, tmp_path):
    recipes = [recipe(seed=seed, **SHORT) for seed in (0, 1, 2)]
    cores(monkeypatch, 1)
    alone = runs.train_all(recipes, "smoke", images, "cpu")
    cores(monkeypatch, 2)
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "other"))
    beside = runs.train_all(recipes, "smoke", images, "cpu")
    assert [folder.settings["seed"] for folder in beside] == [0, 1, 2]
    for one, other in zip(alone, beside, strict=True):
        assert one.path != other.path
        assert one.weights.read_bytes() == other.weights.read_bytes()
        assert other.card["threads"] == 1


def test_what_is_finished_is_not_trained_again(images, monkeypatch):
    cores(monkeypatch, 1)
    runs.train_all([recipe(seed=0, **SHORT)], "smoke", images, "cpu")
    trained = []
    monkeypatch.setattr(dann, "train", lambda settings, *_: trained.append(settings.seed))
    runs.train_all([recipe(seed=seed, **SHORT) for seed in (0, 1)], "smoke", images, "cpu")
    assert trained == [1]


@pytest.mark.slow
def test_an_error_in_a_worker_is_that_of_the_call(images, monkeypatch):
    cores(monkeypatch, 2)
    recipes = [recipe(seed=seed, steps=4, evaluations=2, batch=41) for seed in (0, 1)]
    with pytest.raises(UserError, match="a batch of 41 is larger than its 40 images"):
        runs.train_all(recipes, "smoke", images, "cpu")


@pytest.mark.parametrize("count", [1, 2])
def test_a_run_that_diverges_does_not_stop_the_others(images, monkeypatch, count):
    cores(monkeypatch, count)
    diverging = [recipe(seed=seed, **SHORT, learning_rate=1e38, optimiser="adam") for seed in (0, 1)]
    others = [recipe(seed=seed, **SHORT) for seed in (0, 1)]
    with pytest.raises(UserError, match=r"(not finite|the loss is).*\(and 1 more run failed\)$"):
        runs.train_all([diverging[0], others[0], diverging[1], others[1]], "smoke", images, "cpu")
    folders = [runs.run_folder(one, "smoke", data.source("smoke", images)) for one in (*diverging, *others)]
    assert [bool(folder.card) for folder in folders] == [False, False, True, True]


def test_how_many_runs_failed_is_said(images, monkeypatch):
    cores(monkeypatch, 1)
    too_large = [recipe(seed=seed, steps=4, evaluations=2, batch=41) for seed in range(3)]
    with pytest.raises(UserError, match=r"larger than its 40 images \(and 2 more runs failed\)$"):
        runs.train_all(too_large, "smoke", images, "cpu")


def test_a_run_that_does_not_fit_a_gpu_does_not_stop_the_others(images, monkeypatch):
    cores(monkeypatch, 1)
    train = dann.train

    def full(settings, *rest):
        if settings.seed == 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train(settings, *rest)

    monkeypatch.setattr(dann, "train", full)
    with pytest.raises(UserError, match=r"seed-0-\w+: the memory of the GPU is not enough; .* with fewer --jobs$"):
        runs.train_all([recipe(seed=seed, **SHORT) for seed in (0, 1)], "smoke", images, "cpu")
    assert runs.run_folder(recipe(seed=1, **SHORT), "smoke", data.source("smoke", images)).card


@pytest.mark.parametrize(("gib", "count", "jobs"), [(80, 40, 10), (80, 3, 3), (139, 40, 16), (15, 40, 1), (4, 40, 1)])
def test_runs_side_by_side_on_a_gpu_by_its_free_memory(monkeypatch, gib, count, jobs):
    cores(monkeypatch, 16)
    monkeypatch.setattr(runs, "check_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (gib * 2**30, 2**40))
    assert runs.side_by_side(count, "auto") == jobs


# Runs that are stopped when the time is up


def run_of(settings: DANNRecipe, images: str) -> tuple[DANNRecipe, RunFolder]:
    return settings, runs.run_folder(settings, "smoke", data.source("smoke", images))


def test_stopped_in_time_and_resumed_a_run_ends_bit_for_bit_as_one_that_was_not(images, monkeypatch, tmp_path):
    run = run_of(recipe(steps=45, evaluations=2, batch=8, ema_decay=0.9), images)
    runs.train([run], "smoke", images, "cpu", 1)
    _, whole = run
    log = whole.history()

    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "other"))
    run = run_of(run[0], images)
    _, parts = run
    stops = []
    while not parts.card:
        ticks = itertools.count()
        monkeypatch.setattr(runs, "time", SimpleNamespace(monotonic=ticks.__next__))  # each step takes a second
        runs.train([run], "smoke", images, "cpu", 1, until=13)
        stops.append(parts.progress()[0])
    assert stops == [12, 24, 36, 0], "steps that were saved; a finished run has no state"
    assert parts.path != whole.path
    assert parts.weights.read_bytes() == whole.weights.read_bytes()
    assert parts.history() == log
    assert {key: value for key, value in parts.card.items() if key != "seconds"} == {
        key: value for key, value in whole.card.items() if key != "seconds"
    }


def test_no_run_begins_when_the_time_is_up(images):
    run = run_of(recipe(**SHORT), images)
    runs.train([run], "smoke", images, "cpu", 1, until=time.monotonic())
    assert not run[1].path.exists()


@pytest.mark.slow
def test_side_by_side_runs_save_their_state_when_the_time_is_up(images, monkeypatch):
    cores(monkeypatch, 2)
    recipes = [recipe(seed=seed, steps=1_000_000, evaluations=1, batch=8) for seed in (0, 1)]
    waiting = [run_of(settings, images) for settings in recipes]
    began = time.monotonic()
    runs.train(waiting, "smoke", images, "cpu", 2, until=began + 40)
    assert 40 <= time.monotonic() - began < 60
    assert all(folder.progress()[0] > 1 for _, folder in waiting), "and not at their only mark"
    assert not any(map(held, [folder for _, folder in waiting]))


# What the report shows


@pytest.fixture
def report(monkeypatch):
    """A report that shows four runs: their `REPORT`, and one more that draws with weights."""
    for part in (gan_tables, diffusion_tables, faces, comparison):
        monkeypatch.setattr(part, "REPORT", {})
    shown = {
        "50": [Trainings(["dann-compact"], ["ours"], {"smoke": [0, 1], "paper": [0]}, ["mnistm-usps"])],
        "51": [Trainings(["dann-compact"], pairs=["mnistm-usps"], methods=["dann"], with_weights=True)],
    }
    monkeypatch.setattr(tables, "REPORT", shown)
    return shown


def titles(chosen: list) -> list[str]:
    return [settings.title.removeprefix("dann-compact/ours/mnistm-usps/") for settings, _ in chosen]


def test_a_notebook_asks_for_its_own_choice_or_another(report):
    (one,), _ = report.values()
    assert [settings.seed for settings in runs.asked("smoke", one)] == [0, 0, 0, 1, 1, 1]
    assert [settings.seed for settings in runs.asked("paper", one)] == [0, 0, 0]
    other = runs.asked("smoke", one, one, seeds=[7], methods=["dann"])
    assert [settings.title for settings in other] == ["dann-compact/ours/mnistm-usps/dann/seed-7"] * 2
    assert runs.asked("smoke", one, networks=[]) == []


def test_what_the_report_shows_and_nobody_has_trained_is_missing(report, images):
    every = [f"{method}/seed-{seed}" for seed in (0, 1) for method in ("source-only", "dann", "target-only")]
    assert sorted(titles(runs.missing("smoke", images, "cpu"))) == sorted(every), "each once"
    source = data.source("paper", images)
    shipped = {}
    for settings in runs.asked("paper", report["50"][0]):
        folder = runs.run_folder(settings, "paper", source)
        folder.finish({}, {"seconds": 1.0, "hardware": {"cpu": "another", "gpu": None}})
        shipped[settings.method] = runs.ship(folder.path, with_weights=False)
        shutil.rmtree(folder.path)
    assert titles(runs.missing("paper", images, "cpu")) == ["dann/seed-0"], "a card alone has no weights to draw with"
    shutil.rmtree(shipped["target-only"])
    assert sorted(titles(runs.missing("paper", images, "cpu"))) == ["dann/seed-0", "target-only/seed-0"]


def test_quick_shows_what_ships_and_trains_nothing(report, monkeypatch):
    monkeypatch.setattr(dann, "train", lambda *_: pytest.fail("it trains"))
    of_notebook = runs.asked("quick", report["50"][0])
    assert of_notebook == runs.asked("paper", report["50"][0])
    assert runs.missing("quick", "", "cpu") == []
    with pytest.raises(
        UserError, match=r"^quick shows the runs that ship, and not dann-compact/ours/mnistm-usps/source-o"
    ):
        runs.finished(of_notebook, "quick")
    assert runs.finished(of_notebook, "quick", train=False) == []
    folder = runs.run_folder(of_notebook[1], "paper", Synthetic())
    folder.finish({}, {"seconds": 1.0})
    ships = runs.ship(folder.path, with_weights=False)
    assert [run.path for run in runs.finished(of_notebook, "quick")] == [ships], "whatever images are at hand"
    with pytest.raises(UserError, match=r"seed-0 with weights; the preset paper trains it$"):
        runs.finished(of_notebook, "quick", with_weights=True)


def card(settings: DANNRecipe, images: str, seconds: float, cpu: str, gpu: str | None = None) -> None:
    folder = runs.run_folder(settings, "paper", data.source("paper", images))
    rest = {"images": "patterns", "precision": "32-true", "commit": None}
    folder.finish({}, {"seconds": seconds, "hardware": {"cpu": cpu, "gpu": gpu}, **rest})


def test_how_long_a_run_takes_is_known_from_others_like_it_on_such_hardware(report, images, monkeypatch):
    monkeypatch.setattr(runs.environment, "hardware", lambda: {"cpu": "this", "cores": 2, "gpu": None})
    dann_run, other_steps = (run_of(settings, images) for settings in (recipe(steps=100), recipe(steps=300)))
    assert runs.seconds_left([dann_run], "cpu") == [None]
    card(recipe(seed=5, steps=10), images, 1, "another")
    card(recipe(seed=6, steps=10), images, 2, "this", "a GPU")
    card(recipe(seed=7, steps=10, network="dann-deep"), images, 3, "this")
    assert runs.seconds_left([dann_run], "cpu") == [None]
    card(recipe("source-only", seed=8, steps=10), images, 4, "this")
    assert runs.seconds_left([dann_run, other_steps], "cpu") == [40, 120]
    for seed, seconds in ((9, 5), (10, 6), (11, 30)):
        card(recipe("dann", seed=seed, steps=10), images, seconds, "this")
    assert runs.seconds_left([dann_run], "cpu") == [60], "the median of those of the same method"
    dann_run[1].path.mkdir(parents=True)
    dann_run[1].save_state({"step": 20, "seconds": 60.0})
    assert runs.seconds_left([dann_run], "cpu") == [240], "of its own steps so far"


def test_what_is_left_names_each_run_and_the_time_of_all(images, monkeypatch):
    left = [run_of(recipe(seed=seed), images) for seed in range(4)]
    monkeypatch.setattr(runs, "seconds_left", lambda runs, device: [600.0, 360.0, 300.0, None][: len(list(runs))])
    lines = runs.what_is_left(left, "cpu", 2)
    assert lines[0] == "    10 min  dann-compact/ours/mnistm-usps/dann/seed-0"
    assert lines[3] == "   unknown  dann-compact/ours/mnistm-usps/dann/seed-3"
    assert lines[4] == "4 runs are left: about 11 min, 2 at a time; 1 of unknown length"
    assert runs.what_is_left(left[:3], "cpu", 1)[-1] == "3 runs are left: about 21 min, 1 at a time"
    assert runs.what_is_left([], "cpu", 2) == ["no run is left"]


def test_the_longest_is_first_and_before_it_what_is_unknown(report, images, monkeypatch):
    lengths = {"source-only": 5.0, "dann": 9.0, "target-only": None}
    monkeypatch.setattr(runs, "seconds_left", lambda left, device: [lengths[one.method] for one, _ in left])
    order = [settings.method for settings, _ in runs.missing("smoke", images, "cpu")]
    assert order == ["target-only"] * 2 + ["dann"] * 2 + ["source-only"] * 2


def test_missing_trains_what_is_left_though_one_run_diverges(report, images, monkeypatch, hw2):
    cores(monkeypatch, 1)
    arguments = ["train", "--missing", "--preset", "smoke", "--data-dir", images, "--device", "cpu"]
    status, listed, _ = hw2(*arguments, "--list")
    assert status == 0
    assert listed.splitlines()[-1] == "6 runs are left; 6 of unknown length"
    assert hw2(*arguments, "--within", "0s")[:2] == (0, "6 runs are left; 6 of unknown length\n")

    train = dann.train

    def diverging(settings, *rest):
        first = (settings.method, settings.seed) == ("dann", 0)
        return train(settings.model_copy(update={"learning_rate": 1e38}) if first else settings, *rest)

    monkeypatch.setattr(dann, "train", diverging)
    status, _, err = hw2(*arguments)
    assert status == 2
    assert err.splitlines()[-1].startswith("hw2: error: ")
    assert "dann/seed-0" in err.splitlines()[-1]
    assert "more run" not in err.splitlines()[-1]
    assert titles(runs.missing("smoke", images, "cpu")) == ["dann/seed-0"]

    monkeypatch.setattr(dann, "train", train)
    status, out, _ = hw2(*arguments)
    assert status == 0
    (result, last) = out.splitlines()
    assert "% of target test" in result
    assert last == "no run is left"
    assert hw2(*arguments, "--list") == (0, "no run is left\n", "")


def held(folder: RunFolder) -> bool:
    """Whether a process has the run's lock."""
    if not (folder.path / "log.jsonl").exists():
        return False
    lock = try_lock(folder.path / ".lock")
    if lock:
        lock.release()
    return lock is None


def wait_until(condition, seconds: float = 120) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def endless(images: str) -> tuple[list[DANNRecipe], list[RunFolder]]:
    recipes = [recipe("dann", seed=seed, steps=20_000, evaluations=1000, batch=8) for seed in (0, 1)]
    return recipes, [runs.run_folder(settings, "smoke", runs.data.source("smoke", images)) for settings in recipes]


@pytest.mark.slow
def test_killed_it_leaves_no_worker_behind_who_holds_a_run(images):
    _, folders = endless(images)
    code = (
        "import os, sys; os.sched_getaffinity = lambda _: {0, 1}; from hw2lib.cli import main\n"
        "sys.argv = ['hw2', *sys.argv[1:]]; main()"
    )
    arguments = ["train", "dann-compact", "--pair", "mnistm-usps", "--method", "dann", "--seed", "0", "--seed", "1"]
    arguments += ["--preset", "smoke", "--data-dir", images, "--device", "cpu", "--set", "steps=20000"]
    arguments += ["--set", "evaluations=1000", "--set", "batch=8"]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.DEVNULL) as parent:
        both = wait_until(lambda: all(map(held, folders)))
        parent.kill()  # before any assertion: it would be waited for
    assert both
    assert wait_until(lambda: not any(map(held, folders)), 20)


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_all_in_one_line(images, monkeypatch):
    cores(monkeypatch, 2)
    recipes, folders = endless(images)

    def kill_one() -> None:
        wait_until(lambda: all(map(held, folders)))
        multiprocessing.active_children()[0].kill()

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(UserError, match="a worker was killed, perhaps for want of memory; the same command goes on"):
        runs.train_all(recipes, "smoke", images, "cpu")
    killer.join()
    assert wait_until(lambda: not any(map(held, folders)), 20)


# A run that ships


def test_a_run_that_ships_is_found_whatever_images_are_at_hand():
    with pytest.raises(UserError, match=r"seed-0: no run ships with weights \(.*\); train it, hw2 train dann-compact"):
        shipped_weights("dann-compact", "ours/mnistm-usps/dann")
    folder = trained(recipe(**SHORT))
    runs.ship(folder.path, with_weights=False)  # a card alone does not count
    with pytest.raises(UserError, match="no run ships with weights"):
        shipped_weights("dann-compact", "ours/mnistm-usps/dann")
    target = runs.ship(folder.path, with_weights=True)
    found = shipped_weights("dann-compact", "ours/mnistm-usps/dann")
    assert found.path == target
    assert found.card["settings"] == folder.settings
    assert found.weights.exists()
    with pytest.raises(UserError, match="seed-1: no run"):
        shipped_weights("dann-compact", "ours/mnistm-usps/dann", seed=1)

    shutil.copytree(target, target.with_name("seed-0-00000000"))
    with pytest.raises(UserError, match=r"seed-0-00000000 and .* both ship; remove the one that is out of date"):
        shipped_weights("dann-compact", "ours/mnistm-usps/dann")
