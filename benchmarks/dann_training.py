"""Speed of DANN training against a plain fp32 loop over the same PNG files: ``make bench``.

Both train `dann-compact` on MNIST-M to USPS with Adam and the same batches, on all cores, without augmentation; ours is
also measured with it. The reference is what one writes first: a DataLoader that decodes each image with PIL, float32,
the default memory format; its best number of worker processes counts. The images are those of HW2_DATA if it is set,
else the stand-ins, written below ``build/bench``. The target is a ratio of 3 on two cores.
"""

import csv
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import outcome
import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_tensor
from tqdm import tqdm

from hw2lib import paths
from hw2lib.adaptation import dann
from hw2lib.adaptation.dann import domain_loss
from hw2lib.adaptation.networks import reversal_strength
from hw2lib.adaptation.recipe import DANNRecipe
from hw2lib.data import SPLITS, source
from hw2lib.networks import build
from hw2lib.training.run_folder import RunFolder

NETWORK, DOMAINS = "dann-compact", ("mnistm", "usps")
BATCH = 256  # of each domain
WARM_UP, SECONDS = 3, 8  # steps not counted, and about how long is measured
TARGET = 3


class Pngs(Dataset):
    """One split of a homework folder, decoded image by image."""

    def __init__(self, domain: Path) -> None:
        with open(domain / "train.csv", newline="") as file:
            self.rows = [(domain / "data" / row["image_name"], int(row["label"])) for row in csv.DictReader(file)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        path, label = self.rows[i]
        return to_tensor(Image.open(path).convert("RGB")) * 2 - 1, label


def reference(root: Path, workers: int) -> float:
    """Images a second of the plain loop."""

    def batches(domain: str) -> Iterator:
        data = Pngs(root / "digits" / domain)
        while True:
            yield from DataLoader(data, BATCH, shuffle=True, drop_last=True, num_workers=workers)

    torch.manual_seed(0)
    network = build(NETWORK).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    is_target = torch.arange(2 * BATCH) >= BATCH
    times = [time.perf_counter()]
    for step, ((x, labels), (x_target, _)) in enumerate(zip(*map(batches, DOMAINS), strict=True)):
        logits, domains = network(torch.cat([x, x_target]), BATCH, reversal_strength(step / 1000))
        loss = F.cross_entropy(logits, labels) + domain_loss(domains, is_target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        times.append(time.perf_counter())
        if len(times) > WARM_UP + 2 and times[-1] - times[WARM_UP] > SECONDS:
            return rate(times)


def ours(images, steps: int, **settings) -> float:
    """Images a second of `hw2lib.adaptation.dann.train`, without its evaluation after the last step."""
    recipe = DANNRecipe.choose(
        NETWORK, "ours", *DOMAINS, "dann", 0, "paper", {"batch": BATCH, "steps": steps, "evaluations": 1} | settings
    )
    times = []
    with tempfile.TemporaryDirectory() as folder:
        dann.train(recipe, images, RunFolder(Path(folder), {}), "cpu", lambda n: times.append(time.perf_counter()))
    return rate(times[:-1])


def rate(times: list[float]) -> float:
    return 2 * BATCH * (len(times) - 1 - WARM_UP) / (times[-1] - times[WARM_UP])


def homework_folder(root: Path) -> Path:
    """The stand-ins as PNG files and csv, written once."""
    for domain in DOMAINS:
        home = root / "digits" / domain
        if home.exists():
            continue
        partial = home.with_name(f".{domain}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "data").mkdir(parents=True)
        for split in SPLITS:
            digits = source("quick").load(domain, split)
            rows = [("image_name", "label")]
            for i, (image, label) in enumerate(zip(digits.images, digits.labels, strict=True)):
                name = f"{split}-{i:05d}.png"
                Image.fromarray(image.transpose(1, 2, 0).squeeze()).save(partial / "data" / name)
                rows.append((name, label))
            with open(partial / f"{split}.csv", "w", newline="") as file:
                csv.writer(file).writerows(rows)
        os.rename(partial, home)
    return root


def main() -> None:
    bench = paths.build_dir() / "bench"
    root = Path(os.environ.get("HW2_DATA") or homework_folder(bench / "images"))
    images = source("paper", str(root))
    plain = {
        "optimiser": "adam", "normalisation": "range", "augment_source": {}, "augment_target": {}, "ema_decay": 0.0,
    }  # fmt: skip
    measured = {}
    with tqdm(total=4, desc="measuring", disable=not sys.stderr.isatty()) as bar:
        for workers in (0, 2):
            measured[f"plain loop, {workers} workers"] = reference(root, workers)
            bar.update()
        steps = max(20, round(ours(images, 12, **plain) * SECONDS / (2 * BATCH)))
        measured["hw2lib, no augmentation"] = ours(images, steps, **plain)
        bar.update()
        measured["hw2lib, recipe ours"] = ours(images, max(20, steps // 2))
        bar.update()

    best = max(value for name, value in measured.items() if name.startswith("plain"))
    ratio = measured["hw2lib, no augmentation"] / best
    outcome.save(
        "dann_training", NETWORK, f"{BATCH} + {BATCH}", measured,
        {"images": images.describe(), "ratio": round(ratio, 2)},
        [f"{ratio:8.2f} times the plain loop at its best (target on two cores: {TARGET})"],
    )  # fmt: skip


if __name__ == "__main__":
    main()
