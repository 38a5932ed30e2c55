"""Processes forked from one that has imported everything: to kill a hundred of them takes seconds."""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

IMPORTS = (
    "gan.train", "diffusion.train", "adaptation.uda", "classifier.train", "runs", "image_files", "given_images",
    "grading.grade", "report.page", "report.running", "data.fetch", "data.standins.faces",
)  # fmt: skip

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["pytest", "lightning_fabric", *(f"hw2lib.{name}" for name in IMPORTS)])


class Fork:
    """A process that calls a function of a module; what it writes to stdout and stderr is in `output`."""

    def __init__(self, build: Path, function: Callable[..., Any], *arguments: Any) -> None:
        self.output = build.with_name(f"{build.name}.output")
        self.process = _context.Process(target=_call, args=(build, self.output, function, arguments), daemon=True)
        self.process.start()

    def wait(self, seconds: float = 200) -> int | None:
        """The exit status, below zero that of a signal; None if it is still running."""
        self.process.join(seconds)
        return self.process.exitcode

    def send(self, number: signal.Signals) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> int:
        """Kill it, if it is running, and return how it ended."""
        self.process.kill()
        return self.wait()

    def told(self) -> str:
        return self.output.read_text()


def _call(build: Path, output: Path, function: Callable[..., Any], arguments: tuple) -> None:
    os.environ |= {"HW2_BUILD": str(build), "OMP_NUM_THREADS": "1"}
    os.environ.pop("HW2_DATA", None)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for standard in (1, 2):
        os.dup2(file, standard)
    function(*arguments)


def hw2(*arguments: str) -> None:
    """``hw2`` in a fork."""
    from hw2lib.cli import main

    print("begun", flush=True)
    sys.argv = ["hw2", *arguments]
    main()


class Kills:
    """Kills processes after random times, up to `longest` seconds, until so many are killed; the seed is printed."""

    def __init__(self, wanted: int, longest: float) -> None:
        self.seed = int(os.environ.get("HW2_KILLS_SEED") or random.randrange(2**32))
        print(f"HW2_KILLS_SEED={self.seed}, {wanted} kills within {longest:.2f} s each")
        self.done, self.wanted, self.longest, self._random = 0, wanted, longest, random.Random(self.seed)

    def __bool__(self) -> bool:
        """Whether some are left."""
        return self.done < self.wanted

    def kill(self, fork: Fork) -> bool:
        """Kill a process after a random time; whether it was still running."""
        if fork.wait(self._random.uniform(0, self.longest)) is None and fork.kill() == -signal.SIGKILL:
            self.done += 1
            return True
        return False

    def end(self, start: Callable[[], Fork], look: Callable[[], Any] = lambda: None) -> None:
        """Start a process again and again, until one ends well before it is killed; `look` after each kill."""
        while self:
            if not self.kill(fork := start()):
                break
            look()
        else:
            fork = start()
        assert fork.wait() == 0, fork.told()


def timed(fork: Fork) -> float:
    """The seconds until a fork ends well."""
    began = time.monotonic()
    assert fork.wait() == 0, fork.told()
    return time.monotonic() - began


def contents(folder: Path) -> dict[str, bytes]:
    """The files below a folder by name, but for hidden ones."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    return {name: file.read_bytes() for name, file in files.items() if "/." not in f"/{name}"}
