"""Training that is stopped or killed."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


def stopped(train: Callable[[Callable[[int], None]], object], step: int) -> None:
    """Call `train` with an `on_step` that interrupts it, as Ctrl-C does, once that many steps are done."""
    done = 0

    def on_step(n: int) -> None:
        nonlocal done
        done += n
        if done == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(on_step)


def killed(arguments: list[str], log: Path, step: int) -> None:
    """Run ``hw2 train`` and kill it soon after its log has reached `step`."""

    def reached() -> int:
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        return max((json.loads(line)["step"] for line in lines if line.endswith("\n")), default=0)

    with subprocess.Popen([sys.executable, "-m", "hw2lib", *arguments], stderr=subprocess.DEVNULL) as run:
        while reached() < step:
            assert run.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        time.sleep(random.random() * 0.1)
        run.kill()
    assert run.returncode == -signal.SIGKILL
