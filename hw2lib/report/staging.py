"""Results that appear whole or not at all, however many processes make them at a time."""

import fcntl
import shutil
import uuid
from pathlib import Path
from typing import IO

LOCK = ".lock"


class Staging:
    """A hidden folder beside ``final``, of this object alone, and the swap that puts it there.

    What dead processes left, half-made folders or a swap cut short, is tidied when the next one is opened.

    Args:
        final: the folder, or the file, that is to appear.

    Attributes:
        folder: where to write.
    """

    def __init__(self, final: Path) -> None:
        self._final = final
        self._old = final.with_name(f".{final.name}.old")
        self.folder = final.with_name(f".{final.name}.{uuid.uuid4().hex}.partial")
        final.parent.mkdir(parents=True, exist_ok=True)
        with lock(final.with_name(LOCK)):
            self._heal()
            for other in final.parent.glob(f".{final.name}.*.partial"):
                if abandoned := lock(other / LOCK, wait=False):
                    shutil.rmtree(other, ignore_errors=True)
                    abandoned.close()
            self.folder.mkdir()
            self._alive = lock(self.folder / LOCK)

    def swap_in(self) -> None:
        """Put the folder into its place, instead of what is there."""
        with lock(self._final.with_name(LOCK)):
            self._heal()
            (self.folder / LOCK).unlink()
            if self._final.exists():
                self._final.rename(self._old)
            self.folder.rename(self._final)
            shutil.rmtree(self._old, ignore_errors=True)
        self._alive.close()

    def discard(self) -> None:
        """Remove the folder."""
        with lock(self._final.with_name(LOCK)):  # nobody is just looking whether it has been abandoned
            shutil.rmtree(self.folder, ignore_errors=True)
        self._alive.close()

    def _heal(self) -> None:
        """Undo a swap that was killed half-way: the earlier result goes back to its place."""
        if self._old.exists():
            if self._final.exists():
                shutil.rmtree(self._old)
            else:
                self._old.rename(self._final)


def lock(file: Path, wait: bool = True) -> IO | None:
    """Hold a lock until the file that is returned is closed or the process ends, even if it is killed.

    Returns:
        None if somebody else holds it and ``wait`` is false.
    """
    held = open(file, "w")  # noqa: SIM115 (open for as long as it is held)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        held.close()
        return None
    return held
