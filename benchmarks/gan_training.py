"""Speed of a DCGAN's training against the loop of PyTorch's DCGAN tutorial, and of drawing 1,000 faces: ``make bench``.

Both train `dcgan` on the same 64x64 faces with batches of 128, on all cores. The reference is what the tutorial does,
in float32 and the default memory format, but with its images decoded beforehand, which a DataLoader would only slow
down. The images are those of HW2_DATA if it is set, else the stand-ins. The target is a ratio of 2 on two cores, and
1,000 faces as PNG files in 10 seconds.
"""

import os
import tempfile
import time
from pathlib import Path

import outcome
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from hw2lib import image_files
from hw2lib.data import FACES, source
from hw2lib.gan import train as gan
from hw2lib.gan.recipe import Recipe
from hw2lib.networks import build
from hw2lib.training.run_folder import RunFolder

NETWORK, BATCH = "dcgan", 128
WARM_UP, STEPS = 2, 12
COUNT = 1000  # faces drawn


def reference(faces: torch.Tensor) -> float:
    """Images a second of the tutorial's loop."""
    torch.manual_seed(0)
    network = build(NETWORK).train()
    generator, discriminator = network.generator, network.discriminator
    for_d, for_g = (torch.optim.Adam(part.parameters(), 2e-4, (0.5, 0.999)) for part in (discriminator, generator))
    ones, zeros = torch.ones(BATCH), torch.zeros(BATCH)
    times = []
    for _ in range(WARM_UP + STEPS):
        times.append(time.perf_counter())
        real = faces[torch.randint(len(faces), (BATCH,))].float() / 127.5 - 1
        discriminator.zero_grad()
        F.binary_cross_entropy(discriminator(real), ones).backward()
        fake = generator(torch.randn(BATCH, network.latent))
        F.binary_cross_entropy(discriminator(fake.detach()), zeros).backward()
        for_d.step()
        generator.zero_grad()
        F.binary_cross_entropy(discriminator(fake), ones).backward()
        for_g.step()
    return rate([*times, time.perf_counter()])


def ours(images) -> float:
    """Images a second of `hw2lib.gan.train.train`, without its evaluation after the last step."""
    steps = WARM_UP + STEPS + 1
    override = {"batch": BATCH, "steps": steps, "evaluations": 1, "scored": 2}
    recipe = Recipe.choose(NETWORK, "ours", 0, "paper", override)
    times = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as folder:
        gan.train(recipe, images, RunFolder(Path(folder), {}), "cpu", lambda n: times.append(time.perf_counter()))
    return rate(times[1:-1])  # the first is that of the start, the last that of the evaluation


def rate(times: list[float]) -> float:
    return BATCH * (len(times) - 1 - WARM_UP) / (times[-1] - times[WARM_UP])


def drawing() -> float:
    """Seconds for 1,000 faces, written as PNG files; weights need not be good for that."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        save_file(build(NETWORK).generator.state_dict(), weights)
        began = time.perf_counter()
        image_files.write(NETWORK, Path(folder) / "faces", COUNT, weights=weights, device="cpu")
        return time.perf_counter() - began


def main() -> None:
    root = os.environ.get("HW2_DATA", "")
    images = source("paper", root) if root else source("quick")
    faces = torch.tensor(images.load(FACES, "train").images)
    plain, fast, seconds = reference(faces), ours(images), drawing()
    outcome.save(
        "gan_training", NETWORK, BATCH, {"tutorial loop": plain, "hw2lib": fast},
        {"images": images.describe((FACES,)), "ratio": round(fast / plain, 2),
         "seconds for 1,000 faces": round(seconds, 2)},
        [f"{fast / plain:8.2f} times the tutorial loop (target on two cores: 2)",
         f"{seconds:8.2f} s for {COUNT:,} faces as PNG files (target: 10)"],
    )  # fmt: skip


if __name__ == "__main__":
    main()
