"""Training that is killed."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path


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
