"""The journal of one process: what must not be lost is one append to a file, made before anything depends on it.

Appends come from the event loop and take microseconds; a thread of the journal's own does what takes longer. The
invariant: what `append` took is in a file when it returns, or, if the disk has no room even in what was set aside,
waits in memory to be written first; a call whose beginning could not be written is refused.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from waypost.errors import ConfigurationError
from waypost.ledger.journal.backlog import measure
from waypost.ledger.journal.encoding import encode
from waypost.ledger.journal.segment import synchronize
from waypost.ledger.journal.writing import PASSING, Fsync, Writing, close_all
from waypost.ledger.records import AttemptClosed, AttemptOpened, BodyStored, Record, RequestEnded

SEGMENT_BYTES: Final = 8 * 1024 * 1024
TICK_S: Final = 0.5
"""How often the thread looks: what `fsync: interval` may lose, and how soon a full disk is noticed to have room."""
_SMALLEST_SEGMENT: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class JournalState:
    """How the journal of the folder is."""

    backlog_bytes: int
    """What is not in the database yet, of all processes."""
    limit_bytes: int
    undrained_since_ms: int | None
    """Since when something may be waiting for the database, in Unix milliseconds; None: nothing is."""
    refusal: str | None
    """Why calls that cost are refused now; None: they are not."""
    waiting_records: int
    """Ends of calls that are in memory because no disk takes them."""
    dropped_bodies: int
    """Bodies that no room was left for."""


class Journal:
    """Appends records. Raises ConfigurationError if the folder cannot be written to.

    A child that is forked off goes on with a name and files of its own. `segment_bytes` is for tests.
    """

    def __init__(
        self, folder: Path, *, max_bytes: int, fsync: Fsync = "off", segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = min(segment_bytes, max(max_bytes // 8, _SMALLEST_SEGMENT))
        self._fsync: Fsync = fsync
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._writing = self._anew()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._writing.hold()
        except OSError as error:
            if error.errno not in PASSING:
                raise ConfigurationError(
                    f"The journal's folder {folder} cannot be written to: {error.strerror}.", hint="Check data_dir."
                ) from error
        self._begin()
        _journals.add(self)

    @property
    def holder(self) -> str:
        """This process's name, in the folder and in the database."""
        return self._writing.holder

    def append(self, record: Record) -> None:
        """Write it down. It survives the process's death; that of the machine as far as `fsync` says.

        Raises JournalFull for an `AttemptOpened` only: then the call must not be made. A body that there is no room
        for is dropped, and counted.
        """
        payload = encode(record)
        with self._lock:
            if self._thread is None:
                self._begin()
            if type(record) is AttemptOpened:
                self._writing.begin_call(payload)
            elif type(record) is BodyStored:
                self._writing.keep_body(payload)
            else:
                self._writing.end_calls((payload,))

    def append_ends(self, records: Sequence[RequestEnded | AttemptClosed]) -> None:
        """The same for ends of requests and calls, in one write."""
        payloads = [encode(record) for record in records]
        with self._lock:
            if self._thread is None:
                self._begin()
            self._writing.end_calls(payloads)

    def state(self) -> JournalState:
        """How the journal is. Half a second old at most."""
        with self._lock:
            writing = self._writing
            return JournalState(
                writing.backlog.size_bytes + writing.written_bytes,
                self._max_bytes,
                writing.backlog.since_ms,
                writing.refusal(),
                len(writing.waiting),
                writing.dropped_bodies,
            )

    def close(self) -> None:
        """Nothing more is written by this process. Its files are then drained to their end by whoever drains."""
        with self._lock:
            if not self._writing.is_closed:
                self._writing.close()
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _anew(self) -> Writing:
        return Writing(self.folder, max_bytes=self._max_bytes, segment_bytes=self._segment_bytes, fsync=self._fsync)

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._keep, name="waypost-journal", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        """The thread: what takes longer than an append may."""
        stop, writing = self._stop, self._writing
        while not stop.wait(TICK_S):
            if self._fsync == "interval":
                writing.try_to("synchronized", self._synchronize)
            writing.try_to("measured", self._measure)
            with self._lock:
                if writing.is_closed:
                    return
                writing.mend()
                writing.give_up_drained()
                left, writing.left = writing.left, []
                wants_spare = writing.wants_spare
            close_all(left, synced=self._fsync != "off")
            spare = writing.make_spare() if wants_spare else None
            if spare is not None:
                with self._lock:
                    writing.take_spare(spare)

    def _measure(self) -> None:
        with self._lock:
            self._writing.written_bytes = 0
        # What is written meanwhile may be counted twice, for half a second.
        backlog = measure(self.folder)
        with self._lock:
            self._writing.backlog = backlog

    def _synchronize(self) -> None:
        with self._lock:
            if self._writing.segment is None:
                return
            descriptor = self._writing.segment.duplicate()
        try:
            synchronize(descriptor)
        finally:
            os.close(descriptor)

    def _leave_to_parent(self) -> None:
        """In a child that was forked off: what was open is the parent's, and its threads are not here."""
        left = self._writing
        self._lock, self._stop, self._thread = threading.Lock(), threading.Event(), None
        self._writing = self._anew()
        self._writing.is_closed = left.is_closed
        left.abandon()


_journals: Final[weakref.WeakSet[Journal]] = weakref.WeakSet()


def _leave_all_to_parents() -> None:
    for journal in list(_journals):
        journal._leave_to_parent()  # noqa: SLF001 - of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all_to_parents)
