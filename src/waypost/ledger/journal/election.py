"""Which of the processes that share a folder drains it: the one that has the lock, until it dies or stands still.

That there is one is only for economy. What is drained twice at the same time is posted once all the same: each posting
moves the files' offsets from where it began to read, and fails if they are not there any more.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from waypost.ledger.journal.locks import HeldFile, take
from waypost.ledger.journal.names import DRAINER_LOCK, WANTED

STALE_S: Final = 30.0
"""One that gave no sign of life for so long stands still, and loses its office."""
BEAT_S: Final = 2.0


class Overtaken(Exception):
    """Another process has drained the same file meanwhile. Nothing may be posted of what was read."""


class Election:
    """A candidate. Raises OSError."""

    def __init__(self, folder: Path, *, stale_s: float = STALE_S) -> None:
        self._path = folder / DRAINER_LOCK
        self._wanted = folder / WANTED
        self._stale_s = stale_s
        self._held: HeldFile | None = None
        self._last_beat_s = 0.0

    @property
    def is_won(self) -> bool:
        """Is this process the one? Not if another one took the office while this one stood still."""
        return self._held is not None and _inode(self._path) == self._held.inode

    def stand(self) -> bool:
        """Try to be the one, and give a sign of life if this process is."""
        if self._held is not None and not self.is_won:
            self.resign()
        if self._held is None:
            self._held = take(self._path, create=True)
            if self._held is None and self._depose():
                self._held = take(self._path, create=True)
            if self._held is None:
                return False
            self._last_beat_s = 0.0
        if time.monotonic() - self._last_beat_s >= BEAT_S:
            self._held.touch()
            self._last_beat_s = time.monotonic()
        return self.is_won

    def claim(self) -> None:
        """Say that this process would be the one: whoever only stands in gives way."""
        self._wanted.touch()

    def is_needed(self, since_s: float, silence_s: float) -> bool:
        """For one that stands in: has nobody drained for so long, nor wants to? `since_s`: when it began to look."""
        now_s = time.time()
        if now_s - _changed_at_s(self._wanted) < silence_s:
            return False
        return self.is_won or now_s - max(since_s, _changed_at_s(self._path)) >= silence_s

    def resign(self) -> None:
        """Leave the office to another."""
        held, self._held = self._held, None
        if held is not None:
            held.release()

    def _depose(self) -> bool:
        """Take the lock file away from one that stands still; whoever comes first then makes a new one."""
        try:
            if time.time() - self._path.stat().st_mtime <= self._stale_s:
                return False
            aside = self._path.with_name(f"{DRAINER_LOCK}.{os.getpid()}.old")
            self._path.replace(aside)
            aside.unlink()
        except FileNotFoundError:
            # Somebody else was faster.
            return False
        return True


def _inode(path: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_ino
    return None


def _changed_at_s(path: Path) -> float:
    """Long ago if it is not there."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0
