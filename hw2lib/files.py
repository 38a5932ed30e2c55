"""Files that appear whole or not at all, and locks that end with the process that holds them."""

import contextlib
import errno
import hashlib
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from hw2lib.errors import UserError


@contextlib.contextmanager
def whole(file: Path, durable: bool = True) -> Iterator[Path]:
    """A hidden temporary name beside `file`. What is written there replaces `file` at the end; a link to it stays one.

    `durable`: it lies on the disk before it does so, and outlives a power cut; this may take milliseconds.
    If the block fails, `file` stays as it was. A process that is killed leaves a ``.partial``, which nothing reads.
    OSError, which names a file, where something is there that is no file, such as a device, and for a full disk.
    """
    check_is_file(file)
    file = Path(os.path.realpath(file))
    temporary = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        yield temporary
        if durable:
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
        os.replace(temporary, file)
    except OSError as error:
        if error.filename in (None, str(temporary)):  # none where the disk is full
            error.filename = str(file)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write(file: Path, content: str | bytes) -> None:
    """Write a file whole; what was there before stays until then."""
    with whole(file) as temporary:
        # A file's name in the text may have bytes that are no UTF-8.
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogateescape"))


def check_is_file(file: Path) -> None:
    """OSError where something is there that is no file, such as a folder, or a pipe, which would be waited for."""
    if file.is_dir():
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    if file.exists() and not file.is_file():
        raise OSError(errno.EINVAL, "neither a file nor a link to one", str(file))


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name is a system's own, to be passed over: a hidden one, ``Thumbs.db``, ..."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


CHECKSUM = "sha256"  # the key of a hash of all others


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write strict JSON whole, with a checksum that `read_json` looks at; a NaN is a ValueError."""
    content = json.loads(json.dumps(content, allow_nan=False))
    content[CHECKSUM] = _checksum(content)
    write(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_json(file: Path) -> dict[str, Any]:
    """The object in a file, without its checksum; `UserError` if it cannot be read, holds none, or has another.

    Files of before 2026-12 have no checksum.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.pop(CHECKSUM, None) not in (None, _checksum(content)):
        raise UserError(f"{file}: damaged; remove the folder to begin anew")
    return content


def has_shape(content: Any, shape: Any) -> bool:
    """Whether JSON data is as a shape says: a type, a tuple of shapes, of which one fits, a list of one shape for all
    items, or a dict with the shapes of the keys that it has to have; that of `str` is of all its values.
    """
    if isinstance(shape, tuple):
        return any(has_shape(content, one) for one in shape)
    if isinstance(shape, list):
        return isinstance(content, list) and all(has_shape(item, shape[0]) for item in content)
    if isinstance(shape, dict):
        return isinstance(content, dict) and all(
            has_shape(item, inner)
            for key, inner in shape.items()
            for item in (content.values() if key is str else [content.get(key)])
        )
    return content is None if shape is None else isinstance(content, shape)


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_zip(file: Path | IO[bytes]) -> None:
    """ValueError unless the checksums in a zip archive are right, at which torch.load does not look.

    Nothing in it may be compressed or stand for two files, so that it takes no more memory than room.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            size = archive.fp.seek(0, os.SEEK_END)
            if sum(part.file_size for part in archive.infolist()) > size:
                raise ValueError("its files are larger than it is")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, struct.error) as error:
        raise ValueError(str(error)) from None
    if damaged:
        raise ValueError(damaged)


def locked(file: Path) -> FileLock:
    """A lock to hold inside a ``with`` block, which waits for it, or until the process ends, even if it is killed."""
    return FileLock(file, thread_local=False)


def try_lock(file: Path) -> FileLock | None:
    """Hold a lock until its ``release()``, or until the process ends; None if somebody else holds it."""
    held = locked(file)
    with contextlib.suppress(Timeout):
        held.acquire(timeout=0)
    return held if held.is_locked else None
