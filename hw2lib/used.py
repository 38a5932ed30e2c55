"""What a result was made from, noted while it is made, so that its record can tell later whether it is out of date.

Whoever reads a card, weights or a reference, resolves a recipe or asks for the fingerprint of images notes it here. A
page of the report (`hw2lib.report.page`) takes the notes of its process, together with the modules that are loaded.
"""

import functools
import hashlib
import os
from pathlib import Path

from hw2lib import paths

_notes: dict[str, str] = {}


def note(kind: str, name: str, digest: str) -> None:
    """Note that something was used: its kind and name, and a hash of its content as it was then."""
    _notes[f"{kind}: {name}"] = digest


def note_file(file: Path) -> None:
    """Note that a file was read: a path below the repository, or, of a file elsewhere, an absolute one."""
    file = Path(os.path.abspath(file))
    stat = file.stat()
    note("file", name_of(file), digest_of(file, stat.st_mtime_ns, stat.st_size))


def notes() -> dict[str, str]:
    """All notes of this process: ``{"file: data/trained/…/card.json": SHA-256}``."""
    return dict(_notes)


def forget() -> None:
    """Begin anew."""
    _notes.clear()


def name_of(file: Path) -> str:
    """A path as records name it."""
    return file.relative_to(paths.ROOT).as_posix() if file.is_relative_to(paths.ROOT) else str(file)


@functools.cache
def digest_of(file: Path, mtime_ns: int, size: int) -> str:
    """The SHA-256 of a file, taken once as long as its time and size stay."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
