"""Ten faces in 50 steps of DDIM, written as files, against a plain loop: one face after the other in float32.

``make bench`` runs it. Both draw with face-pyramid from the same noise; the weights are those that ship or else new
ones, which take as long. The target on two cores is 40 seconds for ours; the homework allows five minutes on a GPU.
"""

import tempfile
import time
from pathlib import Path

import outcome
import torch
from torch import nn

from hw2lib import image_files, weights
from hw2lib.diffusion import faces
from hw2lib.diffusion.schedule import linear
from hw2lib.networks import build
from hw2lib.training.run_folder import shipped_run

NETWORK, STEPS, SECONDS = "face-pyramid", 50, 40


@torch.no_grad()
def reference(network: nn.Module) -> float:
    """Seconds for ten faces, step by step as in the homework's sheet."""
    alpha_bar, times = linear(1000).alpha_bar.float(), [20 * i + 1 for i in reversed(range(STEPS))]
    begin = time.perf_counter()
    for x in faces.named_noise(64).split(1):
        for t, s in zip(times, [*times[1:], 0], strict=True):
            noise = network(x, torch.tensor([t / 1000]))
            image = (x - (1 - alpha_bar[t]).sqrt() * noise) / alpha_bar[t].sqrt()
            x = alpha_bar[s].sqrt() * image + (1 - alpha_bar[s]).sqrt() * noise
    return time.perf_counter() - begin


def ours(file: Path, folder: Path) -> float:
    """Seconds for ``00.png`` to ``09.png``, with the weights' loading."""
    faces.write_noise(folder / "noise", 64)
    begin = time.perf_counter()
    image_files.write(NETWORK, folder / "faces", weights=file, noise=folder / "noise")
    return time.perf_counter() - begin


def main() -> None:
    """Measure and write ``build/bench/face_drawing.json``."""
    network = build(NETWORK).eval()
    with tempfile.TemporaryDirectory() as name:
        run, file = shipped_run(f"{NETWORK}/ours/seed-0", None, with_weights=True), Path(name) / "new.safetensors"
        if run:
            file = run.weights
            weights.load(network, file)
        else:
            weights.save(network.state_dict(), file)
        plain, fast = reference(network), ours(file, Path(name))
    count = len(faces.NAMES)
    outcome.save(
        "face_drawing", NETWORK, count, {"plain loop": count / plain, "hw2lib": count / fast},
        {"steps": STEPS, "ratio": round(plain / fast, 2), "seconds for ten faces": round(fast, 1)},
        [f"{plain / fast:8.2f} times the plain loop", f"{fast:8.1f} s for {count} faces (target: {SECONDS})"],
    )  # fmt: skip


if __name__ == "__main__":
    main()
