"""What holds for every hostile input: success or one clear line, in bounded time and memory, and nothing touched."""

import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hw2lib.errors import UserError

SECONDS = 10  # of one input
MEMORY = 2 * 2**30  # bytes beyond those at the beginning
STARTS = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn"}
# What changes files: where a path is among the arguments of the event, and the open folder that it starts in.
CHANGES = {
    "os.remove": (0, 1),
    "os.mkdir": (0, 2),
    "os.rmdir": (0, 1),
    "os.truncate": (0, None),
    "os.chmod": (0, 2),
    "os.rename": (1, 3),
    "os.link": (1, 3),
    "os.symlink": (1, 2),
}

_watched: list["Guard"] = []  # the one that is at work; Python forgets no audit hook


def _audit(event: str, arguments: tuple) -> None:
    if _watched:
        _watched[-1].see(event, arguments)


sys.addaudithook(_audit)


class Guard:
    """Calls the code under test with a hostile input, and counts the inputs.

    It may write below `home` alone, and `canary`, beside it, stays as it is.
    """

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.home.mkdir()
        self.marker = root / "marker"  # what the code in an exploit would make
        self.cases = 0
        self._root, self._wrong = root, []
        self._writable = [os.path.realpath(place) for place in (self.home, os.environ["HW2_BUILD"])]

    def __call__(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The result of a call, or the `UserError` that it raises; anything else is a failure."""
        self.cases += 1
        self._wrong.clear()
        began = time.monotonic()
        _watched.append(self)
        try:
            result = call(*arguments, **options)
        except UserError as error:
            result = error
        finally:
            _watched.remove(self)
        assert not isinstance(result, UserError) or "\n" not in str(result)
        assert time.monotonic() - began < SECONDS
        assert not self._wrong
        assert not {path.name for path in self._root.iterdir()} - {"home", "build", "cwd"}
        return result

    def peak(self, call: Callable[..., Any], *arguments: Any) -> int:
        """The bytes of memory that a call takes at most."""
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # begin the peak anew
        self(call, *arguments)
        return _status("VmHWM") - before

    def see(self, event: str, arguments: tuple) -> None:
        """Note a program that is started, and a file that is written elsewhere."""
        if event in STARTS:
            self._wrong.append((event, arguments))
        elif event in CHANGES:
            path, folder = CHANGES[event]
            self._check(event, arguments[path], -1 if folder is None else arguments[folder])
        elif event == "open" and _writes(*arguments):
            self._check(event, arguments[0], -1)

    def _check(self, event: str, path: Any, folder: int) -> None:
        if isinstance(path, str | bytes | os.PathLike):
            start = os.readlink(f"/proc/self/fd/{folder}") if folder >= 0 else ""
            place = os.path.realpath(os.path.join(start, os.fsdecode(path)))
            if not any(place == home or place.startswith(home + os.sep) for home in self._writable):
                self._wrong.append((event, place))


def _status(key: str) -> int:
    """Bytes, from what Linux knows of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def _writes(path: Any, mode: Any, flags: int) -> bool:
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) and path != os.devnull


@pytest.fixture
def guard(tmp_path, monkeypatch, request, record_property):
    """A `Guard` in a folder of its own, with a limit on memory."""
    monkeypatch.setenv("HW2_BUILD", str(tmp_path / "build"))
    monkeypatch.delenv("HW2_DATA", raising=False)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    guard = Guard(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, limits[1]))
    try:
        yield guard
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    record_property("hostile inputs", guard.cases)
    assert not list((tmp_path / "cwd").iterdir())
    assert guard.cases >= getattr(request.function, "cases", 0)
