"""Where training runs and in what precision."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from hw2lib.errors import UserError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def check_device(name: str) -> torch.device:
    """The device that ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` stands for; `UserError` if it is not there."""
    if name in ("auto", "cpu"):
        return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind != "cuda" or (":" in name and not index.isdecimal()):
        raise UserError(f"unknown device '{name}': choose auto, cpu, cuda or cuda:N")
    if not torch.cuda.is_available():
        raise UserError(f"device '{name}': no CUDA device is available here; choose auto or cpu")
    if int(index or 0) >= torch.cuda.device_count():
        raise UserError(f"device '{name}': there are {torch.cuda.device_count()} CUDA devices, counted from 0")
    return torch.device(name)


def bf16_is_fast(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16; elsewhere it is emulated and slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux: Apple's and Windows' CPUs are not worth a guess
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def fabric_for(device: str) -> "Fabric":
    """A Lightning Fabric on that device, in mixed bfloat16 where it pays and in float32 elsewhere."""
    from lightning_fabric import Fabric  # takes seconds; drawing images does without
    from lightning_fabric.plugins.environments import LightningEnvironment

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # not a line for each run
    where = check_device(device)
    torch.backends.cudnn.benchmark = where.type == "cuda"  # most steps have one shape: it pays to try kernels
    return Fabric(
        accelerator=where.type,
        devices=[where.index or 0] if where.type == "cuda" else 1,
        precision="bf16-mixed" if bf16_is_fast(where) else "32-true",
        plugins=[LightningEnvironment()],  # one process, also where SLURM is at hand
    )
