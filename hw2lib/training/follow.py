"""The losses of running trainings, drawn in a terminal."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

from hw2lib.files import read_json
from hw2lib.training.cards import minutes
from hw2lib.training.run_folder import RunFolder

RECENT = 600  # seconds since a run wrote its last line, within which it is taken for running
EVERY = 2  # seconds between two looks
WIDTH = 48  # characters of a curve
_BARS = "▁▂▃▄▅▆▇█"


def followed(folders: Sequence[Path]) -> Iterator[str]:
    """A text every `EVERY` seconds about the runs below some folders that are trained, until there are none.

    A run that ended while it was followed is shown once more, as finished or stopped.
    """
    before: set[Path] = set()
    while running := [run for folder in folders for run in running_runs(folder)]:
        yield "\n\n".join(described(run) for run in sorted({*running, *before}))
        before = set(running)
        time.sleep(EVERY)
    if before:
        yield "\n\n".join(map(described, sorted(before)))


def running_runs(folder: Path) -> list[Path]:
    """The folders of runs that have no card and wrote a line of their log lately; locks are left to those who train."""
    logs = (log for log in folder.rglob("log.jsonl") if not log.with_name("card.json").exists())
    return sorted(log.parent for log in logs if time.time() - log.stat().st_mtime < RECENT)


def described(run: Path) -> str:
    """A run's name, how far it is and what is left, and a curve for each value of its log."""
    settings = read_json(run / "settings.json")
    lines = _lines(run / "log.jsonl")
    step, steps = (lines[-1]["step"] if lines else 0), settings["steps"]
    saved, seconds = RunFolder(run, settings).progress()
    left = f", about {minutes(seconds / saved * (steps - step))} min left" if saved else ""
    state = "finished" if (run / "card.json").exists() else f"{step:,} of {steps:,} steps{left}"
    name = "/".join(run.parts[run.parts.index("runs") + 1 :] if "runs" in run.parts else run.parts[-1:])
    keys = dict.fromkeys(key for line in lines for key in line if key != "step")
    curves = {key: [(line["step"], line[key]) for line in lines if key in line] for key in keys}
    longest = max(map(len, keys), default=0)
    rows = [f"  {key:{longest}} {curve(values, steps):{WIDTH}} {values[-1][1]:.4g}" for key, values in curves.items()]
    return "\n".join([f"{name}: {state}", *rows])


def curve(values: list[tuple[int, float]], steps: int) -> str:
    """Values by step as bars from their least to their most: a character for each part of the whole training.

    A bar is the mean of its part, and that of the part before it where no value was logged.
    """
    parts: dict[int, list[float]] = {}
    for step, value in values:
        parts.setdefault((step - 1) * WIDTH // steps, []).append(value)
    means = {part: mean(found) for part, found in parts.items()}
    low, high = min(means.values()), max(means.values())
    bars, bar = "", " "
    for part in range(max(means) + 1):
        if part in means:
            bar = _BARS[round((means[part] - low) / ((high - low) or 1) * (len(_BARS) - 1))]
        bars += bar
    return bars


def _lines(log: Path) -> list[dict[str, float]]:
    """The whole lines of a log; the last may still be on its way."""
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("}\n")]
