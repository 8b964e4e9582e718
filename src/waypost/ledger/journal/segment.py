"""One file of the journal while its process writes to it: whole frames, or nothing.

Disk space is taken in advance, beyond the file's end, as far as the file system can: so the ends of calls that are
under way find room when the disk is full. The invariant: after a write that failed the file is as it was before.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from waypost.ledger.journal.frames import HEADER_BYTES, frame, header, mark_of

_KEEP_SIZE: Final = 1
_NOT_POSSIBLE: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENODEV, errno.EFBIG})
"""The file system takes no space in advance, or files may not be as large as that: it is written without."""


class Segment:
    """A file with space for so many bytes; nothing is written to it before `begin`. Raises OSError: there is none."""

    __slots__ = ("_descriptor", "_mark", "_path", "begun_at_s", "size", "space_bytes")

    def __init__(self, path: Path, space_bytes: int) -> None:
        self.space_bytes = space_bytes
        self.size = 0
        self.begun_at_s = 0.0
        self._path = path
        self._mark = b""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
        self._descriptor = os.open(path, flags, 0o600)
        try:
            _take_space(self._descriptor, space_bytes)
        except BaseException:
            self.remove()
            raise

    def begin(self, path: Path) -> None:
        """Give it its name and header. Raises OSError, and then the file is gone.

        A file with a header says that the ones before it are at their end: it must be complete when it is first seen.
        """
        self._mark = mark_of(path.name)
        try:
            _write_whole(self._descriptor, header(path.name, time.time_ns() // 1_000_000))
            if path != self._path:
                self._path.rename(path)
                self._path = path
        except BaseException:
            self.remove()
            raise
        self.size = HEADER_BYTES
        self.begun_at_s = time.monotonic()

    @property
    def name(self) -> str:
        """The file's."""
        return self._path.name

    @property
    def is_empty(self) -> bool:
        """Has nothing been written to it?"""
        return self.size == HEADER_BYTES

    def write(self, payloads: Sequence[bytes], *, synced: bool) -> None:
        """Append records in one write; `synced`: they are on the disk when this returns. Raises OSError."""
        mark = self._mark
        data = frame(mark, payloads[0]) if len(payloads) == 1 else b"".join([frame(mark, each) for each in payloads])
        try:
            _write_whole(self._descriptor, data)
            if synced:
                self.sync()
        except OSError:
            self._cut_back()
            raise
        self.size += len(data)

    def sync(self) -> None:
        """Have what was written on the disk. Raises OSError."""
        synchronize(self._descriptor)

    def duplicate(self) -> int:
        """A descriptor of one's own, which stays open when the segment is closed."""
        return os.dup(self._descriptor)

    def close(self) -> None:
        """Nothing more is written; space that was not used is given back."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self.size)
        self._let_go()

    def remove(self) -> None:
        """It is not needed, and holds nothing."""
        self._let_go()
        self._path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """Close it in a process that is not the one which writes it."""
        self._let_go()

    def _let_go(self) -> None:
        """Once only: the number soon is another file's."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._descriptor, self.size)
        except OSError:
            # What is there of the frame stays, and readers pass over it.
            self.size = os.fstat(self._descriptor).st_size


def synchronize(descriptor: int) -> None:
    """Have a file's content on the disk. Raises OSError."""
    getattr(os, "fdatasync", os.fsync)(descriptor)


def synchronize_folder(folder: Path) -> None:
    """Have the names of a folder's files on the disk. Raises OSError."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write_whole(descriptor: int, data: bytes) -> None:
    """One write, unless the disk is full within it or a signal cuts it: then what is left is tried once more."""
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, memoryview(data)[written:])


def _take_space(descriptor: int, space_bytes: int) -> None:
    """Raises OSError if there is no room. os.posix_fallocate is no good: it would make the file as long as that."""
    allocate = _fallocate()
    if allocate is None:
        return
    while allocate(descriptor, _KEEP_SIZE, 0, space_bytes):
        number = ctypes.get_errno()
        if number in _NOT_POSSIBLE:
            return
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


@cache
def _fallocate() -> Any:
    """The system's call; None where there is none."""
    if sys.platform != "linux":
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
    return function
