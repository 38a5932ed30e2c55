"""What a result was made from, noted while it is made, so that its record can tell later whether it is out of date.

Whoever reads a card, weights or a reference, resolves a recipe or asks for the fingerprint of images notes it here.
"""

import ast
import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from hw2lib import paths

# Modules that say where files lie, how they are written, and what is an error; none has a part in a result.
PLUMBING = ("errors.py", "files.py", "paths.py")

_notes: dict[str, str] = {}
_collectors: list[dict[str, str]] = []


def note(kind: str, name: str, digest: str) -> None:
    """Note that something was used: its kind and name, and a hash of its content as it was then."""
    for notes in (_notes, *_collectors):
        notes[f"{kind}: {name}"] = digest


def note_again(notes: dict[str, str]) -> None:
    """Note what was used for a result that is kept (`hw2lib.kept`)."""
    for name, digest in notes.items():
        note(*name.split(": ", 1), digest)


@contextlib.contextmanager
def collected() -> Iterator[dict[str, str]]:
    """What is noted inside the block, also what was noted before it."""
    notes: dict[str, str] = {}
    _collectors.append(notes)
    try:
        yield notes
    finally:
        _collectors.remove(notes)


def note_file(file: Path) -> None:
    """Note that a file was read."""
    note("file", name_of(file), digest_of_file(file))


def notes() -> dict[str, str]:
    """All notes of this process: ``{"file: data/trained/…/card.json": SHA-256}``."""
    return dict(_notes)


def forget() -> None:
    """Begin anew."""
    _notes.clear()


def name_of(file: Path) -> str:
    """A path as records name it: from the repository on, or absolute if the file is elsewhere."""
    file = Path(os.path.abspath(file))
    return file.relative_to(paths.ROOT).as_posix() if file.is_relative_to(paths.ROOT) else str(file)


def digest_of_file(file: Path) -> str:
    """The SHA-256 of a file, taken once as long as its time and size stay."""
    stat = file.stat()
    return _digest(Path(os.path.abspath(file)), stat.st_mtime_ns, stat.st_size)


@functools.cache
def _digest(file: Path, mtime_ns: int, size: int) -> str:
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def digest(source: str) -> str:
    """A hash that stays when a comment, a docstring or the layout changes; a file that is no Python raises."""
    tree = ast.parse(source)
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def file_digest(file: Path) -> str:
    """`digest` of a module's file; taken once as long as its time and size stay."""
    stat = file.stat()
    return _file_digest(file, stat.st_mtime_ns, stat.st_size)


def closure_digest(module: str) -> str:
    """One hash of a module and of all modules of hw2lib that it imports, directly or not, but for `PLUMBING`."""
    files = (file for file in closure(module) if file.name not in PLUMBING)
    return hashlib.sha256("".join(map(file_digest, files)).encode()).hexdigest()


def closure(module: str) -> list[Path]:
    """The files of a module and of all modules of hw2lib that it imports, also inside functions, directly or not."""
    files: set[Path] = set()
    waiting = _files_of(module)
    while waiting:
        files.add(file := waiting.pop())
        waiting |= set().union(*map(_files_of, _imported(file.read_text(encoding="utf-8")))) - files
    return sorted(files)


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
