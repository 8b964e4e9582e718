"""The thread that brings the journal into the database. Every process has one; one of those that share a folder works.

Beside a server that is the worker process, so that it costs requests nothing; the server's own thread stands in for it.

It never gives up and drops nothing: with the database away it tries again, ever more slowly, and says so once. What it
does in Python is done a little at a time, so that the event loop of the same process is not kept waiting.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from waypost.catalogue import PriceBook
from waypost.errors import WaypostError
from waypost.ledger.journal.backlog import word_of
from waypost.ledger.journal.election import Election, Overtaken
from waypost.ledger.journal.frames import HEADER_BYTES
from waypost.ledger.journal.names import listing

if TYPE_CHECKING:
    # They bring SQLAlchemy along, which the thread imports when it needs it.
    from waypost.ledger.journal.draining import Draining, Follower
    from waypost.store.database import Database

logger = logging.getLogger("waypost.ledger")

INTERVAL_S: Final = 0.3
CANDIDACY_S: Final = 1.0
"""How often another process looks whether the one that drains is gone."""
LONGEST_WAIT_S: Final = 5.0
MOST_OVERTAKEN: Final = 10
"""Times in a row that another process drained the same before it is told as a trouble: there should be no other."""
PAUSE_S: Final = 0.0002
SILENCE_S: Final = 8.0
"""Longer than a worker process takes to start, or to be started anew."""
LAST_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class DrainerStatus:
    """How the draining is, as this process sees it."""

    is_elected: bool
    """Does this process drain the folder?"""
    trouble: str | None
    """What keeps it from draining, such as a database that is away; None: nothing does."""
    trouble_since_ms: int | None
    records: int
    """Posted by this process."""
    adopted_attempts: int
    """Left open by processes that died, and closed as unknown."""
    gaps: int
    """Spans of journal files that were damaged or could not be posted; they are in the quarantine folder."""
    gap_bytes: int


class Drainer:
    """`start` begins the thread; `database` is called in it, and what it gives is closed at its end.

    `followers`, made when it begins, are told in the same transaction what was posted: so allowances learn what is
    spent for good. `stands_in`: another process is meant to drain, and this one does only while nobody else has for
    `silence_s`, or when it cannot wait.
    """

    def __init__(
        self,
        folder: Path,
        database: Callable[[], Database],
        prices: PriceBook,
        *,
        followers: Callable[[], Sequence[Follower]] = tuple,
        interval_s: float = INTERVAL_S,
        stands_in: bool = False,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._folder = folder
        self._open_database = database
        self._prices = prices
        self._followers = followers
        self._interval_s = interval_s
        self._election = Election(folder)
        self._stands_in = stands_in
        self._silence_s = silence_s
        self._since_s = time.time()
        self._database: Database | None = None
        self._draining: Draining | None = None
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failures = 0
        self._overtaken = 0
        self._trouble: str | None = None
        self._trouble_since_ms: int | None = None
        self._is_elected = False

    def start(self) -> None:
        """Begin. After a fork, in the process that is to drain."""
        self._thread = threading.Thread(target=self._run, name="waypost-drainer", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Drain what is there, if the database takes it, and leave it to another process."""
        if self._stands_in:
            self._wait_for_others()
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                logger.warning("journal: the drainer is still waiting for the database; it is left behind")

    def _wait_for_others(self) -> None:
        """Let what is there be drained, by whoever may: nobody may be left who would after this process's end."""
        if self._trouble is None:
            self.drain_now(LAST_S)

    def drain_now(self, timeout_s: float = 30.0) -> bool:
        """Wait until what is in the folder now is in the database, by this process or another. False: it is not."""
        end_s = time.monotonic() + timeout_s
        wanted = self._sizes()
        while True:
            with self._turn:
                self._take_turn(cannot_wait=True)
            if self._has(wanted):
                return True
            if time.monotonic() >= end_s:
                return False
            time.sleep(min(0.05, self._interval_s))

    def status(self) -> DrainerStatus:
        """How it goes."""
        counters = None if self._draining is None else self._draining.counters
        return DrainerStatus(
            self._is_elected,
            self._trouble,
            self._trouble_since_ms,
            counters.records if counters else 0,
            counters.adopted_attempts if counters else 0,
            counters.gaps if counters else 0,
            counters.gap_bytes if counters else 0,
        )

    def _run(self) -> None:
        wait_s = 0.0
        while not self._stop.wait(wait_s):
            with self._turn:
                wait_s = self._take_turn()
        with self._turn:
            # What was written until now; and what became superfluous by that is removed.
            if self._trouble is None and self._take_turn(cannot_wait=True) == self._interval_s:
                self._take_turn(cannot_wait=True)
            self._election.resign()
            self._is_elected = False
            if self._database is not None:
                self._database.close()
                self._database = self._draining = None

    def _take_turn(self, *, cannot_wait: bool = False) -> float:
        """Drain all that is there, if it is this process's office. Gives the time to wait then."""
        try:
            if not self._stand(cannot_wait=cannot_wait):
                return CANDIDACY_S
            draining = self._draining or self._begin()
            while draining.round():
                pause()
                if not self._election.stand():
                    return CANDIDACY_S
        except Overtaken as error:
            self._overtaken += 1
            return self._interval_s if self._overtaken <= MOST_OVERTAKEN else self._note(error)
        except Exception as error:  # noqa: BLE001 - the thread must outlive whatever it is
            return self._note(error)
        self._note_success()
        return self._interval_s

    def _stand(self, *, cannot_wait: bool) -> bool:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._stands_in and not cannot_wait and not self._election.is_needed(self._since_s, self._silence_s):
            self._election.resign()
            self._is_elected = False
            return False
        was_elected, self._is_elected = self._is_elected, self._election.stand()
        if not self._is_elected and not self._stands_in:
            self._election.claim()
        if self._is_elected and not was_elected and self._draining is not None:
            self._draining.offsets.forget()
        return self._is_elected

    def _begin(self) -> Draining:
        from waypost.ledger.journal.draining import Draining

        self._database = self._database or self._open_database()
        self._draining = Draining(self._folder, self._database, self._prices, self._followers(), pause)
        return self._draining

    def _note(self, error: Exception) -> float:
        """Say once what keeps it from draining. Gives the time to wait before the next try."""
        from waypost.store.database import DatabaseError

        self._failures += 1
        text = _told(error)
        if self._trouble is None:
            self._trouble_since_ms = time.time_ns() // 1_000_000
            expected = isinstance(error, DatabaseError | OSError | WaypostError)
            logger.error(
                "journal: it cannot be drained, and is kept until it can: %s",
                text,
                exc_info=None if expected else error,
            )
        self._trouble = text
        return float(min(LONGEST_WAIT_S, self._interval_s * 2 ** min(self._failures, 10)))

    def _note_success(self) -> None:
        if self._trouble is not None:
            logger.warning("journal: it is drained again")
        self._failures, self._overtaken, self._trouble, self._trouble_since_ms = 0, 0, None, None

    def _sizes(self) -> dict[str, int]:
        try:
            holders = listing(self._folder).holders.values()
        except FileNotFoundError:
            return {}
        return {name: size for segments in holders for name, size in segments.sizes.items() if size > HEADER_BYTES}

    def _has(self, wanted: dict[str, int]) -> bool:
        offsets = dict(word_of(self._folder)[0])
        if self._draining is not None and self._is_elected:
            offsets |= self._draining.offsets.known
        there = self._sizes()
        return all(name not in there or offsets.get(name, 0) >= size for name, size in wanted.items())


def pause() -> None:
    """Give the event loop a turn. Longer than an instant, or this thread would be the next again."""
    time.sleep(PAUSE_S)


def _told(error: Exception) -> str:
    """The error without what callers said: a statement's values, and the database's words about them, are theirs."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    if isinstance(error, OperationalError | InterfaceError):
        return f"{type(error).__name__}: {str(error.orig).strip().partition(chr(10))[0]}"
    if isinstance(error, DBAPIError):
        return f"{type(error).__name__}: {type(error.orig).__name__}"
    return f"{type(error).__name__}: {error}" if isinstance(error, OSError | WaypostError) else type(error).__name__
