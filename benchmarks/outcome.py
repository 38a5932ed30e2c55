"""What a benchmark has measured: printed, and kept as JSON below ``build/bench``."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from hw2lib import environment, paths
from hw2lib.training.devices import bf16_is_fast


def save(
    name: str, network: str, batch: object, rates: Mapping[str, float], measured: dict[str, Any], lines: Sequence[str]
) -> None:
    """Print the images a second of each loop and `lines`, and write all that was measured.

    Args:
        name: of the file.
        network, batch: what was trained.
        rates: loop to images a second.
        measured: what else goes into the file.
        lines: what else is printed.
    """
    where, load = environment.hardware(), os.getloadavg()[0]
    precision = "bf16" if bf16_is_fast(torch.device("cpu")) else "fp32"
    print(f"{network}, batch {batch}, {where['cpu']}, {where['cores']} cores, {precision}")
    for loop, rate in rates.items():
        print(f"{rate:8,.{1 if rate < 100 else 0}f} images/s  {loop}")
    print(*lines, sep="\n")
    if load > 1.5 * where["cores"]:
        print(f"         noisy: the load is {load:.1f} on {where['cores']} cores")
    result = {
        "network": network, "batch": batch, **where, **environment.versions(), "precision": precision, "load": load,
        "images a second": {loop: round(rate, 1) for loop, rate in rates.items()}, **measured,
    }  # fmt: skip
    bench = paths.build_dir() / "bench"
    bench.mkdir(parents=True, exist_ok=True)
    (bench / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
