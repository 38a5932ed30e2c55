"""Training runs: which recipes are meant, where their folders are, and how many are trained at a time."""

import functools
import hashlib
import heapq
import json
import math
import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, get_args

import torch
from tqdm.auto import tqdm

from hw2lib import data, environment, networks, paths, used, weights
from hw2lib.environment import cores
from hw2lib.errors import UserError
from hw2lib.files import has_shape, read_json, write
from hw2lib.training import parallel
from hw2lib.training.cards import SHAPE, hardware, minutes, result_of
from hw2lib.training.devices import check_device
from hw2lib.training.recipe import SEEDS, BaseRecipe, Trainings
from hw2lib.training.run_folder import RunFolder, shipped_run
from hw2lib.training.steps import Stopped

__all__ = [
    "PAIRS", "SEEDS", "asked", "finished", "missing", "recipes_for", "result_of", "run_folder", "settings_of", "ship",
    "side_by_side", "train", "train_all", "what_is_left",
]  # fmt: skip

PAIRS = ("mnistm-svhn", "mnistm-usps")
GPU_BYTES = 8 * 2**30  # free memory of a GPU for each run there: several times what a training of the report takes

Run = tuple[BaseRecipe, RunFolder]


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


def asked(preset: str, *trainings: Trainings, **replaced: Sequence) -> list[BaseRecipe]:
    """The recipes of what a notebook shows, with `replaced`, such as ``seeds=[3]``, in place of its own choice.

    Those of ``quick`` are those of ``paper``, whose runs it shows.
    """
    paths.check_preset(preset)
    preset = "paper" if preset == "quick" else preset
    chosen: list[BaseRecipe] = []
    for one in trainings:
        *values, _ = one._replace(**replaced)
        names, recipes, seeds, *pairs = (value[preset] if isinstance(value, dict) else value for value in values)
        chosen += recipes_for(names, recipes, seeds, preset, *pairs)
    return chosen


