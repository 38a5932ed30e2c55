"""Running one notebook through papermill: checked first, and believed only when its record says that it is complete.

Whoever runs several, in processes of their own, plans them (`plan_progress`) and tells how far they are
(`say_progress`).
"""

import contextlib
import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hw2lib import paths
from hw2lib.errors import UserError, in_words_of_memory
from hw2lib.report import markdown, parameters, record
from hw2lib.report.record import Staging


def names() -> list[str]:
    """All notebooks, in the order of the report."""
    return sorted(file.stem for file in paths.NOTEBOOKS.glob("[0-9]*.ipynb"))


def find(name: str) -> str:
    """The one notebook that a user means by its number, its name or the beginning of it, or its path, or UserError."""
    path = Path(name)
    stem = path.name.removesuffix(".ipynb")
    at_home = path.parent == Path() or path.parent.resolve() == paths.NOTEBOOKS
    found = [n for n in names() if n == stem] or [n for n in names() if stem and n.startswith(stem)]
    if at_home and len(found) == 1:
        return found[0]
    choices = ", ".join(found if at_home and found else names())
    raise UserError(f"{'several notebooks are' if at_home and found else 'no notebook is'} called {name!r}: {choices}")


def run_notebook(name: str, overrides: dict[str, str]) -> Path:
    """Run a notebook; the copy with its outputs is `record.executed`, and ``NAME.failed.ipynb`` when it failed.

    `name` is as in `find`, `overrides` as in `hw2lib.report.parameters.check`. What comes back is the folder of its
    figures and its record. Raises UserError if a parameter is wrong (nothing has run), a cell failed, the kernel died,
    the notebook ended without finishing its page (earlier figures stay), or another run put its own there.
    """
    notebook = find(name)
    source = parameters.notebook_file(notebook)
    checked = parameters.check(source, overrides)
    values = {p.name: p.default for p in parameters.read(source).values()} | checked
    preset = values.get("preset")
    paths.check_preset(preset)
    if values.get("device", "auto") not in ("auto", "cpu"):  # refused later as well, but only once the kernel is up
        from hw2lib.training.devices import check_device

        check_device(values["device"])
    began = tell_progress(notebook, "begins")
    executed = record.executed(preset, notebook)
    failed, staging = executed.with_suffix(".failed.ipynb"), Staging(executed)
    partial = staging.folder / executed.name
    before, run = _run_of_record(preset, notebook), uuid.uuid4().hex
    try:
        os.environ["HW2_RUN"] = json.dumps(run)  # a mark that the kernel's record has to carry
        _execute(notebook, source, partial, checked)
        if (now := _run_of_record(preset, notebook)) != run:
            if now == before:
                raise UserError(f"{notebook}: it ran to its end without page.finish(), so there is no new record")
            raise UserError(f"{notebook}: another run of it has just put its own figures there; run one at a time")
        os.replace(partial, executed)
        failed.unlink(missing_ok=True)
        tell_progress(notebook, "done", began)
    except BaseException as error:
        if isinstance(error, Exception):
            tell_progress(notebook, "failed", began)
        if partial.exists():
            os.replace(partial, failed)
        raise
    finally:
        os.environ.pop("HW2_RUN", None)
        staging.discard()
    return record.page(preset, notebook)


def _run_of_record(preset: str, notebook: str) -> str | None:
    found = record.load(record.page(preset, notebook) / record.FILE)
    return found and found["run"]


def _execute(notebook: str, source: Path, target: Path, checked: dict) -> None:
    # A grammar of addresses, which takes a second to build and checks none of a notebook; jsonschema does without it.
    sys.modules.setdefault("rfc3987_syntax", None)
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it has to say is raised as well
    try:
        options = {"start_timeout": 300, "extra_arguments": ["--log-level=CRITICAL"]}  # of the kernel
        options["shutdown_kernel"] = "immediate"  # its page is written; leaving politely takes another second
        bar = sys.stderr.isatty() and PROGRESS not in os.environ  # several at a time would write over each other
        papermill.execute_notebook(source, target, checked, cwd=source.parent, progress_bar=bar, **options)
    except papermill.PapermillExecutionError as error:
        what = f"{error.ename}: {error.evalue}" if error.evalue else error.ename
        what = in_words_of_memory(what) or markdown.one_line(what)
        raise UserError(f"{notebook}, {_cell(error.exec_count, error.source)}: {what}") from None
    except DeadKernelError:
        raise UserError(f"{notebook}, {_last_cell(target)}: the kernel died (killed, or out of memory?)") from None
    except NoSuchKernel as error:
        raise UserError(f"{notebook}: Jupyter has no kernel {error.name!r}; run `make setup`") from None


