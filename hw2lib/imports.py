"""Which modules of hw2lib a piece of code imports, directly or not: what its results depend on."""

import ast
import functools
import re
from pathlib import Path

from hw2lib import paths


def modules(code: str) -> list[Path]:
    """The files of hw2lib that ``code`` imports, and those that they import in turn; imports inside functions count."""
    found: set[Path] = set()
    waiting = set(imported(code))
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            package = ".".join(file.parent.relative_to(paths.ROOT).parts)
            waiting |= _imports(file.read_text(encoding="utf-8"), package)
    return sorted(found)


def imported(code: str) -> list[Path]:
    """The files of hw2lib that ``code`` imports itself, with the packages around them."""
    return sorted(_imports(_without_magics(code), package=""))


@functools.cache
def _imports(source: str, package: str) -> frozenset[Path]:
    """The files of hw2lib that one source imports itself, with the packages around them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names.update(f"{base}.{alias.name}" for alias in node.names)  # a submodule, or a name inside the module
    files: set[Path] = set()
    for parts in (name.split(".") for name in names if name.partition(".")[0] == "hw2lib"):
        for depth in range(1, len(parts) + 1):
            place = paths.ROOT.joinpath(*parts[:depth])
            files.update(file for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file())
    return frozenset(files)


def _without_magics(source: str) -> str:
    """IPython's ``%magic``, ``!command`` and ``help?`` lines are no Python, and import nothing."""
    return re.sub(r"^(\s*)([%!].*|[\w.]+\?+\s*)$", r"\1pass", source, flags=re.MULTILINE)
