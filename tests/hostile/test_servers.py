"""JupyterLab and Voila, started as the Makefile does: nobody gets in without the token, nor from another machine."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from hw2lib import paths

SECONDS = 120
LISTENS = "0A"  # as /proc/net/tcp writes it


def command(target: str) -> list[str]:
    """What `make` runs for a target."""
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", target], cwd=paths.ROOT, capture_output=True, text=True
    )
    lines = done.stdout.replace("\\\n", " ").splitlines()
    _, *arguments = shlex.split(next(line for line in reversed(lines) if "notebooks/90_explore" in line))
    return [sys.executable, "-m", {"lab": "jupyterlab", "explore": "voila"}[target], *arguments[target == "lab" :]]


def listening(process: subprocess.Popen) -> set[tuple[str, int]]:
    """The addresses and ports at which a process listens."""
    sockets = {os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir() if link.is_symlink()}
    found = set()
    for family, name in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENS and f"socket:[{fields[9]}]" in sockets:
                address, port = fields[1].split(":")
                words = [bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8)]
                found.add((socket.inet_ntop(family, b"".join(words)), int(port, 16)))
    return found


def status(address: str) -> tuple[int, str]:
    """The answer to a request that follows redirects, and where it led."""
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return answer.status, answer.url
    except urllib.error.HTTPError as error:
        return error.code, error.url


@pytest.fixture(params=["lab", "explore"])
def server(request, tmp_path):
    """A process, what it has said so far, and which of the two it is."""
    if request.param == "explore":
        pytest.importorskip("voila", reason="needs Voila: pip install -e '.[dev]'")
    if not Path("/proc/net/tcp").exists():
        pytest.skip("needs Linux")
    places = ("JUPYTER_CONFIG", "JUPYTER_DATA", "JUPYTER_RUNTIME", "JUPYTERLAB_WORKSPACES", "JUPYTERLAB_SETTINGS")
    environment = os.environ | {f"{place}_DIR": str(tmp_path / place) for place in places}
    environment |= {"IPYTHONDIR": str(tmp_path / "ipython"), "HW2_BUILD": str(tmp_path / "build")}
    root = ["--allow-root"] if request.param == "lab" and os.geteuid() == 0 else []
    log = tmp_path / "log"
    process = subprocess.Popen(
        [*command(request.param), "--no-browser", *root], cwd=paths.ROOT, env=environment, stderr=log.open("w")
    )
    try:
        yield process, log, request.param
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.mark.slow
def test_a_server_listens_on_loopback_and_asks_for_a_token(server):
    process, log, name = server
    until = time.monotonic() + SECONDS
    while not (found := re.search(r"http://(?:localhost|127\.0\.0\.1):\d+/\S*token=(\w+)", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.2)
    assert len(found[1]) >= 32
    while not (there := set(listening(process))):  # the address is told a moment before
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.2)
    assert {host for host, _ in there} <= {"127.0.0.1", "::1"}
    home = f"http://127.0.0.1:{urllib.parse.urlsplit(found[0]).port}"
    for token in ("", "?token=", "?token=wrong"):
        code, place = status(f"{home}/{token}")
        assert code == 403 or "/login" in place
        for part in (
            "api/contents",
            "api/kernels",
            "api/sessions",
            "lab",
            "files/notebooks/90_explore.ipynb",
            "terminals/1",
        ):
            code, place = status(f"{home}/{part}{token}")
            assert code in (403, 404) or "/login" in place
    if name == "lab":
        assert status(f"{home}/api/contents?token={found[1]}")[0] == 200
    request = urllib.request.Request(f"{home}/api/kernels", b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=30)
