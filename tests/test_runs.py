"""Where runs are, which are used again, and training side by side."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from synthetic import Synthetic, recipe, write_folder

from hw2lib import data, paths, runs
from hw2lib.adaptation import dann
from hw2lib.adaptation.networks import load
from hw2lib.adaptation.recipe import DANNRecipe
from hw2lib.errors import UserError
from hw2lib.files import try_lock
from hw2lib.networks import build
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
    card = json.loads((shipped / "card.json").read_text())
    card["settings"]["data"]["usps"] = "other"
    (shipped / "card.json").write_text(json.dumps(card))
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
    with pytest.raises(UserError, match=r"not finite|the loss is") as told:
        runs.train_all([diverging[0], others[0], diverging[1], others[1]], "smoke", images, "cpu")
    assert "(and 1 more" in str(told.value)
    folders = [runs.run_folder(one, "smoke", data.source("smoke", images)) for one in (*diverging, *others)]
    assert [bool(folder.card) for folder in folders] == [False, False, True, True]


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
