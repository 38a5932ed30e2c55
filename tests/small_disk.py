"""A disk that is soon full, or read-only."""

import os
import resource
import shutil
import subprocess
from pathlib import Path


class SmallDisk:
    """A disk of so many MiB. Where nothing may be mounted, a limit on the size of files stands in for it."""

    def __init__(self, path: Path, size: int = 1) -> None:
        self.path = path
        path.mkdir()
        self._mounted = self._call("mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", str(path))
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def leave(self, kib: int) -> None:
        """Leave so much room, rounded up to the disk's blocks of 4 KiB (or let no file get larger)."""
        if self._mounted:
            disk = os.statvfs(self.path)
            used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize // 1024
            assert self._call("mount", "-o", f"remount,size={used + kib}k", str(self.path))
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (kib * 1024, self._limits[1]))

    def read_only(self, is_so: bool) -> bool:
        """Make it so, and return whether that can be done here."""
        return self._mounted and self._call("mount", "-o", f"remount,{'ro' if is_so else 'rw'}", str(self.path))

    def close(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)
        if self._mounted:
            self._call("umount", str(self.path))

    @staticmethod
    def _call(*command: str) -> bool:
        return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0
