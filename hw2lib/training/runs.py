"""Where a run's folder is, and training of many runs on all cores."""

import functools
import hashlib
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from tqdm.auto import tqdm

from hw2lib import data, imports, paths
from hw2lib.data.prepare import Form
from hw2lib.environment import cores
from hw2lib.errors import UserError
from hw2lib.models import build
from hw2lib.models.dann import DANN
from hw2lib.training import classifier, dann, diffusion, gan, uda
from hw2lib.training.devices import check_device
from hw2lib.training.pairs import PairRecipe
from hw2lib.training.recipe import BaseRecipe
from hw2lib.training.run_folder import RunFolder, load_weights, read_weights, save_weights, write_atomically
from hw2lib.training.shipped import find

FAMILIES = (dann, uda, gan, diffusion, classifier)  # each has NETWORKS, Recipe and train

SEEDS = {"smoke": [0], "quick": [0, 1], "paper": [0, 1, 2]}
PAIRS = ("mnistm-svhn", "mnistm-usps")


def family_of(network: str) -> ModuleType:
    """The module that trains a network; `UserError` for a name that none trains."""
    for family in FAMILIES:
        if network in family.NETWORKS:
            return family
    known = ", ".join(name for family in FAMILIES for name in family.NETWORKS)
    raise UserError(f"unknown network '{network}': choose one of {known}")


def recipes_for(
    networks: Iterable[str],
    recipe_names: Iterable[str],
    seeds: Iterable[int],
    preset: str,
    pairs: Iterable[str] = (),
    methods: Iterable[str] = (),
    settings: Iterable[str] = (),
) -> list[BaseRecipe]:
    """The recipe of each combination; a pair is written ``mnistm-svhn``, a replaced key ``steps=100``.

    Only networks between domains have pairs and methods; empty, they are `PAIRS` and all methods. Seeds vary slowest,
    so that an interrupted sweep has whole tables of fewer seeds.
    """
    override = dict(_setting(text) for text in settings)
    pairs, methods = tuple(dict.fromkeys(pairs)), tuple(dict.fromkeys(methods))
    chosen: list[BaseRecipe] = []
    for seed, network, name in dict.fromkeys(product(seeds, networks, recipe_names)):  # each once
        family = family_of(network)
        if issubclass(family.Recipe, PairRecipe):
            combinations = product(pairs or PAIRS, methods or family.METHODS)
            chosen += [
                family.recipe_for(network, name, *_domains(pair), method, seed, preset, override)
                for pair, method in combinations
            ]
        elif pairs or methods:
            raise UserError(f"{network}: pairs and methods are for domain adaptation; leave --pair and --method out")
        else:
            chosen.append(family.recipe_for(network, name, seed, preset, override))
    return chosen


def learnable(recipes: Iterable[BaseRecipe], images) -> list[BaseRecipe]:
    """The recipes without those that learn labels of a target which has none."""
    recipes = list(recipes)
    asking = [recipe for recipe in recipes if isinstance(recipe, PairRecipe) and recipe.needs_target_labels]
    targets = {recipe.target for recipe in asking}
    unlabelled = {target for target in targets if images.load(target, "train").labels is None}
    return [recipe for recipe in recipes if not (recipe in asking and recipe.target in unlabelled)]


def _domains(pair: str) -> tuple[str, str]:
    source, dash, target = pair.partition("-")
    if not (source and dash and target):
        raise UserError(f"a pair is SOURCE-TARGET, such as mnistm-svhn, not '{pair}'")
    return source, target


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"a setting is KEY=VALUE, such as steps=100, not '{text}'")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def settings_of(recipe: BaseRecipe, preset: str, images) -> dict[str, Any]:
    """What a run's result depends on: the recipe, the images, and, where training is cheap, the code.

    A run of the preset ``paper`` outlives a change of the code; its card names the commit that it ended with.
    """
    # Without defaults: a key that the recipes get later does not make the runs from before it other runs.
    settings = recipe.model_dump(mode="json", exclude_defaults=True) | {
        "data": {name: images.fingerprint(name) for name in recipe.domains}
    }
    if preset != "paper":
        settings["code"] = _code_digest(family_of(recipe.network).__name__)
    return settings


@functools.cache  # what a process has imported does not change when a file does
def _code_digest(module: str) -> str:
    return _digest(*(file.read_bytes() for file in imports.modules(f"import {module}")))


def run_folder(recipe: BaseRecipe, preset: str, images, weights: bool = False) -> RunFolder:
    """The folder of a run: the shipped one if it holds this very run, finished, else one below ``build/``.

    Its name ends in a hash of the settings, so that a changed recipe begins a run of its own. With `weights` a run that
    ships as a card alone does not count.
    """
    settings = settings_of(recipe, preset, images)
    name = f"{recipe.title}-{_digest(json.dumps(settings, sort_keys=True).encode())[:8]}"
    shipped = RunFolder(paths.TRAINED / name, settings)
    ships = shipped.card and (shipped.weights.exists() or not weights)
    return shipped if ships else RunFolder(paths.runs_dir(preset) / name, settings)


