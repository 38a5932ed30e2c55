"""Ctrl-C and too little memory, to real processes of hw2: one line, and the same command goes on."""

import resource
import signal
import time
from pathlib import Path

import pytest
from forks import Fork, contents, hw2
from image_folders import noise, write_2022
from submissions import digit_names, write

pytestmark = pytest.mark.slow

TRAIN = "train digit-classifier --preset smoke --device cpu --folder {0}/out --set steps={1} --set evaluations=20"
COMMANDS = {  # with {1}, a size that takes long, or a moment, and what tells that it is at work
    "train": (TRAIN, (100_000, 100_000), "out/log.jsonl"),
    "sample": ("sample dcgan --device cpu --count 20000 --out {0}/out", (0, 0), "out/00010.png"),
    "add": (
        "data add mine {0}/digits --data-dir {0}/images",
        (0, 0),
        "images/digits/.mine.building/digits/mine/data/00100.png",
    ),
    "grade": ("grade {0}/hand --edition 2022 --problem 2", (0, 0), "build.output"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_is_one_line_and_130(tmp_path, name):
    command, (size, _), sign = COMMANDS[name]
    write_2022(tmp_path / "digits", noise(1500), [0] * 1500, sizes=(1498, 1, 1))
    write(tmp_path / "hand", noise(1000), digit_names(100))
    fork = Fork(tmp_path / "build", hw2, *command.format(tmp_path, size).split())
    end = time.monotonic() + 100
    while not any(file.stat().st_size for file in tmp_path.glob(sign)):
        assert fork.process.is_alive(), fork.told()
        assert time.monotonic() < end
        time.sleep(0.002)
    time.sleep(0.05)
    fork.send(signal.SIGINT)
    assert fork.wait() == 130, fork.told()
    lines = fork.told().splitlines()
    assert lines[-1] == "hw2: stopped; what is finished stays, and the same command goes on"
    assert "Traceback" not in fork.told()
    assert not list(tmp_path.glob("images/digits/[!.]*"))
    assert not [path for path in tmp_path.rglob("*") if ".partial" in path.name or ".building" in path.name]


def limited(megabytes: int, *arguments: str) -> None:
    """``hw2`` with so much memory more than the process has."""
    (pages, *_) = Path("/proc/self/statm").read_text().split()
    limit = int(pages) * resource.getpagesize() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    hw2(*arguments)


@pytest.mark.parametrize(
    "command",
    [
        "train dcgan --preset smoke --device cpu --folder {0}/out",
        "sample dcgan --device cpu --count 60 --overwrite --out {0}/out",
    ],
)
@pytest.mark.parametrize("megabytes", [1, 10, 25])
def test_too_little_memory_is_named(tmp_path, command, megabytes):
    arguments = command.format(tmp_path).split()
    if arguments[0] == "sample":
        assert Fork(tmp_path / "build", hw2, *arguments, "--seed=1").wait() == 0
    before = contents(tmp_path / "out")
    fork = Fork(tmp_path / "build", limited, megabytes, *arguments)
    status = fork.wait()
    last = fork.told().splitlines()[-1]
    assert status == 2, fork.told()
    assert last.startswith("hw2: error: ")
    assert "the memory is not enough" in last
    assert "end other programs or take less at a time" in last
    assert "Traceback" not in fork.told()
    if arguments[0] == "train":
        assert Fork(tmp_path / "build", hw2, *arguments).wait() == 0
    elif megabytes == 1:
        assert contents(tmp_path / "out") == before
