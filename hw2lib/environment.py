"""By which code, with which versions and on which machine a result was made."""

import contextlib
import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

from hw2lib import paths


def code_version() -> dict:
    """The commit, and whether the code differs from it; both None outside a git repository.

    As it was when a process first asks: what it has imported does not change when a file does.
    """
    return dict(_code_version(paths.ROOT))


def versions() -> dict[str, str]:
    """Python and torch."""
    return {"python": platform.python_version(), "torch": importlib.metadata.version("torch")}


def hardware() -> dict:
    """The processor, the cores this process may use, and the GPUs that it has used so far."""
    return {"cpu": _cpu_model(), "cores": cores(), "gpu": _gpus_used()}


def machine() -> str:
    """The GPU that this process has used, else the processor, for a caption that states a time."""
    return _gpus_used() or f"{_cpu_model()}, {cores()} cores"


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _code_version(root: Path) -> dict:
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", "hw2lib", "notebooks")
    return {"commit": commit or None, "dirty": None if changes is None else bool(changes)}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _gpus_used() -> str | None:
    torch = sys.modules.get("torch")  # not imported here: a notebook without torch has used no GPU
    if torch is None or not torch.cuda.is_initialized():
        return None
    used = [i for i in range(torch.cuda.device_count()) if torch.cuda.max_memory_allocated(i) > 0]
    return ", ".join(torch.cuda.get_device_name(i) for i in used) or None
