"""The report on a cluster: a real SLURM of one node, which runs for this test alone."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hw2lib.files import try_lock

CONF = Path("/etc/slurm/slurm.conf")  # the one place where jobs look for it, whatever SLURM_CONF says
GPUS = CONF.with_name("gres.conf")
OURS = "# Of the tests of hw2lib, which remove it.\n"
NODE = socket.gethostname().partition(".")[0]
# A GPU and memory that the machine need not have; what a job uses is measured each second, and held to its limit.
SETTINGS = """ClusterName=tests
SlurmctldHost={node}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
ReturnToService=2
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MinJobAge=300
KillWait=5
NodeName={node} NodeAddr=127.0.0.1 CPUs=2 RealMemory=32000 Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip()


def wait_for(what: Callable[[], object], seconds: float, told: Callable[[], str]):
    """What `what` returns, once that is something; `told` says what to know if it never is."""
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, told()
        time.sleep(0.2)
    return found


@contextlib.contextmanager
def daemon(*command: str) -> Iterator[None]:
    """A daemon in the foreground, which ends with the block, and with this process if that is killed."""
    with subprocess.Popen(["setpriv", "--pdeathsig", "TERM", *command], stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


@pytest.fixture
def slurm(tmp_path) -> Iterator[None]:
    if os.geteuid() != 0 or not all(map(shutil.which, ("sbatch", "slurmctld", "slurmd", "munged", "setpriv"))):
        pytest.skip("needs root, and Debian's packages slurm-wlm and munge")
    alone = try_lock(Path("/tmp/hw2lib-slurm.lock"))
    foreign = [file for file in (CONF, GPUS) if file.exists() and not file.read_text().startswith(OURS)]
    if alone is None or foreign:
        pytest.skip(f"another SLURM is on this machine: {CONF}")
    with contextlib.ExitStack() as stack:
        stack.callback(alone.release)
        for folder in ("state", "spool"):
            (tmp_path / folder).mkdir()
        with socket.socket() as one, socket.socket() as two:
            ports = [(port.bind(("127.0.0.1", 0)), port.getsockname()[1])[1] for port in (one, two)]
        for file, content in ((CONF, SETTINGS), (GPUS, "Name=gpu File=/dev/null\n")):
            stack.callback(file.unlink, missing_ok=True)
            file.write_text(OURS + content.format(node=NODE, folder=tmp_path, ports=ports))
        if not said("munge", "--no-input"):
            (run := Path("/run/munge")).mkdir(exist_ok=True)
            shutil.chown(run, "munge", "munge")
            user = ("--reuid", "munge", "--regid", "munge", "--clear-groups")
            stack.enter_context(daemon(*user, "munged", "--foreground", "--force"))
            wait_for(lambda: said("munge", "--no-input"), 20, lambda: "munged does not answer")
        stack.enter_context(daemon("slurmctld", "-D", "-c"))
        stack.enter_context(daemon("slurmd", "-D", "-c"))
        logs = [tmp_path / "slurmctld.log", tmp_path / "slurmd.log"]
        idle = lambda: said("sinfo", "-h", "-o", "%t") == "idle"  # noqa: E731
        wait_for(idle, 30, lambda: "".join(log.read_text()[-2000:] for log in logs if log.exists()))
        try:
            yield
        finally:
            said("scancel", "--user", "root")
            wait_for(lambda: not said("squeue", "-h"), 30, lambda: said("squeue"))


def job_of(notebook: str) -> str:
    """The number of the running job of a notebook, or ""."""
    jobs = [line.split() for line in said("squeue", "-h", "-t", "R", "-o", "%i %k").splitlines()]
    return next((number for number, comment in jobs if comment.endswith(notebook)), "")


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_a_report_as_jobs_of_slurm(slurm, tmp_path):
    drawn, killed, hungry = "20_acgan_architecture", "32_diffusion_reverse", "10_gan_architectures"
    build = tmp_path / "build"
    command = [sys.executable, "-m", "hw2lib", "report", "--preset", "smoke", "--cluster", "slurm", "--"]
    quick = ["--set-threads", "notebook=1", "--latency-wait", "10", "--seconds-between-status-checks", "1"]
    quick += ["--slurm-init-seconds-before-status-checks", "1"]
    variables = os.environ | {"HW2_BUILD": str(build)}

    def report(*arguments: str, meanwhile: Callable[[], None] = lambda: None) -> tuple[int, str]:
        """The exit status and standard error of the report."""
        process = subprocess.Popen([*command, *arguments], env=variables, stderr=subprocess.PIPE, text=True)
        with process:
            try:
                meanwhile()
                return process.wait(300), process.stderr.read()
            finally:
                process.terminate()

    def records() -> set[str]:
        files = build.glob("smoke/figures/*/record.json")
        return {file.parent.name for file in files if json.loads(file.read_text())["completed"]}

    def logs(notebook: str) -> list[str]:
        files = sorted(build.glob(f"smoke/logs/rule_notebook/{notebook}/*.log"), key=lambda file: int(file.stem))
        return [file.read_text() for file in files]

    # A job that is cancelled at its work is named; the others are done, and the same command goes on.
    asked = []

    def cancel() -> None:
        at_work = lambda: [*build.glob(f"smoke/executed/.{killed}.*/*.ipynb")]  # noqa: E731
        wait_for(at_work, 200, lambda: str(logs(killed)))
        asked.append(said("scontrol", "show", "job", job_of(killed)))
        said("scancel", job_of(killed))

    arguments = [drawn, killed, *quick, "--retries", "0"]
    status, err = report(*arguments, meanwhile=cancel)
    assert status == 2
    last = err.splitlines()[-1]
    assert last.startswith(f"hw2: error: not up to date: {killed}; {build}/smoke/logs has a log of each job; ")
    assert f"hw2: {killed}: SLURM-job '" in err, err
    assert "failed, SLURM status is: 'CANCELLED'" in err
    assert "CANCELLED" in logs(killed)[-1]
    assert records() == {drawn}
    assert "gres:gpu:1" in asked[0], "it trains"
    assert "mem=8000M" in asked[0]

    status, err = report(*arguments)
    assert status == 0, err
    assert records() == {drawn, killed}
    assert len(logs(drawn)) == 1, "it has not run again"

    # A job that needs more memory than it has asked for gets more in the next attempt.
    little = ["--set-resources", "notebook:mem_mb=100 if attempt == 1 else 8000"]
    status, err = report(hungry, *quick, *little)
    assert status == 0, err
    first, second = logs(hungry)
    assert "exceeded memory limit" in first
    assert "exceeded memory limit" not in second
    assert hungry in records()
