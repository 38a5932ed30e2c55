"""Speed of a denoiser's training against a plain fp32 loop: ``make bench``.

Both train `context-unet-128` on the same MNIST-M files with batches of 128, on all cores. The reference is what one
writes first: a DataLoader that decodes each image with PIL, float32, the default memory format. The images are those of
HW2_DATA if it is set, else the stand-ins. The target on two cores is a ratio of 2.5.
"""

import os
import tempfile
import time
from itertools import islice
from pathlib import Path

import outcome
import torch
import torch.nn.functional as F
from dann_training import Pngs, homework_folder
from torch.utils.data import DataLoader

from hw2lib import paths
from hw2lib.data import source
from hw2lib.diffusion import train as diffusion
from hw2lib.diffusion.recipe import Recipe
from hw2lib.diffusion.schedule import cosine, dropped, noised
from hw2lib.networks import build
from hw2lib.training.run_folder import RunFolder

NETWORK, BATCH = "context-unet-128", 128
WARM_UP, STEPS = 1, 4
TARGET = 2.5


def reference(root: Path) -> float:
    """Images a second of the plain loop."""
    torch.manual_seed(0)
    network = build(NETWORK).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    schedule = cosine(1000)
    loader = DataLoader(Pngs(root / "digits" / "mnistm"), BATCH, shuffle=True, drop_last=True)
    times = [time.perf_counter()]
    for x, labels in islice(loader, WARM_UP + STEPS):
        t = torch.randint(1, schedule.steps + 1, (BATCH,))
        noise = torch.randn_like(x)
        predicted = network(noised(x, noise, t, schedule), t / schedule.steps, dropped(labels, 0.1))
        optimiser.zero_grad()
        F.mse_loss(predicted, noise).backward()
        optimiser.step()
        times.append(time.perf_counter())
    return rate(times)


def ours(images) -> float:
    """Images a second of `hw2lib.diffusion.train.train`, without its evaluation after the last step."""
    override = {"batch": BATCH, "steps": WARM_UP + STEPS + 1, "evaluations": 1, "scored": 2}
    recipe = Recipe.choose(NETWORK, "ours", 0, "paper", override)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        diffusion.train(recipe, images, RunFolder(Path(folder), {}), "cpu", lambda n: times.append(time.perf_counter()))
    return rate(times[:-1])


def rate(times: list[float]) -> float:
    return BATCH * (len(times) - 1 - WARM_UP) / (times[-1] - times[WARM_UP])


def main() -> None:
    bench = paths.build_dir() / "bench"
    root = Path(os.environ.get("HW2_DATA") or homework_folder(bench / "images"))
    images = source("paper", str(root))
    plain, fast = reference(root), ours(images)
    outcome.save(
        "diffusion_training", NETWORK, BATCH, {"plain loop": plain, "hw2lib": fast},
        {"images": images.describe(("mnistm",)), "ratio": round(fast / plain, 2)},
        [f"{fast / plain:8.2f} times the plain loop (target on two cores: {TARGET})"],
    )  # fmt: skip


if __name__ == "__main__":
    main()
