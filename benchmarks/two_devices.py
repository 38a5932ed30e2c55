"""Speed of a DCGAN's training by two processes against one, on the same cores: ``make bench``.

Both train batches of 128 faces, stand-ins, in the precision that is fast here. One process computes on all cores; each
of two has half of the cores and half of each batch. Two exchange gradients, generated images and statistics, and both
prepare whole batches.
"""

import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import outcome

from hw2lib.data import source
from hw2lib.gan import train as gan
from hw2lib.gan.recipe import Recipe
from hw2lib.training.parallel import on_devices, rank
from hw2lib.training.run_folder import RunFolder
from hw2lib.training.steps import Stopped

NETWORK, BATCH = "dcgan", 128
WARM_UP, STEPS = 3, 12


def train(folder: Path, report) -> None:
    """Train in a folder; ``times-0`` there has when the first process began, and when it ended each step."""
    override = {"batch": BATCH, "steps": WARM_UP + STEPS + 1, "evaluations": 1, "scored": 2}
    recipe = Recipe.choose(NETWORK, "ours", 0, "paper", override)
    times = []
    with suppress(Stopped):  # all but the first process end so
        run = RunFolder(folder / "run", {})
        gan.train(recipe, source("quick"), run, "cpu", lambda n: times.append(time.perf_counter()))
    (folder / f"times-{rank()}").write_text(" ".join(map(str, times)))


def rate(devices: int) -> float:
    """Images a second, without the warm-up and the last step, which is evaluated."""
    with tempfile.TemporaryDirectory() as name:
        on_devices(devices, partial(train, Path(name)), lambda n: None)
        times = [float(at) for at in (Path(name) / "times-0").read_text().split()]
    return BATCH * STEPS / (times[WARM_UP + STEPS] - times[WARM_UP])


def main() -> None:
    one, two = rate(1), rate(2)
    lines = [f"{two / one:8.2f} times the speed of one process"]
    rates = {"one process": one, "two processes": two}
    outcome.save("two_devices", NETWORK, BATCH, rates, {"ratio": round(two / one, 2)}, lines)


if __name__ == "__main__":
    main()
