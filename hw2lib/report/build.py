"""Making the report: run what is out of date (Snakemake), render report and supplement, export both to PDF and HTML."""

import contextlib
import functools
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from hw2lib import environment, paths
from hw2lib.data import FACES
from hw2lib.data.folders import images_dir
from hw2lib.errors import UserError
from hw2lib.files import try_lock
from hw2lib.report import age, document, parameters, record, running

NO_RECORD = ["no record"]
PROGRESS = "progress.jsonl"
LONG = 40.0  # seconds that a notebook should at most take in quick
STARTING = 5.0  # seconds of a notebook that are not in its record
# What Snakemake says of a job of a cluster that failed: why, and the file of `done_file` that it did not make.
FAILED = re.compile(r"^Error in rule notebook:\n    message: (.+)\n(?:.*\n)*?    output: (.+)", re.MULTILINE)


@dataclass(frozen=True)
class Task:
    """One notebook in the plan."""

    settings: list[str]  # what hw2 run gets, as NAME=VALUE
    after: list[str]  # the notebooks that have to be done before
    reasons: list[str]  # why it has to run; empty if it need not
    trains: bool  # whether it trains what is missing


def plan(preset: str, overrides: dict[str, str], ages: bool = True) -> dict[str, Task]:
    """What there is to do, by notebook. Raises UserError for a wrong notebook, preset or setting.

    `overrides` are parameters as text (`hw2lib.report.parameters.split`); a notebook gets those that it has. Without
    `ages`, which take seconds to know, no task has reasons.
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
    asked = {name: {k: v for k, v in overrides.items() if k in known[name]} for name in known}
    return {name: _task(name, preset, asked[name], ages) for name in known}


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


def profile(cluster: str) -> Path:
    """The folder of a Snakemake profile: one of ``profiles/``, by its name, or the user's; UserError if it is none."""
    ours = {file.parent.name: file.parent for file in paths.ROOT.glob("profiles/*/config.yaml")}
    folder = ours.get(cluster, Path(paths.absolute(cluster)))
    if not (folder / "config.yaml").is_file():
        raise UserError(
            f"--cluster {cluster}: give {', '.join(ours)}, or the folder of a Snakemake profile, with its config.yaml"
        )
    try:
        executor = str(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["executor"])
    except (yaml.YAMLError, TypeError, KeyError):
        raise UserError(f"{folder / 'config.yaml'}: not YAML that names an executor") from None
    if importlib.util.find_spec(f"snakemake_executor_plugin_{executor.replace('-', '_')}") is None:
        raise UserError(f"--cluster {cluster}: first pip install snakemake-executor-plugin-{executor}")
    if executor == "slurm" and not shutil.which("sbatch"):
        raise UserError(f"--cluster {cluster}: there is no sbatch; run it on a machine that submits jobs")
    return folder


def make_report(
    preset: str, overrides: dict[str, str], cores: int | None, snakemake: list[str], cluster: str = ""
) -> Path:
    """Bring a report up to date, and return its PDF, which shows what there is, even if a notebook failed.

    Its HTML is made beside: see `export`.

    Args:
        overrides: see `plan`.
        cores: how many run at a time; None: as many as this process has cores, or as the profile of a cluster says.
        snakemake: further arguments for Snakemake.
        cluster: see `profile`; "": on this machine.

    Raises UserError for wrong settings, or if a notebook failed, and SystemExit, with one line, if it is interrupted:
    what is finished stays.
    """
    paths.check_preset(preset)  # before it is part of a path
    if cluster and cores:
        raise UserError(f"--cores is for this machine; the profile of --cluster {cluster} says how many a job has")
    folder = paths.build_dir() / preset
    where = ["--profile", str(profile(cluster))] if cluster else ["--cores", str(cores or environment.cores())]
    log = folder / "logs" / "snakemake.log" if cluster else None
    with _alone(preset):
        tasks = plan(preset, overrides)
        asked = _needed(tasks, tasks.keys() & set(snakemake) or tasks)
        reasons = {name: tasks[name].reasons for name in asked if tasks[name].reasons}
        for notebook, why in reasons.items():
            if why != NO_RECORD:
                print(f"{notebook} is out of date: {', '.join(why[:3])}", file=sys.stderr)
        expected = {name: _seconds(preset, name) for name in _to_run(tasks, asked)}
        training = bool(reasons) and trains(preset, overrides)
        at_once = len(expected) if cluster else 1 if training else cores or environment.cores()
        running.plan_progress(folder / PROGRESS, expected, len(asked) - len(expected), at_once)
        config = ["--config", f"preset={preset}", f"parameters={json.dumps(overrides)}", f"trains={training}"]
        try:
            failed = (snakemake or reasons) and _run_snakemake([*where, *snakemake, *config], folder, log) != 0
        except KeyboardInterrupt:
            now = plan(preset, overrides)
            left = sum(bool(now[name].reasons) for name in asked)
            print(f"hw2: stopped; {len(asked) - left} of {len(asked)} notebooks are done, and the same command goes on",
                  file=sys.stderr)  # fmt: skip
            sys.exit(128 + signal.SIGINT)
        for name in (document.SUPPLEMENT, document.REPORT):
            pdf = export(document.write(name, preset), preset)
        if failed:
            left = [name for name, task in plan(preset, overrides).items() if task.reasons and name in asked]
            logs = f"; {log.parent} has a log of each job" if log else ""
            what = ", ".join(left) or "see Snakemake above"
            raise UserError(f"not up to date: {what}{logs}; {pdf} shows what there is")
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


