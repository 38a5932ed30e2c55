"""Training runs: which recipes are meant, where their folders are, and how many are trained at a time."""

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
from typing import Any, get_args

import torch
from tqdm.auto import tqdm

from hw2lib import data, networks, paths, used, weights
from hw2lib.environment import cores
from hw2lib.errors import UserError
from hw2lib.files import write
from hw2lib.training.cards import result_of
from hw2lib.training.devices import check_device
from hw2lib.training.recipe import BaseRecipe
from hw2lib.training.run_folder import RunFolder, shipped_run

__all__ = ["PAIRS", "SEEDS", "finished", "recipes_for", "result_of", "run_folder", "ship", "train_all", "train_into"]

SEEDS = {"smoke": [0], "quick": [0, 1], "paper": [0, 1, 2]}
PAIRS = ("mnistm-svhn", "mnistm-usps")


def recipes_for(
    names: Iterable[str],  # of networks
    recipe_names: Iterable[str],
    seeds: Iterable[int],
    preset: str,
    pairs: Iterable[str] = (),  # of networks between domains, such as mnistm-svhn; empty: `PAIRS`
    methods: Iterable[str] = (),  # of networks between domains; empty: all
    settings: Iterable[str] = (),  # keys of the recipe to replace, such as steps=100
) -> list[BaseRecipe]:
    """The recipe of each combination of networks, recipe names and seeds.

    Seeds vary slowest, so that an interrupted sweep has whole tables of fewer seeds. `UserError` for an unknown name,
    and a value that the recipe refuses.
    """
    override = dict(_setting(text) for text in settings)
    pairs, methods = tuple(dict.fromkeys(pairs)), tuple(dict.fromkeys(methods))
    chosen: list[BaseRecipe] = []
    for seed, network, name in dict.fromkeys(product(seeds, names, recipe_names)):  # each once
        kind = networks.recipe_class(network)
        ways: Iterable[tuple] = [()]
        if "method" in kind.model_fields:
            every = get_args(kind.model_fields["method"].annotation)
            ways = ((*_domains(pair), method) for pair, method in product(pairs or PAIRS, methods or every))
        elif pairs or methods:
            raise UserError(f"{network}: pairs and methods are for domain adaptation; leave --pair and --method out")
        chosen += [kind.choose(network, name, *way, seed, preset, override) for way in ways]
    return chosen


def learnable(recipes: Iterable[BaseRecipe], images) -> list[BaseRecipe]:
    """The recipes without those that learn labels of a target which has none."""
    has_labels = functools.cache(lambda target: images.load(target, "train").labels is not None)
    return [recipe for recipe in recipes if not recipe.needs_target_labels or has_labels(recipe.target)]


def _domains(pair: str) -> tuple[str, str]:
    source, _, target = pair.partition("-")
    if not (source and target):
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
    """What a run's result depends on: every value of the recipe, the images, and, where training is cheap, the code.

    A run of the preset ``paper`` outlives a change of the code; its card names the commit that it ended with.
    """
    settings = recipe.model_dump(mode="json") | {"data": {name: images.fingerprint(name) for name in recipe.domains}}
    if preset != "paper":
        settings["code"] = _code_digest(networks.TASKS[networks.task_of(recipe.network)].train.partition(":")[0])
    return settings


@functools.cache  # what a process has imported does not change when a file does
def _code_digest(module: str) -> str:
    return used.closure_digest(f"hw2lib.{module}")


def run_folder(recipe: BaseRecipe, preset: str, images, with_weights: bool = False) -> RunFolder:
    """The folder of a run: the shipped one if it holds this very run, finished, else one below ``build/``.

    Its name ends in a hash of the settings, so that a changed recipe begins a run of its own. `with_weights`: a run
    that ships as a card alone does not count.
    """
    settings = settings_of(recipe, preset, images)
    if ships := shipped_run(recipe.title, settings, with_weights):
        return ships
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return RunFolder(paths.runs_dir(preset) / f"{recipe.title}-{digest[:8]}", settings)


def finished(
    recipes: Iterable[BaseRecipe],
    preset: str,
    data_dir: str = "",
    device: str = "auto",
    train: bool = True,
    with_weights: bool = False,
) -> list[RunFolder]:
    """The finished runs of some recipes, in their order: what every notebook shows.

    In ``quick``, generators, denoisers and classifiers are those that ship, trained for real, whatever images are at
    hand. Otherwise the runs are those of the preset, and `train` trains what is missing. What is missing, or would
    learn labels of a target without any, is left out.
    """
    recipes = list(dict.fromkeys(recipes))
    if not recipes:
        return []
    if preset == "quick" and all(recipe.shown_as_shipped for recipe in recipes):
        return [run for recipe in recipes if (run := shipped_run(recipe.title, None, with_weights))]
    images = data.source(preset, data_dir)
    recipes = learnable(recipes, images)
    if train:
        return train_all(recipes, preset, data_dir, device, with_weights)
    return [run for recipe in recipes if (run := run_folder(recipe, preset, images, with_weights)).card]


