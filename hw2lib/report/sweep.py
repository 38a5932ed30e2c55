"""One notebook for each combination of parameters: ``hw2 run 40 --sweep seed=0,1,2 --sweep steps=10,50``.

Each combination has a page of its own below ``build/PRESET/sweeps/NOTEBOOK/``, as a run of the notebook leaves it, and
runs again only if that is out of date. Beside the pages lies one table, a row a combination.
"""

import csv
import hashlib
import io
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from hw2lib import environment, files, paths
from hw2lib.errors import UserError
from hw2lib.report import build, markdown, parameters, record, running


@dataclass(frozen=True, eq=False)
class Combination:
    """Parameters of one run."""

    title: str  # the swept ones, such as ``seed=0,steps=10``
    overrides: dict[str, str]  # what hw2 run gets
    values: dict[str, int | float | str | bool | list]  # all parameters
    page: Path


def combinations(notebook: str, overrides: dict[str, str], swept: dict[str, list[str]]) -> list[Combination]:
    """All combinations, the first parameter varies slowest; `overrides` are the same for all.

    UserError if a name or a value is wrong (`parameters.check`).
    """
    source, found = parameters.notebook_file(notebook), {}
    defaults = {parameter.name: parameter.default for parameter in parameters.read(source).values()}
    for texts in itertools.product(*swept.values()):
        given = overrides | parameters.split(f"{name}={text}" for name, text in zip(swept, texts, strict=True))
        values = defaults | parameters.check(source, given)
        paths.check_preset(values["preset"])
        title = ",".join(f"{name}={_text(values[name])}" for name in swept)
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]
        name = f"{re.sub(r'[^A-Za-z0-9_.,=+-]+', '_', title)[:80]}-{digest}"
        page = paths.build_dir() / values["preset"] / "sweeps" / notebook / name
        found[name] = Combination(title, given, values, page)
    return list(found.values())


def split(sweeps: Sequence[str], overrides: dict[str, str]) -> dict[str, list[str]]:
    """``["seed=0,1"]`` as ``{"seed": ["0", "1"]}``; values that have commas are JSON: ``pairs=["a-b","a-c"],["a-b"]``.

    UserError for a parameter that is given twice, and for ``preset``, which says where all of them lie.
    """
    swept: dict[str, list[str]] = {}
    for name, equals, text in (one.partition("=") for one in sweeps):
        if not (name and equals and text):
            raise UserError(f"--sweep {name}{equals}{text}: write --sweep NAME=VALUE,VALUE")
        if name in overrides or name in swept or name == "preset":
            why = "it is the same for all: -p preset=NAME" if name == "preset" else f"{name} is given twice"
            raise UserError(f"--sweep {name}={text}: {why}")
        try:
            swept[name] = [one if isinstance(one, str) else json.dumps(one) for one in json.loads(f"[{text}]")]
        except ValueError:
            swept[name] = text.split(",")
    return swept


def run(name: str, overrides: dict[str, str], sweeps: Sequence[str]) -> tuple[str, Path, list[str]]:
    """Run what is out of date, as many at a time as there are cores; one if it may train for long.

    `name` is as in `running.find`, `overrides` as in `combinations`, `sweeps` as in `split`. What comes back is the
    table in Markdown, its file as CSV, with the Markdown beside it, and the titles of those that failed.
    """
    notebook, swept = running.find(name), split(sweeps, overrides)
    chosen = combinations(notebook, overrides, swept)
    for_long = chosen[0].values["preset"] == "paper" and "train" in chosen[0].values
    at_once = 1 if for_long else min(environment.cores(), len(chosen))
    old = [one for one in chosen if (age := build.page_age(one.page, notebook, one.values)) is None or age.changed]
    failed: list[str] = []
    with ThreadPoolExecutor(at_once) as pool:
        running_now = {pool.submit(_run, notebook, one, environment.cores() // at_once): one for one in old}
        try:
            for count, future in enumerate(as_completed(running_now), len(chosen) - len(old) + 1):
                one, error = running_now[future], future.result()
                failed += [one.title] if error else []
                print(f"{count}/{len(chosen)} {one.title}: {error or 'done'}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            print("hw2: stopped; what is done stays, and the same command goes on", file=sys.stderr)
            sys.exit(130)
    columns, rows = _table(swept, {one: one.title not in failed for one in chosen})
    shown = markdown.pipe_table(columns, [["missing" if cell is None else cell for cell in row] for row in rows])
    file, text = chosen[0].page.with_name(f"{','.join(swept)}.csv"), io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    files.write(file, text.getvalue())
    files.write(file.with_suffix(".md"), f"{shown}\n")
    return shown, file, failed


def _table(swept: Iterable[str], ran: dict[Combination, bool]) -> tuple[list[str], list[list]]:
    """Columns and rows: the swept parameters, and the values of the records; None where there is none."""
    found = [record.load(one.page / record.FILE)["values"] if done else {} for one, done in ran.items()]
    names = list(dict.fromkeys(name for values in found for name in values))
    rows = [[_text(one.values[name]) for name in swept] for one in ran]
    return [*swept, *names], [[*row, *map(values.get, names)] for row, values in zip(rows, found, strict=True)]


def _text(value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _run(notebook: str, one: Combination, threads: int) -> str:
    """Run one combination in a process of its own; return why it failed, or ""."""
    command = [sys.executable, "-m", "hw2lib", "run", notebook]
    command += [f"-p{name}={text}" for name, text in one.overrides.items()]
    variables = {"OMP_NUM_THREADS": str(threads)} | build.with_library() | {record.PAGE: str(one.page)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    lines = done.stderr.splitlines() or [f"ended with {done.returncode}"]
    return lines[-1].removeprefix("hw2: error: ") if done.returncode else ""
