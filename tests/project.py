"""A project of its own for the tests that run notebooks: a copy of the library with tiny notebooks."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from hw2lib import paths

PARAMETERS = 'preset = "smoke"  # smoke, quick or paper\nseed = 0\ndevice = "auto"'
PAGE = """\
from hw2lib import report
page = report.Page("{name}")"""


def save_notebook(file: Path, *cells: str, parameters: str = PARAMETERS, after: list[str] | None = None) -> Path:
    """Write a notebook of a parameters cell and these cells."""
    kernel = {"name": "hw2lib", "display_name": "hw2lib", "language": "python"}
    node = nbformat.v4.new_notebook(metadata={"kernelspec": kernel, "hw2lib": {"after": after or []}})
    node.cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    node.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(node, file)
    return file


class Project:
    """A folder with ``hw2lib``, ``notebooks`` and ``Snakefile``."""

    def __init__(self, root: Path, python: str | Path = sys.executable) -> None:
        self.root, self.python = root, str(python)
        for part in ("hw2lib", "Snakefile"):
            copy = shutil.copytree if (paths.ROOT / part).is_dir() else shutil.copy
            copy(paths.ROOT / part, root / part)
        (root / "notebooks").mkdir()
        for name in ("report", "supplement"):
            (root / f"{name}.md.jinja").write_text("---\ntitle: Report\n---\n\nNothing.\n")

    def notebook(self, name: str, *cells: str, before: str = "", **options) -> Path:
        """Write a notebook whose cells stand between opening its page, with `before`, and finishing it."""
        return self.bare_notebook(name, f"{PAGE.format(name=name)}\n{before}", *cells, "page.finish()", **options)

    def bare_notebook(self, name: str, *cells: str, **options) -> Path:
        return save_notebook(self.root / "notebooks" / f"{name}.ipynb", *cells, **options)

    def hw2(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        """``hw2`` in this project."""
        variables = {k: v for k, v in os.environ.items() if not k.startswith("HW2_")}
        variables |= {"PYTHONPATH": str(self.root), **environment}
        command = [self.python, "-m", "hw2lib", *arguments]
        return subprocess.run(command, cwd=self.root, env=variables, capture_output=True, text=True, timeout=120)

    def figures(self, name: str, preset: str = "smoke") -> Path:
        return self.root / "build" / preset / "figures" / name

    def record(self, name: str, preset: str = "smoke") -> dict:
        return json.loads((self.figures(name, preset) / "record.json").read_text())

    def contents(self, name: str) -> dict[str, bytes]:
        """Every file that the last good run of a notebook left."""
        return {file.name: file.read_bytes() for file in self.figures(name).iterdir()}
