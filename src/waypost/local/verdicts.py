"""The SHA-256 of model files, each computed once and remembered in a small JSON file beside them.

It does not know which SHA-256 is right: `store` does. The invariant: what is remembered holds for exactly the size,
modification time and inode that the file had while it was read, so a file that was changed or replaced since counts
as unknown. A record that is missing, unreadable or cannot be written costs time, never an answer.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

RECORD_NAME: Final = ".verified.json"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one file's bytes came to, and the file it holds for."""

    size_bytes: int
    modified_ns: int
    inode: int
    sha256: str

    def holds_for(self, status: os.stat_result) -> bool:
        """Is the file still the one that was read?"""
        return (self.size_bytes, self.modified_ns, self.inode) == _identity(status)


class Verdicts:
    """What is known of the files in `folder`. Usable from any thread; a file is read by one of them at a time."""

    def __init__(self, folder: Path) -> None:
        self._record = folder / RECORD_NAME
        self._reading = threading.Lock()
        # A folder that cannot be written has at least this process's memory.
        self._own: dict[str, Verdict] = {}

    def known(self, path: Path) -> str | None:
        """The file's SHA-256 if it was read before and has not changed since. Raises OSError if there is no file."""
        status = path.stat()
        found = (self._own.get(path.name), self._recorded().get(path.name))
        return next((verdict.sha256 for verdict in found if verdict and verdict.holds_for(status)), None)

    def sha256(self, path: Path, *, again: bool = False) -> str:
        """The file's SHA-256; the file is read if that is not known, or `again`. Raises OSError."""
        with self._reading:
            known = None if again else self.known(path)
            return known if known is not None else self._read(path)

    def _read(self, path: Path) -> str:
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            after = os.fstat(file.fileno())
        # A file that was written to meanwhile may be neither what it was nor what it is.
        if _identity(before) == _identity(after):
            self._own[path.name] = Verdict(*_identity(after), digest)
            # A full or read-only disk is no reason to refuse a sound model.
            with suppress(OSError):
                self._remember()
        return digest

    def _recorded(self) -> dict[str, Verdict]:
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=dict[str, Verdict])
        except (OSError, msgspec.DecodeError):
            return {}

    def _remember(self) -> None:
        """Write the record whole, by one rename: another process reads the old one or the new one."""
        content = msgspec.json.format(msgspec.json.encode({**self._recorded(), **self._own}))
        descriptor, name = tempfile.mkstemp(prefix=RECORD_NAME, dir=self._record.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content + b"\n")
            # Temporary files are their owner's alone; other users of the folder may read this one.
            Path(name).chmod(0o644)
            Path(name).replace(self._record)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino
