"""Where a process's records go: into its newest segment, or what is set aside in it, or memory. No thread and no lock.

Calls that begin, bodies and ends are treated apart when there is no room: the first are refused, the second dropped,
the last kept by all means, for what they say has happened already.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from waypost.errors import JournalFull
from waypost.ledger.journal.backlog import Backlog
from waypost.ledger.journal.frames import FRAME_BYTES, LONGEST_BYTES
from waypost.ledger.journal.locks import HeldFile, take
from waypost.ledger.journal.names import lock_name, new_holder, segment_name, spare_name
from waypost.ledger.journal.segment import Segment, synchronize_folder

logger = logging.getLogger("waypost.ledger")
Fsync: TypeAlias = Literal["off", "interval", "always"]

RESERVE_BYTES: Final = 1024 * 1024
"""Set aside in each segment for the ends of calls that are under way: some thousand of them."""
IDLE_S: Final = 30.0
"""A segment that is drained and was not written to for so long is given up, since it holds what callers said."""
OLDEST_S: Final = 600.0
RETRY_AFTER_S: Final = 5.0
PASSING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EAGAIN})
"""Troubles that may go away while the process lives."""


class Writing:
    """The files of one process, which are made when they are first needed; `backlog` is set by who measures it."""

    def __init__(self, folder: Path, *, max_bytes: int, segment_bytes: int, fsync: Fsync) -> None:
        self.holder = new_holder()
        self.segment: Segment | None = None
        self.backlog = Backlog()
        self.written_bytes = 0
        """Since the backlog was measured."""
        self.waiting: deque[bytes] = deque()
        """Ends that no file took yet, in their order."""
        self.dropped_bodies = 0
        self.is_closed = False
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._number = 0
        self._held: HeldFile | None = None
        self._spare: Segment | None = None
        self.left: list[Segment] = []
        """Segments that are at their end, and still open."""
        self._trouble: OSError | None = None
        self._last_append_s = time.monotonic()
        self._told: set[str] = set()

    def hold(self) -> None:
        """Show that this process lives. Raises OSError."""
        self._held = take(self._folder / lock_name(self.holder), create=True)
        if self._held is None:
            # Whoever drains took it for that of a dead one, in the moment before it was locked.
            self.holder = new_holder()
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    def begin_call(self, payload: bytes) -> None:
        """Write it. Raises JournalFull."""
        refusal = self.refusal()
        if refusal is None and self._has_room(len(payload)) and self._written((payload,)):
            return
        raise JournalFull(
            refusal or self.refusal() or "The journal takes nothing.",
            hint="Requests that cost are taken again as soon as it does.",
            retry_after_s=RETRY_AFTER_S,
        ) from self._trouble

    def keep_body(self, payload: bytes) -> None:
        """Write it if there is room."""
        fits = len(payload) <= LONGEST_BYTES and not self.waiting and self._has_room(len(payload))
        if not fits or not self._written((payload,)):
            self.dropped_bodies += 1

    def end_calls(self, payloads: Sequence[bytes]) -> None:
        """Write them, or keep them in memory."""
        if self.is_closed:
            logger.error("journal: the end of a call came after the journal was closed; it will be estimated")
            return
        if not self.waiting:
            # Without room it goes to what is set aside.
            self._has_room(sum(map(len, payloads)) + FRAME_BYTES * (len(payloads) - 1))
        if self.waiting or not self._written(payloads):
            self.waiting.extend(payloads)

    def refusal(self) -> str | None:
        """Why no call may begin; None: it may."""
        if self.is_closed:
            return "The journal is closed: the server is shutting down."
        if self._trouble is not None:
            return f"The journal cannot be written: {self._trouble.strerror or self._trouble}."
        if self.backlog.size_bytes + self.written_bytes >= self._max_bytes:
            return (
                f"The journal has reached its limit of {self._max_bytes} bytes, "
                "because the database does not take what is in it."
            )
        return None

    def mend(self) -> None:
        """Try again what did not go. A new file is what shows that there is room: it has some set aside."""
        if self._trouble is None or not self._rotate(0):
            return
        while self.waiting:
            try:
                self._write((self.waiting[0],))
            except OSError as error:
                self._take_note_of(error)
                return
            self.waiting.popleft()
        self._trouble = None
        logger.warning("journal: it can be written again")

    def give_up_drained(self) -> None:
        """Begin a new file if the old one is drained and stands still, or is old: then it is removed."""
        segment, now_s = self.segment, time.monotonic()
        if segment is None or segment.is_empty or segment.name not in self.backlog.drained or self.written_bytes:
            return
        if now_s - self._last_append_s >= IDLE_S or now_s - segment.begun_at_s >= OLDEST_S:
            self._rotate(0)

    @property
    def wants_spare(self) -> bool:
        """Will the next segment be needed soon? Making one takes milliseconds, which an append should not wait for."""
        segment = self.segment
        is_half_full = segment is not None and segment.size >= self._segment_bytes // 2
        return is_half_full and self._spare is None and self._trouble is None and not self.is_closed

    def make_spare(self) -> Segment | None:
        """The next segment; None where it could not be made, or not be renamed while it is open. No lock is needed."""
        if sys.platform == "win32":
            return None
        with contextlib.suppress(OSError):
            return Segment(self._folder / spare_name(self.holder), self._segment_bytes + RESERVE_BYTES)
        return None

    def take_spare(self, spare: Segment) -> None:
        """Have it ready."""
        if self._spare is None and not self.is_closed:
            self._spare = spare
        else:
            spare.remove()

    def abandon(self) -> None:
        """In a process that is not the one which writes: close what is its."""
        for segment in (self.segment, self._spare, *self.left):
            if segment is not None:
                with contextlib.suppress(OSError):
                    segment.abandon()

    def close(self) -> None:
        """Nothing more is written."""
        self.mend()
        self.is_closed = True
        if self.waiting:
            logger.error("journal: no disk took the ends of %d calls; they will be estimated", len(self.waiting))
        if self.segment is not None:
            self.left.append(self.segment)
            self.segment = None
        left, self.left = self.left, []
        close_all(left, synced=self._fsync != "off")
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.remove()
        if self._held is not None:
            self._held.release()

    def try_to(self, what: str, action: Callable[[], None]) -> None:
        """Do what may fail without harm to what is written; say so once."""
        try:
            action()
        except OSError as error:
            if what not in self._told:
                logger.error("journal: it cannot be %s: %s", what, error)  # noqa: TRY400 - a full disk is no fault
            self._told.add(what)
        else:
            self._told.discard(what)

    def _has_room(self, size_bytes: int) -> bool:
        """Is there a segment that takes so much without what is set aside?"""
        segment = self.segment
        if segment is not None and (segment.size + FRAME_BYTES + size_bytes <= self._segment_bytes or segment.is_empty):
            return True
        return self._trouble is None and not self.is_closed and self._rotate(size_bytes)

    def _written(self, payloads: Sequence[bytes]) -> bool:
        try:
            self._write(payloads)
        except OSError as error:
            if error.errno != errno.EFBIG or self.segment is None or self.segment.is_empty:
                self._take_note_of(error)
                return False
        else:
            return True
        # Files may not be as large as ours are: the next one has as much room again.
        return self._rotate(sum(map(len, payloads))) and self._written(payloads)

    def _write(self, payloads: Sequence[bytes]) -> None:
        segment = self.segment
        if segment is None:
            raise self._trouble or OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        size = segment.size
        segment.write(payloads, synced=self._fsync == "always")
        self.written_bytes += segment.size - size
        self._last_append_s = time.monotonic()

    def _rotate(self, size_bytes: int) -> bool:
        """Go on in a new file with room for so much. If none can be made the old one stays."""
        try:
            if self._held is None:
                self.hold()
            path = self._folder / segment_name(self.holder, self._number + 1)
            fresh, self._spare = self._spare, None
            if fresh is not None and fresh.space_bytes < size_bytes + RESERVE_BYTES:
                fresh.remove()
                fresh = None
            if fresh is None:
                fresh = Segment(path, max(self._segment_bytes, size_bytes) + RESERVE_BYTES)
            fresh.begin(path)
        except OSError as error:
            self._take_note_of(error)
            return False
        if self.segment is not None:
            self.left.append(self.segment)
        self.segment = fresh
        self._number += 1
        if self._fsync == "always":
            self.try_to("synchronized", lambda: synchronize_folder(self._folder))
        return True

    def _take_note_of(self, error: OSError) -> None:
        if self._trouble is None:
            logger.error("journal: it cannot be written, and calls that cost are refused: %s", error)
        self._trouble = error


def close_all(segments: list[Segment], *, synced: bool) -> None:
    """Close those that are at their end; `synced`: once they are on the disk. Takes milliseconds each."""
    while segments:
        segment = segments.pop()
        if synced:
            try:
                segment.sync()
            except OSError as error:
                logger.error("journal: %s cannot be synchronized: %s", segment.name, error)  # noqa: TRY400
        segment.close()
