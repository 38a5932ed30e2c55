"""Many trainings at a time, each in a process of its own on a share of the cores."""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import torch
from tqdm import tqdm

from hw2lib import data, networks
from hw2lib.environment import cores
from hw2lib.errors import UserError
from hw2lib.training.recipe import BaseRecipe
from hw2lib.training.run_folder import RunFolder


def train_side_by_side(
    runs: list[tuple[BaseRecipe, RunFolder]], preset: str, data_dir: str, device: str, workers: int, bar: tqdm
) -> list[str]:
    """Train all runs and return, for each that failed, why; `UserError` if a worker was killed.

    Args:
        runs: recipes and their folders.
        preset, data_dir: see `hw2lib.data.source`.
        device: where each run trains.
        workers: how many train at a time.
        bar: shows the steps of all runs.
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

    images = data.source(preset, data_dir)
    networks.training_of(recipe.network)(recipe, images, folder, device, count)
