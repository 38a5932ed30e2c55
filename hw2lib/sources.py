"""The library's own source, as results depend on it: without comments, docstrings and layout."""

import ast
import functools
import hashlib
from pathlib import Path

from hw2lib import paths

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def digest(source: str) -> str:
    """A hash that stays when a comment, a docstring or the layout changes; a file that is no Python raises."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, Documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def file_digest(file: Path) -> str:
    """`digest` of a module's file; taken once as long as its time and size stay."""
    stat = file.stat()
    return _file_digest(file, stat.st_mtime_ns, stat.st_size)


def closure_digest(module: str) -> str:
    """One hash of a module and of all modules of hw2lib that it imports, directly or not."""
    digests = [file_digest(file) for file in closure(module)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def closure(module: str) -> list[Path]:
    """The files of a module and of all modules of hw2lib that it imports, also inside functions, directly or not."""
    found: set[Path] = set()
    waiting = _files_of(module)
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting |= {other for name in _imported(file.read_text(encoding="utf-8")) for other in _files_of(name)}
    return sorted(found)


@functools.cache
def _file_digest(file: Path, mtime_ns: int, size: int) -> str:
    return digest(file.read_text(encoding="utf-8"))


@functools.cache
def _imported(source: str) -> frozenset[str]:
    """What a source imports, as names of modules, or of things inside them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(name for name in names if name.partition(".")[0] == "hw2lib")


def _files_of(name: str) -> set[Path]:
    """The file of a module and those of the packages around it."""
    parts = name.split(".")
    places = [paths.ROOT.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    return {file for place in places for file in (place / "__init__.py", place.with_suffix(".py")) if file.is_file()}