def missing(preset: str, data_dir: str, device: str) -> list[Run]:
    """The recipes and folders of what the notebooks show and nobody has trained, those of unknown length and the
    longest first. A card that ships is a finished run, but where a notebook draws with the weights. ``quick`` trains
    none of them.
    """
    if preset == "quick":
        return []
    from hw2lib import comparison
    from hw2lib.adaptation import tables as adaptation
    from hw2lib.diffusion import faces
    from hw2lib.diffusion import tables as diffusion
    from hw2lib.gan import tables as gan

    recipes: dict[BaseRecipe, bool] = {}
    parts = (gan, diffusion, faces, adaptation, comparison)
    for one in (one for part in parts for some in part.REPORT.values() for one in some):
        for recipe in asked(preset, one):
            recipes[recipe] = recipes.get(recipe, False) or one.with_weights
    images = data.source(preset, data_dir)
    runs = [(one, run_folder(one, preset, images, recipes[one])) for one in learnable(recipes, images)]
    left = [(recipe, folder) for recipe, folder in runs if not folder.card]
    timed = zip(left, seconds_left(left, device), strict=True)
    return [run for run, _ in sorted(timed, key=lambda one: -(math.inf if one[1] is None else one[1]))]


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
    except (ValueError, RecursionError):
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

    In ``quick`` they are those that ship, trained for real, whatever images are at hand; `train` makes it a `UserError`
    if none of them does. In other presets `train` trains what is missing. What is missing else, or would learn labels
    of a target without any, is left out.
    """
    recipes = list(dict.fromkeys(recipes))
    if not recipes:
        return []
    if preset == "quick":
        ships = [run for recipe in recipes if (run := shipped_run(recipe.title, None, with_weights))]
        if train and not ships:
            run = recipes[0].title + (" with weights" if with_weights else "")
            raise UserError(f"quick shows the runs that ship, and not {run}; the preset paper trains it")
        return ships
    images = data.source(preset, data_dir)
    recipes = learnable(recipes, images)
    if train:
        return train_all(recipes, preset, data_dir, device, with_weights)
    return [run for recipe in recipes if (run := run_folder(recipe, preset, images, with_weights)).card]


def train_all(
    recipes: list[BaseRecipe], preset: str, data_dir: str = "", device: str = "auto", with_weights: bool = False
) -> list[RunFolder]:
    """Train what is not finished, one run a core (one at a time on a GPU), and return the folders in order."""
    images = data.source(preset, data_dir)
    folders = [run_folder(recipe, preset, images, with_weights) for recipe in recipes]
    # By how many there are and not by how many are left: another number of threads rounds sums differently, and a run
    # that was stopped has to go on bit for bit.
    jobs = min(len(recipes), cores()) if check_device(device).type == "cpu" else 1
    train(list(zip(recipes, folders, strict=True)), preset, data_dir, device, jobs)
    return folders


def train(
    runs: list[Run], preset: str, data_dir: str, device: str, jobs: int, until: float = math.inf, devices: int = 1
) -> None:
    """Train the runs that are not finished, in their order, so many `jobs` at a time, or one on so many `devices`.

    Small networks train faster side by side on one thread each than one after the other on all. At the time `until`, of
    ``time.monotonic``, which all processes share, each run ends behind its step and any evaluation there, and saves its
    state. Stopped or interrupted, the same call goes on. If runs failed, such as diverged ones, a `UserError` says so
    once the others are trained.
    """
    parallel.check(device, devices, jobs, [recipe for recipe, _ in runs])
    waiting = [(recipe, folder) for recipe, folder in runs if not folder.card]
    if not waiting:
        return
    images = data.source(preset, data_dir)
    total, quiet = sum(recipe.steps for recipe, _ in waiting), parallel.rank()
    with tqdm(total=total, desc=f"{len(waiting)} runs", unit="step", disable=quiet) as bar:
        if jobs > 1:
            failures = train_side_by_side(waiting, preset, data_dir, device, jobs, bar, until)
        else:
            failures = []
            for recipe, folder in waiting:
                work = functools.partial(_train_until, until, recipe, images, folder, device)
                try:
                    parallel.on_devices(devices, work, bar.update)
                except UserError as error:
                    if parallel.count() > 1:
                        raise  # torchrun ends all processes with this one
                    failures.append(str(error))
    if failures:
        others = len(failures) - 1
        more = f" (and {others} more {'run' if others == 1 else 'runs'} failed)" if others else ""
        raise UserError(failures[0] + more)


def side_by_side(count: int, device: str) -> int:
    """How many of `count` runs are trained at a time: one a core, on a GPU one for each `GPU_BYTES` of free memory."""
    where, most = check_device(device), min(count, cores())
    if where.type == "cuda":
        most = min(most, torch.cuda.mem_get_info(where)[0] // GPU_BYTES)
    return max(1, most)


def seconds_left(runs: Iterable[Run], device: str) -> list[float | None]:
    """How long each run should still take on this device, its last evaluation aside; None where nothing is known.

    It is what the run itself took for a step so far, else the median of the finished runs of this network on such
    hardware whose settings differ least.
    """
    where = check_device(device)
    here = torch.cuda.get_device_name(where) if where.type == "cuda" else environment.hardware()["cpu"]
    files = [file for place in (paths.TRAINED, paths.runs_dir("paper")) for file in place.rglob("card.json")]
    cards = [read_json(file) for file in files]  # of long runs: the first steps of any are slow
    cards = [card for card in cards if has_shape(card, SHAPE) and hardware(card) == here]

    def left(recipe: BaseRecipe, folder: RunFolder) -> float | None:
        steps, seconds = folder.progress()
        if not steps:
            like = [card for card in cards if card["settings"]["network"] == recipe.network]
            if not like:
                return None
            same = [sum(card["settings"].get(key) == x for key, x in folder.settings.items()) for card in like]
            closest = [card for card, count in zip(like, same, strict=True) if count == max(same)]
            return median(card["seconds"] / card["settings"]["steps"] for card in closest) * recipe.steps
        return seconds / steps * (recipe.steps - steps)

    return [left(*run) for run in runs]


def what_is_left(runs: Iterable[Run], device: str, jobs: int) -> list[str]:
    """A line for each run that is not finished, and one for all of them, so many `jobs` at a time.

    The time of all is that of runs that do not slow each other down.
    """
    left = [run for run in runs if not run[1].card]
    lengths = seconds_left(left, device)
    ends = [0.0] * jobs
    for seconds in filter(None, lengths):
        heapq.heapreplace(ends, ends[0] + seconds)
    times = ["unknown" if seconds is None else f"{minutes(seconds)} min" for seconds in lengths]
    lines = [f"{time:>10}  {recipe.title}" for time, (recipe, _) in zip(times, left, strict=True)]
    many = "no run is left" if not left else "1 run is left" if len(left) == 1 else f"{len(left)} runs are left"
    if any(ends):
        many += f": about {minutes(max(ends))} min, {jobs} at a time"
    if left and None in lengths:
        many += f"; {lengths.count(None)} of unknown length"
    return [*lines, many]


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
    runs: list[Run], preset: str, data_dir: str, device: str, jobs: int, bar: tqdm, until: float
) -> list[str]:
    """Train all runs, so many `jobs` at a time, until some time, and return, for each that failed, why.

    The bar shows the steps of all runs. `UserError` if a worker was killed.
    """
    context = multiprocessing.get_context("spawn")
    # A number for each run and no lock: a worker that is killed would keep it for ever.
    steps = context.RawArray("q", len(runs))
    threads = max(1, cores() // jobs)
    pool = ProcessPoolExecutor(min(jobs, len(runs)), context, initializer=_start_worker, initargs=(threads, steps))
    failures = []
    try:
        futures = [pool.submit(_train_one, i, until, *run, preset, data_dir, device) for i, run in enumerate(runs)]
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
    parallel.begin_worker(threads)


def _train_one(
    i: int, until: float, recipe: BaseRecipe, folder: RunFolder, preset: str, data_dir: str, device: str
) -> None:
    def count(n: int) -> None:
        _steps[i] += n

    _train_until(until, recipe, data.source(preset, data_dir), folder, device, count)


def _train_until(
    until: float, recipe: BaseRecipe, images, folder: RunFolder, device: str, count: Callable[[int], Any]
) -> None:
    """Train a run to its end, or until some time; see `train`."""

    def on_step(n: int) -> None:
        count(n)
        if time.monotonic() >= until:
            raise Stopped

    if parallel.count() > 1 or time.monotonic() < until:  # of several processes the first decides, in the training
        try:
            with suppress(Stopped):
                networks.training_of(recipe.network)(recipe, images, folder, device, on_step)
        except torch.OutOfMemoryError:
            remedy = "the same command goes on, with fewer --jobs"
            raise UserError(f"{folder.path}: the memory of the GPU is not enough; {remedy}") from None
