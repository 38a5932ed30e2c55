"""Making the report: run what is out of date (Snakemake), fill ``report.md``, export the PDF."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hw2lib import paths
from hw2lib.errors import UserError
from hw2lib.report import dependencies, document, parameters, record, running
from hw2lib.report.staging import lock


@dataclass(frozen=True)
class Task:
    """One notebook in the plan.

    Attributes:
        settings: what ``hw2 run`` gets, as ``-p NAME=VALUE``.
        after: the notebooks that have to be done before.
        reasons: why it has to run; empty if it need not.
    """

    settings: list[str]
    after: list[str]
    reasons: list[str]


def plan(preset: str, overrides: dict[str, str]) -> dict[str, Task]:
    """What there is to do, by notebook.

    Args:
        preset: one of ``paths.PRESETS``.
        overrides: parameters as text, see `hw2lib.report.parameters.split`; a notebook gets those that it has.

    Raises:
        UserError: a notebook or a setting is wrong.
    """
    paths.check_preset(preset)
    overrides = overrides | {"preset": preset}
    known = {name: parameters.read(dependencies.notebook_file(name)) for name in running.names()}
    everywhere = set().union(*known.values())
    if unknown := [name for name in overrides if name not in everywhere and name != "preset"]:
        raise UserError(f"no notebook has a parameter {unknown[0]!r}; there are {', '.join(sorted(everywhere))}")
    return {name: _task(name, preset, {k: v for k, v in overrides.items() if k in known[name]}) for name in known}


def done_file(preset: str, notebook: str) -> Path:
    """The file that tells Snakemake that a notebook is up to date.

    It stands for the record, because Snakemake deletes the output of a rule before it runs it.
    """
    return paths.build_dir() / preset / "done" / notebook


def mark(preset: str, tasks: dict[str, Task]) -> None:
    """Set the files of `done_file` right; all of them old, so that none looks newer than another."""
    for notebook, task in tasks.items():
        file = done_file(preset, notebook)
        if task.reasons:
            file.unlink(missing_ok=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
            os.utime(file, (0, 0))


def make_report(preset: str, overrides: dict[str, str], cores: int, snakemake: list[str]) -> Path:
    """Bring a report up to date.

    Args:
        preset: one of ``paths.PRESETS``.
        overrides: see `plan`.
        cores: how many run at a time.
        snakemake: further arguments for Snakemake.

    Returns:
        The PDF. It shows what there is, even if a notebook failed.

    Raises:
        UserError: wrong settings, or a notebook failed.
    """
    from hw2lib.report.pdf import write_report_pdf

    with _alone(preset):
        tasks = plan(preset, overrides)
        failed = False
        for notebook, task in tasks.items():
            if task.reasons:
                print(f"{notebook} is out of date: {', '.join(task.reasons[:3])}", file=sys.stderr)
        if snakemake or any(task.reasons for task in tasks.values()):
            failed = _run_snakemake(preset, overrides, cores, snakemake) != 0
        report = document.write(preset)
        pdf = report.with_suffix(".pdf")
        write_report_pdf(report, pdf)
        if failed:
            left = [name for name, task in plan(preset, overrides).items() if task.reasons]
            raise UserError(f"not up to date: {', '.join(left) or 'see Snakemake above'}; {pdf} shows what there is")
    return pdf


def _task(notebook: str, preset: str, overrides: dict[str, str]) -> Task:
    file = dependencies.notebook_file(notebook)
    values = {p.name: p.default for p in parameters.read(file).values()} | {"preset": preset}
    current = dependencies.inputs(notebook, preset, values | parameters.check(file, overrides))
    found = record.read(preset, notebook)
    if found is None:
        reasons = ["no record"]
    else:
        folder = record.path(preset, notebook).parent
        lost = [figure["file"] for figure in found["figures"] if not (folder / figure["file"]).is_file()]
        reasons = dependencies.changes(found["inputs"], current) + lost
    after = dependencies.after(notebook)
    if unknown := set(after).difference(running.names()):
        raise UserError(f"{notebook}: its metadata names {', '.join(sorted(unknown))}, which is no notebook")
    return Task([f"{name}={text}" for name, text in overrides.items()], after, reasons)


def _run_snakemake(preset: str, overrides: dict[str, str], cores: int, more: list[str]) -> int:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(paths.ROOT / "Snakefile")]
    command += ["--directory", str(paths.build_dir() / preset), "--cores", str(cores)]
    command += ["--keep-going", "--rerun-incomplete", "--rerun-triggers", "mtime", "--nolock", "--quiet", "all"]
    command += [*more, "--config", f"preset={preset}", f"parameters={json.dumps(overrides)}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(paths.ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(command, env=environment).returncode


def _alone(preset: str) -> IO:
    """One report of a preset at a time; unlike Snakemake's lock, this one does not outlive a process that is killed."""
    folder = paths.build_dir() / preset
    folder.mkdir(parents=True, exist_ok=True)
    held = lock(folder / ".lock", wait=False)
    if held is None:
        raise UserError(f"another hw2 report is at work on the preset {preset}; wait for it")
    return held