# Progress of several notebooks

PROGRESS = "HW2_PROGRESS"  # names the file of what is planned and has happened, a line of JSON each
PRIOR = 20  # seconds for which the planned speed counts beside the one that is seen


def plan_progress(file: Path, expected: Mapping[str, float], current: int, cores: int) -> None:
    """Begin the file: what is to run, and for about how many seconds, beside `current` ones that need not."""
    plan = {"expected": dict(expected), "current": current, "cores": cores, "time": time.time()}
    file.write_text(json.dumps(plan) + "\n")


def tell_progress(notebook: str, event: str, began: float = 0.0) -> float:
    """Note in the file, if there is one, that a notebook ``begins``, is ``done`` or has ``failed``; return the time."""
    now = time.time()
    if file := os.environ.get(PROGRESS):
        with open(file, "a") as log:  # one write, so that lines of several processes do not mix
            log.write(json.dumps({"notebook": notebook, "event": event, "began": began or now, "time": now}) + "\n")
    return now


def say_progress(file: Path, said: int) -> int:
    """Say on stderr what has happened after the first `said` events, and return how many there are now."""
    plan, *events = lines = list(_whole_lines(file))
    for earlier, later in pairwise(lines):
        later["time"] = max(earlier["time"], later["time"])  # also if the clock has been set back
    for count in range(said, len(events)):
        print(progress_line(plan, events[: count + 1]), file=sys.stderr, flush=True)
    return len(events)


def _whole_lines(file: Path) -> Iterator[dict[str, Any]]:
    """What the lines say, without one that is being written, or that machines of a cluster wrote over each other."""
    for line in file.read_text().splitlines(keepends=True):
        with contextlib.suppress(ValueError):
            if line.endswith("\n"):
                yield json.loads(line)


def progress_line(plan: Mapping[str, Any], events: Sequence[Mapping[str, Any]]) -> str:
    """Such as ``7/22 31_diffusion_samples done in 38 s, about 4 min left``, after the last event.

    What is left is what was expected, in the speed of what has been done so far.
    """
    last, ended = events[-1], {event["notebook"] for event in events if event["event"] != "begins"}
    done = plan["current"] + sum(event["event"] == "done" for event in events)
    total = plan["current"] + len(plan["expected"])
    work = sum(plan["expected"].get(name, 0) for name in ended)
    for event in (event for event in events if event["notebook"] not in ended):
        work += min(last["time"] - event["time"], plan["expected"].get(event["notebook"], 0))
    speed = (work + PRIOR * plan["cores"]) / (last["time"] - plan["time"] + PRIOR)
    left = (sum(plan["expected"].values()) - work) / speed
    took = {"done": "done in", "failed": "failed after"}.get(last["event"])
    what = f"{took} {last['time'] - last['began']:.0f} s" if took else last["event"]
    rest = f", about {_rounded(left)} left" if len(ended) < len(plan["expected"]) else ""
    return f"{done}/{total} {last['notebook']} {what}{rest}"


def _rounded(seconds: float) -> str:
    """In steps of ten seconds, from a minute and a half on in minutes."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(10, round(seconds, -1)):.0f} s"


def _cell(count: int | None, source: str) -> str:
    lines = [line.strip() for line in source.splitlines() if line.strip()]
    return f"cell [{count}] {lines[0]!r}" if lines else f"cell [{count}]"


def _last_cell(executed: Path) -> str:
    """The cell that a dead kernel had begun; the copy calls it completed, and maybe it has no number yet."""
    cells = parameters.load(executed)["cells"] if executed.exists() else []
    begun = [cell for cell in cells if cell["metadata"].get("papermill", {}).get("start_time")]
    return _cell(len(begun), begun[-1]["source"]) if begun else "before its first cell"
