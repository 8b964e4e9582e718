"""Files that are locked as long as a process has them open: the system frees the lock when it dies, not when it sleeps.

A child that is forked off inherits open files, and would keep the lock alive after its parent's death: it closes them
first of all. Closing there does not free the parent's lock.
"""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from pathlib import Path
from typing import Final


class HeldFile:
    """A locked file."""

    __slots__ = ("__weakref__", "_descriptor", "path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor
        _held.add(self)

    @property
    def inode(self) -> int:
        """Which file it is, whatever its path leads to by now."""
        return 0 if self._descriptor is None else os.fstat(self._descriptor).st_ino

    def touch(self) -> None:
        """Set its time to now."""
        if self._descriptor is not None:
            os.utime(self._descriptor if os.utime in os.supports_fd else self.path)

    def release(self) -> None:
        """Give the lock back. The file stays."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


_held: Final[weakref.WeakSet[HeldFile]] = weakref.WeakSet()


def take(path: Path, *, create: bool) -> HeldFile | None:
    """The file, locked; None if somebody else has it locked, or it was removed meanwhile.

    Raises FileNotFoundError unless `create`, and OSError.
    """
    flags = os.O_RDWR | (os.O_CREAT if create else 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        locked = _lock(descriptor) and os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    if locked:
        return HeldFile(path, descriptor)
    os.close(descriptor)
    return None


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _close_in_child() -> None:
    for held in list(_held):
        with contextlib.suppress(OSError):
            held.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
