"""Making the report: run what is out of date (Snakemake), fill ``report.md``, export the PDF."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hw2lib import paths
from hw2lib.errors import UserError
from hw2lib.files import try_lock
from hw2lib.report import age, document, parameters, record, running


@dataclass(frozen=True)
class Task:
    """One notebook in the plan."""

    settings: list[str]  # what hw2 run gets, as NAME=VALUE
    after: list[str]  # the notebooks that have to be done before
    reasons: list[str]  # why it has to run; empty if it need not


def plan(preset: str, overrides: dict[str, str]) -> dict[str, Task]:
    """What there is to do, by notebook. Raises UserError for a wrong notebook, preset or setting.

    `overrides` are parameters as text (`hw2lib.report.parameters.split`); a notebook gets those that it has.
    """
    paths.check_preset(preset)
    overrides = overrides | {"preset": preset}
    known = {name: parameters.read(parameters.notebook_file(name)) for name in running.names()}
    everywhere = set().union(*known.values())
    if unknown := [name for name in overrides if name not in everywhere and name != "preset"]:
        raise UserError(f"no notebook has a parameter {unknown[0]!r}; there are {', '.join(sorted(everywhere))}")
    return {name: _task(name, preset, {k: v for k, v in overrides.items() if k in known[name]}) for name in known}


def done_file(preset: str, notebook: str) -> Path:
    """The file that tells Snakemake, which deletes the output of a rule before it runs it, that a record is current."""
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


def trains(preset: str, overrides: dict[str, str]) -> bool:
    """Whether notebooks may train for long: a run that the report shows is not finished, or it is not known."""
    if preset != "paper" or overrides.keys() - {"preset", "data_dir"}:
        return preset != "quick"
    from hw2lib import runs

    try:
        return bool(runs.missing(preset, overrides.get("data_dir", ""), "auto"))
    except UserError:  # such as without images, of which each notebook that needs them tells
        return True


def make_report(preset: str, overrides: dict[str, str], cores: int, snakemake: list[str]) -> Path:
    """Bring a report up to date, and return its PDF, which shows what there is, even if a notebook failed.

    Args:
        overrides: see `plan`.
        cores: how many run at a time.
        snakemake: further arguments for Snakemake.

    Raises UserError for wrong settings, or if a notebook failed.
    """
    from hw2lib.report.pdf import write_report_pdf

    with _alone(preset):
        reasons = {name: task.reasons for name, task in plan(preset, overrides).items() if task.reasons}
        for notebook, why in reasons.items():
            print(f"{notebook} is out of date: {', '.join(why[:3])}", file=sys.stderr)
        failed = (snakemake or reasons) and _run_snakemake(preset, overrides, cores, snakemake) != 0
        report = document.write(preset)
        pdf = report.with_suffix(".pdf")
        write_report_pdf(report, pdf)
        if failed:
            left = [name for name, task in plan(preset, overrides).items() if task.reasons]
            raise UserError(f"not up to date: {', '.join(left) or 'see Snakemake above'}; {pdf} shows what there is")
    return pdf


def outdated(preset: str) -> dict[str, age.Age | None]:
    """The age of each notebook's record, with the parameters of its run; None for one that has not run."""
    records = {notebook: record.read(preset, notebook) for notebook in running.names()}
    return {name: old and _age(preset, name, old, old["parameters"]) for name, old in records.items()}


def _task(notebook: str, preset: str, overrides: dict[str, str]) -> Task:
    file = parameters.notebook_file(notebook)
    values = {p.name: p.default for p in parameters.read(file).values()} | {"preset": preset}
    content = record.read(preset, notebook)
    values |= parameters.check(file, overrides)
    reasons = ["no record"] if content is None else _age(preset, notebook, content, values).changed
    after = parameters.after(notebook)
    if unknown := set(after).difference(running.names()):
        raise UserError(f"{notebook}: its metadata names {', '.join(sorted(unknown))}, which is no notebook")
    return Task([f"{name}={text}" for name, text in overrides.items()], after, reasons)


def _age(preset: str, notebook: str, content: dict, values: dict) -> age.Age:
    """The age of a record, a figure that has been removed included."""
    result = age.age(content, notebook, values)
    folder = record.path(preset, notebook).parent
    result.changed += [figure["file"] for figure in content["figures"] if not (folder / figure["file"]).is_file()]
    return result


def _run_snakemake(preset: str, overrides: dict[str, str], cores: int, more: list[str]) -> int:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(paths.ROOT / "Snakefile")]
    command += ["--directory", str(paths.build_dir() / preset), "--cores", str(cores)]
    command += ["--keep-going", "--rerun-incomplete", "--rerun-triggers", "mtime", "--nolock", "--quiet", "all"]
    command += [*more, "--config", f"preset={preset}", f"parameters={json.dumps(overrides)}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(paths.ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(command, env=environment).returncode


@contextlib.contextmanager
def _alone(preset: str) -> Iterator[None]:
    """One report of a preset at a time; unlike Snakemake's lock, this one does not outlive a process that is killed."""
    folder = paths.build_dir() / preset
    folder.mkdir(parents=True, exist_ok=True)
    held = try_lock(folder / ".lock")
    if held is None:
        raise UserError(f"another hw2 report is at work on the preset {preset}; wait for it")
    try:
        yield
    finally:
        held.release()