def train_all(
    recipes: list[BaseRecipe], preset: str, data_dir: str = "", device: str = "auto", with_weights: bool = False
) -> list[RunFolder]:
    """Train what is not finished, one run a core (one at a time on a GPU), and return the folders in order.

    Small networks train faster side by side on one thread each than one after the other on all. Interrupted, the same
    call goes on. If runs failed, such as diverged ones, a `UserError` says so once the others are trained.
    """
    images = data.source(preset, data_dir)
    folders = [run_folder(recipe, preset, images, with_weights) for recipe in recipes]
    waiting = [(recipe, folder) for recipe, folder in zip(recipes, folders, strict=True) if not folder.card]
    if not waiting:
        return folders
    # By how many there are and not by how many are left: another number of threads rounds sums differently, and a run
    # that was stopped has to go on bit for bit.
    workers = min(len(recipes), cores()) if check_device(device).type == "cpu" else 1
    with tqdm(total=sum(recipe.steps for recipe, _ in waiting), desc=f"{len(waiting)} runs", unit="step") as bar:
        if workers > 1:
            failures = train_side_by_side(waiting, preset, data_dir, device, workers, bar)
        else:
            failures = []
            for recipe, folder in waiting:
                try:
                    networks.training_of(recipe.network)(recipe, images, folder, device, bar.update)
                except UserError as error:
                    failures.append(str(error))
    if failures:
        others = f" (and {len(failures) - 1} more runs failed)" if len(failures) > 1 else ""
        raise UserError(failures[0] + others)
    return folders


def train_into(path: Path, recipe: BaseRecipe, preset: str, data_dir: str = "", device: str = "auto") -> RunFolder:
    """Train one run in a folder of the caller's choice, which refuses to go on under other settings."""
    images = data.source(preset, data_dir)
    folder = RunFolder(path, settings_of(recipe, preset, images))
    networks.training_of(recipe.network)(recipe, images, folder, device)
    return folder


def ship(path: Path, with_weights: bool) -> Path:
    """Copy a finished run into the repository: its card, and, `with_weights`, its weights in half precision.

    With the weights go the images drawn in training.
    """
    home, path = paths.runs_dir("paper"), path.resolve()
    if not path.is_relative_to(home) or not (path / "card.json").exists():
        raise UserError(f"{path}: no finished run below {home}; only such runs ship")
    target = paths.TRAINED / path.relative_to(home)
    target.mkdir(parents=True, exist_ok=True)
    if with_weights:
        tensors = weights.read(path / "weights.safetensors")
        # Vectors are small, and the frequencies of an embedding of time have to be exact.
        halved = {name: x.half() if x.is_floating_point() and x.ndim > 1 else x for name, x in tensors.items()}
        weights.save(halved, target / "weights.safetensors")
        if (path / "strip").is_dir():
            shutil.copytree(path / "strip", target / "strip", dirs_exist_ok=True)
    write(target / "card.json", (path / "card.json").read_text())
    return target


def train_side_by_side(
    runs: list[tuple[BaseRecipe, RunFolder]], preset: str, data_dir: str, device: str, workers: int, bar: tqdm
) -> list[str]:
    """Train all runs, so many `workers` at a time, and return, for each that failed, why.

    The bar shows the steps of all runs. `UserError` if a worker was killed.
    """
    context = multiprocessing.get_context("spawn")
    # A number for each run and no lock: a worker that is killed would keep it for ever.
    steps = context.RawArray("q", len(runs))
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(cores() // workers, steps))
    failures = []
    try:
        futures = [pool.submit(_train_one, i, *run, preset, data_dir, device) for i, run in enumerate(runs)]
        # The pool watches the workers that it had when it was last woken, and it is woken before it starts that of a
        # new task. With one more task, which does nothing, it knows them all, and one that is killed is noticed.
        pool.submit(int)
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout=1)
            bar.update(sum(steps) - bar.n)
            for error in filter(None, (future.exception() for future in done)):
                if not isinstance(error, UserError):
                    raise error
                failures.append(str(error))
    except BrokenProcessPool:
        raise UserError("a worker was killed, perhaps for want of memory; the same command goes on") from None
    except BaseException:
        for process in list(pool._processes.values()):  # its own, and no other children of this process
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return failures


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
    def count(n: int) -> None:
        _steps[i] += n

    networks.training_of(recipe.network)(recipe, data.source(preset, data_dir), folder, device, count)