def _to_run(tasks: dict[str, Task], asked: list[str]) -> list[str]:
    """Of those asked for the ones that are out of date, and what comes after these, which Snakemake runs too."""
    found = {name for name in asked if tasks[name].reasons}
    while more := {name for name in asked if found.intersection(tasks[name].after)} - found:
        found |= more
    return [name for name in asked if name in found]


def outdated(preset: str) -> dict[str, age.Age | None]:
    """The age of each notebook's record, with the parameters of its run; None for one that has not run."""
    return {name: page_age(record.path(preset, name).parent, name) for name in running.names()}


def _task(notebook: str, preset: str, overrides: dict[str, str], ages: bool) -> Task:
    file = parameters.notebook_file(notebook)
    values = {p.name: p.default for p in parameters.read(file).values()} | {"preset": preset}
    values |= parameters.check(file, overrides)
    found = page_age(record.path(preset, notebook).parent, notebook, values) if ages else age.Age()
    reasons = NO_RECORD if found is None else found.changed
    after = [] if preset == "quick" else parameters.after(notebook)  # quick shows what ships, and not what others train
    if unknown := set(after).difference(running.names()):
        raise UserError(f"{notebook}: its metadata names {', '.join(sorted(unknown))}, which is no notebook")
    return Task([f"{name}={text}" for name, text in overrides.items()], after, reasons, "train" in values)


def page_age(folder: Path, notebook: str, values: dict | None = None) -> age.Age | None:
    """The age of the page in a folder, a figure that has been removed included, or None if there is no page.

    `values` are the parameters of a run; None: those of the page.
    """
    content = record.load(folder / record.FILE)
    if content is None:
        return None
    result = age.age(content, notebook, values or content["parameters"])
    result.changed += [figure["file"] for figure in content["figures"] if not (folder / figure["file"]).is_file()]
    return result


def _seconds(preset: str, notebook: str) -> float:
    """How long a notebook should take: as its last run did, else as the committed one, if that was not very long."""
    if here := record.read(preset, notebook):
        return here["seconds"] + STARTING
    committed = record.read("paper", notebook)
    return min(committed["seconds"] if committed else LONG, LONG) + STARTING


def with_library() -> dict[str, str]:
    """The environment of a process that imports this very library."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(paths.ROOT), os.environ.get("PYTHONPATH", "")])}


def _run_snakemake(arguments: list[str], folder: Path, log_file: Path | None) -> int:
    """The exit status; an error of the Snakefile itself is shown. KeyboardInterrupt ends all notebooks first.

    With `log_file`, Snakemake writes there, and of jobs that failed on a cluster the reasons are shown.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(paths.ROOT / "Snakefile")]
    command += ["--directory", str(folder)]
    command += ["--keep-going", "--rerun-incomplete", "--rerun-triggers", "mtime", "--nolock", *arguments]
    progress = folder / PROGRESS
    variables = with_library() | {running.PROGRESS: str(progress)}
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    # In a group of its own: an interrupt of the terminal is for this process, which ends the others in turn.
    log, quiet = None, ["--quiet", "all"]
    if log_file:
        log_file.parent.mkdir(exist_ok=True)
        log, quiet = open(log_file, "wb"), []  # noqa: SIM115
    with (
        log or contextlib.nullcontext(),
        subprocess.Popen([*command, *quiet], env=variables, stderr=log, process_group=0) as process,
    ):
        said, status = 0, None
        try:
            while status is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(0.5)
                said = running.say_progress(progress, said)
        except KeyboardInterrupt:
            _end(process)
            raise
    reasons = FAILED.findall(log_file.read_text(errors="replace")) if log_file else []
    for reason, output in reasons:
        print(f"hw2: {Path(output).name}: {reason.partition('. For further')[0]}", file=sys.stderr)
    if status != 0 and not said and not reasons:
        # No notebook has begun: the error is Snakemake's own, and --quiet all has hidden it.
        quiet = ["--quiet", "host", "progress", "reason", "rules"]
        subprocess.run([*command, "--dry-run", *quiet], env=variables, stdout=sys.stderr)
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
