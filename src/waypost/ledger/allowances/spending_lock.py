"""A lock beside a SQLite file: either one process spends all of its budgets by itself, or several do in slices.

The system takes it back when its process dies. The invariant: who spends alone is alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

SUFFIX: Final = ".spending"


class SpendingLock:
    """One process's. `alone`: nobody else may have it; otherwise all others who are not alone may."""

    def __init__(self, database_file: Path, *, alone: bool) -> None:
        self._file = database_file.with_name(f"{database_file.name}{SUFFIX}")
        self._alone = alone
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Have it from now on, if it can be had. Raises OSError."""
        if self._descriptor is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            if not _lock(descriptor, alone=self._alone):
                os.close(descriptor)
                return False
            self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give it back. The file stays: two processes could otherwise each lock a file of that name."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, *, alone: bool) -> bool:  # noqa: ARG001 - there is one worker only
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int, *, alone: bool) -> bool:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
