"""Transactions that a request waits for: in a few threads, for a bounded time. Not for the journal's drainer.

The event loop never waits for the database, and nobody waits for it long: while it is away, requests are told so at
once. The invariant: a transaction that was given up is rolled back. Who was told that nothing was written may rely on
it, but for the one whose commit itself got no answer.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from waypost.errors import DatabaseUnavailable, RequestError

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.exc import SQLAlchemyError

    from waypost.store.database import Database

ResultT = TypeVar("ResultT")
Work: TypeAlias = "Callable[[Connection, Database], ResultT]"
"""What is done within one transaction."""

THREADS: Final = 4
WITHIN_S: Final = 5.0
"""How long a request waits for its transaction."""
OPENING: Final = 4.0
"""How many times as long it waits for a database that has yet to be opened, and perhaps to be made."""
REST_S: Final = 1.0
"""How long nobody tries again, once the database has not answered."""
MOST_WAITING: Final = 1_000
"""Transactions that wait for a thread or run; more are refused."""
logger = logging.getLogger("waypost.server")


class DatabaseThreads:
    """Threads around one database. `open_database` is called for each transaction, in a thread. `clock`: seconds."""

    def __init__(
        self,
        open_database: Callable[[], Database],
        *,
        within_s: float = WITHIN_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open = open_database
        self._within_s = within_s
        self._clock = clock
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._waiting = 0
        self._away_until_s = float("-inf")
        self._closed = False
        self._was_opened = False

    def was_away(self, within_s: float) -> bool:
        """Did the database not answer at some time within the last so many seconds?"""
        return self._clock() < self._away_until_s + within_s

    async def read(self, work: Work[ResultT]) -> ResultT:
        """What `work` gives, in one snapshot. Raises DatabaseUnavailable, and whatever of ours `work` raises."""

        def transact(database: Database, _: _Ticket) -> ResultT:
            with database.read() as connection:
                return work(connection, database)

        return await self._run(transact)

    async def write(self, work: Work[ResultT]) -> ResultT:
        """What `work` gives, once it is committed. Raises as `read` does; then nothing was written."""

        def transact(database: Database, ticket: _Ticket) -> ResultT:
            with database.write() as connection:
                result = work(connection, database)
                if not ticket.may_commit():
                    raise _GivenUp
            return result

        return await self._run(transact)

    def close(self) -> None:
        """Nothing new is begun; what was begun goes on."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)

    async def _run(self, transact: Callable[[Database, _Ticket], ResultT]) -> ResultT:
        if not self._was_opened:
            await self._run_within(_nothing, self._within_s * OPENING)
        return await self._run_within(transact, self._within_s)

    async def _run_within(self, transact: Callable[[Database, _Ticket], ResultT], within_s: float) -> ResultT:
        if self._closed or self._waiting >= MOST_WAITING or self._clock() < self._away_until_s:
            raise _away()
        ticket = _Ticket()
        done: Future[ResultT] = Future()
        self._start_threads()
        self._waiting += 1
        self._jobs.put(lambda: self._do(transact, ticket, done))
        waiting = asyncio.wrap_future(done)
        try:
            await asyncio.wait({waiting}, timeout=within_s)
            if not waiting.done() and not ticket.give_up():
                # It is being committed at this very moment.
                await asyncio.wait({waiting}, timeout=within_s)
            if not waiting.done():
                self._note_away(f"no answer within {within_s:g} s")
                raise _away()
            return waiting.result()
        finally:
            self._waiting -= 1
            ticket.give_up()
            # Nobody asks any more what becomes of it.
            waiting.add_done_callback(_look_at)

    def _do(self, transact: Callable[[Database, _Ticket], ResultT], ticket: _Ticket, done: Future[ResultT]) -> None:
        """In a thread."""
        if ticket.given_up:
            done.cancel()
            return
        database: Database | None = None
        try:
            database = self._open()
            self._was_opened = True
            result = transact(database, ticket)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            failure = self._told(error, database)
            with suppress(Exception):
                done.set_exception(failure)
        else:
            with suppress(Exception):
                done.set_result(result)

    def _told(self, error: BaseException, database: Database | None) -> BaseException:
        """The error as whoever waits gets it: what is wrong with the database is no fault of his."""
        from sqlalchemy import exc

        if isinstance(error, RequestError):
            return error
        if isinstance(error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError):
            self._note_away(_words(error, database))
        elif not isinstance(error, _GivenUp):
            # SQLAlchemy's own text hides what was to be written.
            logger.error("a transaction failed", exc_info=error)
        told = _away()
        told.__cause__ = error
        return told

    def _note_away(self, why: str) -> None:
        if self._clock() >= self._away_until_s:
            logger.warning("the database does not answer requests: %s", why)
        self._away_until_s = self._clock() + REST_S

    def _start_threads(self) -> None:
        if not self._threads:
            self._threads = [
                # Daemons: a database that never answers must not keep the process from ending.
                threading.Thread(target=self._work, name=f"database-{number}", daemon=True)
                for number in range(THREADS)
            ]
            for thread in self._threads:
                thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


class _GivenUp(Exception):
    """Rolls a transaction back that nobody waits for."""


class _Ticket:
    """Decides, once, whether a transaction is committed or given up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._commits = False
        self.given_up = False

    def may_commit(self) -> bool:
        """Is it still waited for? Then it cannot be given up any more."""
        with self._lock:
            self._commits = not self.given_up
            return self._commits

    def give_up(self) -> bool:
        """Nobody waits any more. False: too late, it is being committed."""
        with self._lock:
            self.given_up = not self._commits
            return self.given_up


def _nothing(_: Database, __: _Ticket) -> None:
    """The database is open: that was all."""


def _away() -> DatabaseUnavailable:
    return DatabaseUnavailable("The database does not answer now.")


def _words(error: SQLAlchemyError, database: Database | None) -> str:
    """What is wrong, for the log."""
    from waypost.store.troubles import trouble

    return type(error).__name__ if database is None else str(trouble(error, database.url))


def _look_at(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