def ship(path: Path, weights: bool) -> Path:
    """Copy a finished run into the repository: its card, and, with `weights`, its weights in half precision.

    With the weights goes what else is to be seen of them, the images drawn in training.
    """
    home, path = paths.runs_dir("paper"), path.resolve()
    if not path.is_relative_to(home) or not (path / "card.json").exists():
        raise UserError(f"{path}: no finished run below {home}; only such runs ship")
    target = paths.TRAINED / path.relative_to(home)
    target.mkdir(parents=True, exist_ok=True)
    if weights:
        tensors = read_weights(path / "weights.safetensors")
        # Vectors are small, and the frequencies of an embedding of time have to be exact.
        halved = {name: x.half() if x.is_floating_point() and x.ndim > 1 else x for name, x in tensors.items()}
        save_weights(halved, target / "weights.safetensors")
        if (path / "strip").is_dir():
            shutil.copytree(path / "strip", target / "strip", dirs_exist_ok=True)
    write_atomically(target / "card.json", (path / "card.json").read_text())
    return target


def train_all(
    recipes: list[BaseRecipe], preset: str, data_dir: str = "", device: str = "auto", weights: bool = False
) -> list[RunFolder]:
    """Train what is not finished, one run a core (one at a time on a GPU), and return the folders in order.

    Small networks train faster side by side on one thread each than one after the other on all. Interrupted, the same
    call goes on. A bar shows the steps of all runs.
    """
    images = data.source(preset, data_dir)
    folders = [run_folder(recipe, preset, images, weights) for recipe in recipes]
    waiting = [(recipe, folder) for recipe, folder in zip(recipes, folders, strict=True) if not folder.card]
    # By how many there are and not by how many are left: another number of threads rounds sums differently, and a run
    # that was stopped has to go on bit for bit.
    side_by_side = min(len(recipes), cores()) if check_device(device).type == "cpu" else 1
    if not waiting:
        return folders
    with tqdm(total=sum(recipe.steps for recipe, _ in waiting), desc=f"{len(waiting)} runs", unit="step") as bar:
        if side_by_side == 1:
            for recipe, folder in waiting:
                family_of(recipe.network).train(recipe, images, folder, device, bar.update)
        else:
            _train_side_by_side(waiting, (preset, data_dir, device), side_by_side, bar)
    return folders


def ready(
    networks: Iterable[str],
    recipe: str,
    seeds: Iterable[int],
    preset: str,
    data_dir: str = "",
    device: str = "auto",
    weights: bool = True,
    train: bool = True,
) -> list[RunFolder]:
    """The finished runs of generators, denoisers or classifiers that a notebook shows.

    In ``quick`` they are those that ship, trained for real, whatever images are at hand; those that do not ship are
    left out. Otherwise they are those of the preset, and `train` trains what is missing; without it, it is left out.
    """

    chosen = recipes_for(networks, [recipe], seeds, preset)
    if preset == "quick":
        found = (find(one.title, weights) for one in chosen)
        return [folder for folder in found if folder]
    if train:
        return train_all(chosen, preset, data_dir, device, weights)
    images = data.source(preset, data_dir)
    folders = [run_folder(recipe, preset, images, weights) for recipe in chosen]
    return [folder for folder in folders if folder.card]


def train_into(path: Path, recipe: BaseRecipe, preset: str, data_dir: str = "", device: str = "auto") -> RunFolder:
    """Train one run in a folder of the caller's choice, which refuses to go on under other settings."""
    images = data.source(preset, data_dir)
    folder = RunFolder(path, settings_of(recipe, preset, images))
    family_of(recipe.network).train(recipe, images, folder, device)
    return folder


def _train_side_by_side(runs: list[tuple], common: tuple, workers: int, bar: tqdm) -> None:
    context = multiprocessing.get_context("spawn")
    # A number for each run and no lock: a worker that is killed would keep it for ever.
    steps = context.RawArray("q", len(runs))
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(cores() // workers, steps))
    try:
        futures = [pool.submit(_train_one, i, *run, *common) for i, run in enumerate(runs)]
        # The pool watches the workers that it had when it was last woken, and it is woken before it starts that of
        # a new task: with one more task it knows them all, and one that is killed does not go unnoticed.
        pool.submit(int)
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=1, return_when="FIRST_EXCEPTION")
            bar.update(sum(steps) - bar.n)
            for future in done:
                future.result()
    except BrokenProcessPool:
        raise UserError("a worker was killed, perhaps for want of memory; the same command goes on") from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(threads: int, steps) -> None:
    global _steps
    _steps = steps
    torch.set_num_threads(threads)
    # A worker must not outlive a parent that was killed: it would hold the lock of its run folder.
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _train_one(i: int, recipe: BaseRecipe, folder: RunFolder, preset: str, data_dir: str, device: str) -> None:
    images = data.source(preset, data_dir)

    def count(n: int) -> None:
        _steps[i] += n

    family_of(recipe.network).train(recipe, images, folder, device, count)


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def result_of(folder: RunFolder) -> str:
    """What a finished run has reached, in a few words."""
    return family_of(folder.settings["network"]).result_of(folder.card)


def load_network(folder: RunFolder) -> tuple[DANN, Form]:
    """The trained network of a finished run, and the form of its input.

    Raises:
        UserError: the run is not finished, or it ships without weights.
    """
    if not folder.card:
        raise UserError(f"{folder.path}: the run is not finished; train it with hw2 train")
    network = build(folder.settings["network"])
    load_weights(network, folder.weights)
    return network.eval(), Form(network.inputs.channels, network.inputs.size, folder.settings["normalisation"])
