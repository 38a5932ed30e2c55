"""What a result was made from, noted while it is made, so that its record can tell later whether it is out of date.

Whoever reads a card, weights or a reference, resolves a recipe or asks for the fingerprint of images notes it here. A
page of the report (`hw2lib.report.page`) takes the notes of its process, together with the modules that are loaded.
"""

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from hw2lib import paths

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
    """Note that a file was read: a path below the repository, or, of a file elsewhere, an absolute one."""
    note("file", name_of(file), digest_of_file(file))


def notes() -> dict[str, str]:
    """All notes of this process: ``{"file: data/trained/…/card.json": SHA-256}``."""
    return dict(_notes)


def forget() -> None:
    """Begin anew."""
    _notes.clear()


def name_of(file: Path) -> str:
    """A path as records name it."""
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
