"""Making the report: run what is out of date (Snakemake), render report and supplement, export both to PDF and HTML."""

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hw2lib import paths
from hw2lib.data import FACES
from hw2lib.data.folders import images_dir
from hw2lib.errors import UserError
from hw2lib.files import try_lock
from hw2lib.report import age, document, parameters, record, running

NO_RECORD = ["no record"]
LONG = 40.0  # seconds that a notebook should at most take in quick
STARTING = 5.0  # seconds of a notebook that are not in its record


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
    # A step of the homework's UNet.pt takes a core 16 seconds; the short presets draw with our network in a report.
    has_course = os.path.isfile(images_dir(overrides.get("data_dir", "")) / FACES / "UNet.pt")  # or no name for a file
    overrides = ({"unet": paths.OURS} if preset != "paper" and has_course else {}) | overrides
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
    if preset == "quick":
        return False
    if preset == "smoke" or overrides.keys() - {"preset", "data_dir"}:
        return True
    from hw2lib import runs

    try:
        return bool(runs.missing(preset, overrides.get("data_dir", ""), "auto"))
    except UserError:  # such as without images, of which each notebook that needs them tells
        return True


def make_report(preset: str, overrides: dict[str, str], cores: int, snakemake: list[str]) -> Path:
    """Bring a report up to date, and return its PDF, which shows what there is, even if a notebook failed.

    Its HTML is made beside: see `export`.

    Args:
        overrides: see `plan`.
        cores: how many run at a time.
        snakemake: further arguments for Snakemake.

    Raises UserError for wrong settings, or if a notebook failed, and SystemExit, with one line, if it is interrupted:
    what is finished stays.
    """
    paths.check_preset(preset)  # before it is part of a path
    with _alone(preset):
        tasks = plan(preset, overrides)
        asked = _needed(tasks, tasks.keys() & set(snakemake) or tasks)
        reasons = {name: tasks[name].reasons for name in asked if tasks[name].reasons}
        for notebook, why in reasons.items():
            if why != NO_RECORD:
                print(f"{notebook} is out of date: {', '.join(why[:3])}", file=sys.stderr)
        progress = paths.build_dir() / preset / "progress.jsonl"
        expected = {name: _seconds(preset, name) for name in reasons}
        at_once = 1 if reasons and trains(preset, overrides) else cores
        running.plan_progress(progress, expected, len(asked) - len(reasons), at_once)
        try:
            failed = (snakemake or reasons) and _run_snakemake(preset, overrides, cores, snakemake, progress) != 0
        except KeyboardInterrupt:
            left = sum(bool(task.reasons) for task in plan(preset, overrides).values())
            print(f"hw2: stopped; {len(tasks) - left} of {len(tasks)} notebooks are done, and the same command goes on",
                  file=sys.stderr)  # fmt: skip
            sys.exit(128 + signal.SIGINT)
        for name in (document.SUPPLEMENT, document.REPORT):
            pdf = export(document.write(name, preset), preset)
        if failed:
            left = [name for name, task in plan(preset, overrides).items() if task.reasons]
            raise UserError(f"not up to date: {', '.join(left) or 'see Snakemake above'}; {pdf} shows what there is")
    return pdf


def export(source: Path, preset: str) -> Path:
    """Make of a Markdown file a PDF beside it, and HTML in the preset's folder of ``build/``; return the PDF."""
    from hw2lib.report import html, pandoc, pdf

    build = paths.build_dir() / preset
    targets = [source.with_suffix(".pdf"), build / f"{source.stem}.html"]
    notes = [build / f"{target.name}.json" for target in targets]
    with ThreadPoolExecutor() as threads:
        to_html = functools.partial(html.convert, base=Path(os.path.relpath(source.parent, build)).as_posix())
        list(threads.map(pandoc.write, [source] * 2, targets, [pdf.convert, to_html], notes))
    return targets[0]


def _needed(tasks: dict[str, Task], targets: Iterable[str]) -> list[str]:
    """The targets and what has to be done before them, in order."""
    needed, waiting = set(), list(targets)
    while waiting:
        needed.add(name := waiting.pop())
        waiting += tasks[name].after
    return [name for name in tasks if name in needed]


def outdated(preset: str) -> dict[str, age.Age | None]:
    """The age of each notebook's record, with the parameters of its run; None for one that has not run."""
    records = {notebook: record.read(preset, notebook) for notebook in running.names()}
    return {name: old and _age(preset, name, old, old["parameters"]) for name, old in records.items()}


def _task(notebook: str, preset: str, overrides: dict[str, str]) -> Task:
    file = parameters.notebook_file(notebook)
    values = {p.name: p.default for p in parameters.read(file).values()} | {"preset": preset}
    content = record.read(preset, notebook)
    values |= parameters.check(file, overrides)
    reasons = NO_RECORD if content is None else _age(preset, notebook, content, values).changed
    after = [] if preset == "quick" else parameters.after(notebook)  # quick shows what ships, and not what others train
    if unknown := set(after).difference(running.names()):
        raise UserError(f"{notebook}: its metadata names {', '.join(sorted(unknown))}, which is no notebook")
    return Task([f"{name}={text}" for name, text in overrides.items()], after, reasons)


def _age(preset: str, notebook: str, content: dict, values: dict) -> age.Age:
    """The age of a record, a figure that has been removed included."""
    result = age.age(content, notebook, values)
    folder = record.path(preset, notebook).parent
    result.changed += [figure["file"] for figure in content["figures"] if not (folder / figure["file"]).is_file()]
    return result


def _seconds(preset: str, notebook: str) -> float:
    """How long a notebook should take: as its last run did, else as the committed one, if that was not very long."""
    if here := record.read(preset, notebook):
        return here["seconds"] + STARTING
    committed = record.read("paper", notebook)
    return min(committed["seconds"] if committed else LONG, LONG) + STARTING


def _run_snakemake(preset: str, overrides: dict[str, str], cores: int, more: list[str], progress: Path) -> int:
    """The exit status; an error of the Snakefile itself is shown. KeyboardInterrupt ends all notebooks first."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(paths.ROOT / "Snakefile")]
    command += ["--directory", str(paths.build_dir() / preset), "--cores", str(cores)]
    command += ["--keep-going", "--rerun-incomplete", "--rerun-triggers", "mtime", "--nolock"]
    command += [*more, "--config", f"preset={preset}", f"parameters={json.dumps(overrides)}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(paths.ROOT), os.environ.get("PYTHONPATH", "")])}
    environment[running.PROGRESS] = str(progress)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    # In a group of its own: an interrupt of the terminal is for this process, which ends the others in turn.
    with subprocess.Popen([*command, "--quiet", "all"], env=environment, process_group=0) as process:
        try:
            status = process.wait()
        except KeyboardInterrupt:
            _end(process)
            raise
    if status != 0 and len(progress.read_text().splitlines()) == 1:
        # No notebook has begun: the error is Snakemake's own, and --quiet all has hidden it.
        quiet = ["--quiet", "host", "progress", "reason", "rules"]
        subprocess.run([*command, "--dry-run", *quiet], env=environment, stdout=sys.stderr)
    return status


def _end(process: subprocess.Popen) -> None:
    """End a process and all of its group, in seconds."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)


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
