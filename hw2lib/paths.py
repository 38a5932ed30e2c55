"""Where things are: everything is below the repository, and everything that a run makes is below ``build/``.

The preset ``paper`` writes ``figures/``, ``report.md`` and ``supplement.md``, which are committed; the others write
below ``build/``.
``HW2_BUILD`` moves ``build/`` elsewhere.
"""

import os
from pathlib import Path

from hw2lib.errors import UserError

PRESETS = ("smoke", "quick", "paper")

OURS = "ours"  # in place of the path of a user's file: none, also where one would be found

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
TRAINED = ROOT / "data" / "trained"  # finished runs that ship with the repository


def check_preset(name: str) -> None:
    """Refuse what is no preset with a `UserError`, which names those that there are."""
    if name not in PRESETS:
        raise UserError(f"unknown preset {name!r}; there are {', '.join(PRESETS)}")


def make_environment_absolute() -> None:
    """Take HW2_BUILD and HW2_DATA as seen from here, because kernels and jobs work in other folders."""
    for name in ("HW2_BUILD", "HW2_DATA"):
        if folder := os.environ.get(name):
            os.environ[name] = absolute(folder)


def absolute(folder: str) -> str:
    """A folder as seen from here, and from the home folder where it begins with ``~``."""
    return os.path.abspath(os.path.expanduser(folder))


def build_dir() -> Path:
    """The git-ignored folder of caches, run folders and whatever else a local run makes."""
    return Path(os.environ.get("HW2_BUILD") or ROOT / "build").resolve()


def cache_dir() -> Path:
    """The memory-mapped copies of image folders."""
    return build_dir() / "cache"


def report_dir(preset: str) -> Path:
    """The folder of ``report.md``, ``supplement.md`` and their PDFs."""
    return ROOT if preset == "paper" else build_dir() / preset


def figures_dir(preset: str) -> Path:
    """The folder of figures and records, one folder a notebook."""
    return report_dir(preset) / "figures"


def runs_dir(preset: str) -> Path:
    """The folder of training runs."""
    return build_dir() / preset / "runs"


def executed_dir(preset: str) -> Path:
    """The folder of executed notebooks."""
    return build_dir() / preset / "executed"
