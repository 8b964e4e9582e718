"""The keys of the database in memory: read when the server starts, and anew whenever they change.

A thread asks the database twice a second whether they have; nobody who calls waits for that. The invariant: what is
looked up is one whole reading, swapped by one assignment. While the database is away the last reading holds; before
the first one nobody gets in by it, and the server counts as one that has keys.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from waypost.errors import WaypostError
from waypost.ledger.books import now_ms
from waypost.server.callers import Caller
from waypost.store.lazy import LazyDatabase

if TYPE_CHECKING:
    from waypost.ledger.key_reading import KeyReading

logger = logging.getLogger("waypost.server")

INTERVAL_S: Final = 0.5
"""A change is in force everywhere after that, and the time that reading takes."""
SOONEST_S: Final = 0.1
"""How soon after one look another may be had for the sake of a key that is not known yet."""
SLOW_S: Final = 3.0
"""A look that takes longer is like one that fails."""
LONGEST_WAIT_S: Final = 15.0
"""How long a request waits for the first reading."""
Status: TypeAlias = Literal["ready", "loading", "stale", "unavailable"]
AWAY: Final[Mapping[Status, str]] = {
    "loading": "The keys in the database are being read.",
    "stale": "The database does not answer: the keys that were known go on being good, and changes are not seen.",
    "unavailable": "The database does not answer: only the keys of the settings file are known.",
}


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """One reading. `revision` None: there was none yet."""

    revision: int | None = None
    any_made: bool = True
    """Has there ever been a key?"""
    by_digest: Mapping[bytes, Caller] = field(default_factory=dict)
    by_name: Mapping[str, Caller] = field(default_factory=dict)
    reading: KeyReading | None = None
    """What the next one goes on from."""


class KeyWatch:
    """Reads the keys of one database. `known` may be used in any thread; `look` blocks."""

    def __init__(self, database: LazyDatabase, interval_s: float = INTERVAL_S) -> None:
        self.known = KnownKeys()
        self._database = database
        self._interval_s = interval_s
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._end = threading.Event()
        self._turn = threading.Lock()
        self._wanted = threading.Event()
        self._first: Future[None] = Future()
        self._next: Future[None] = Future()
        """Done when the next look is over that has not begun yet."""
        self._began_at: float | None = None
        self._failed = False

    @property
    def is_read(self) -> bool:
        """Has there been a reading?"""
        return self.known.revision is not None

    @property
    def status(self) -> Status:
        """How far what is known can be relied on."""
        away = self._failed or self._is_slow()
        if self.is_read:
            return "stale" if away else "ready"
        return "unavailable" if away else "loading"

    @property
    def detail(self) -> str:
        """What the status means, empty if all is well."""
        return AWAY.get(self.status, "")

    def start(self) -> None:
        """Begin to watch, if it has not begun."""
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                # What was read before, maybe by the process that this one was forked of, may be long out of date.
                self.known, self._first = KnownKeys(), Future()
                self._end = threading.Event()
                self._thread = threading.Thread(target=self._watch, args=(self._end,), name="keys", daemon=True)
                self._thread.start()

    async def stop(self) -> None:
        """End the watch; a database that hangs is not waited for."""
        self._end.set()
        self._wanted.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 1.0)

    async def until_read(self) -> None:
        """Wait for the first reading, or for its failure."""
        if not self.is_read:
            self.start()
            await asyncio.wait([asyncio.wrap_future(self._first)], timeout=LONGEST_WAIT_S)

    async def look_again(self) -> bool:
        """Have the watch look now, for somebody who shows a key that is not known. True: there is something new.

        All who ask at once share one look; one that began before they asked would not do.
        """
        if self.status == "stale":
            return False
        before = self.known
        await asyncio.wait([asyncio.wrap_future(self._want())], timeout=SLOW_S)
        return self.known is not before

    def look_soon(self) -> None:
        """Have the watch look now, and wait for that in a thread, though not for ever."""
        with suppress(TimeoutError):
            self._want().result(SLOW_S)

    def look(self) -> None:
        """Read the keys anew if they have changed; if that fails what is known stays, and the log says why. Blocks."""
        with self._turn:
            over, self._next = self._next, Future()
            self._began_at = time.monotonic()
            try:
                self.known = self._read()
            except Exception as error:  # noqa: BLE001 - whatever it is, the watch goes on with what is known
                self._note_failure(error)
            else:
                self._note_success()
            finally:
                self._began_at = None
                for done in (over, self._first):
                    if not done.done():
                        done.set_result(None)

    def _want(self) -> Future[None]:
        """The end of a look that has not begun yet."""
        self.start()
        over = self._next
        self._wanted.set()
        return over

    def _watch(self, end: threading.Event) -> None:
        while not end.is_set():
            self._wanted.clear()
            self.look()
            # However many ask, they wait for the same few looks.
            if not end.wait(SOONEST_S):
                self._wanted.wait(self._interval_s - SOONEST_S)

    def _read(self) -> KnownKeys:
        if not self._database.is_there():
            return self.known if self.known.revision == 0 else KnownKeys(0, any_made=False)
        from waypost.ledger.key_reading import NOTHING, read_keys
        from waypost.ledger.keys import has_keys, revision

        with self._database.open().read() as connection:
            number = revision(connection)
            if number == self.known.revision:
                return self.known
            before = self.known.reading or NOTHING
            reading = read_keys(connection, now_ms(), before)
            any_made = bool(reading.credentials) or has_keys(connection)
        callers = {
            digest: self.known.by_digest[digest]
            if before.credentials.get(digest) is each
            else Caller(each.account.key_id, each.account, each.valid_until_ms)
            for digest, each in reading.credentials.items()
        }
        # A key that is being rotated is in there twice, under one name.
        return KnownKeys(number, any_made, callers, {caller.name: caller for caller in callers.values()}, reading)

    def _is_slow(self) -> bool:
        began_at = self._began_at
        return began_at is not None and time.monotonic() - began_at > SLOW_S

    def _note_failure(self, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            logger.error("%s %s", self.detail, self._words(error))

    def _words(self, error: Exception) -> str:
        from waypost.store.database import DatabaseError
        from waypost.store.troubles import trouble

        if isinstance(error, DatabaseError):
            return str(trouble(error, self._database.url))
        return str(error) if isinstance(error, WaypostError) else f"{type(error).__name__}: {error}".partition("\n")[0]

    def _note_success(self) -> None:
        if self._failed:
            logger.warning("the keys in the database are read again")
        self._failed = False
