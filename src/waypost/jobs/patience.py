"""Transactions that a worker waits for: in a few threads of their own, again and again while the database is away.

What a step gave must not be lost because the database was restarted meanwhile, so nothing here gives up by itself;
whoever waits may be cancelled. The invariant: a transaction is done when it returns, perhaps twice (after a commit
whose answer was lost), so that what is done here must bear that.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeAlias, TypeVar

from sqlalchemy import Connection, exc

from waypost.store.lazy import LazyDatabase
from waypost.store.troubles import trouble

ResultT = TypeVar("ResultT")
Work: TypeAlias = Callable[[Connection], ResultT]
AWAY: Final = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)
"""What a query raises while the database is not to be had."""
THREADS: Final = 4
"""One connection each; the lease has a thread and a connection of its own."""
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 1.0
"""Not longer: leases are renewed, and jobs taken over, soon after the database is back."""
logger = logging.getLogger("waypost.jobs")


class PatientDatabase:
    """One worker's, over the database of its process."""

    def __init__(self, database: LazyDatabase) -> None:
        self._open = database.open
        self._database = database
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="jobs")
        self._away_since: float | None = None

    async def write(self, work: Work[ResultT]) -> ResultT:
        """What `work` gives, once it is committed."""

        def transact() -> ResultT:
            with self._open().write() as connection:
                return work(connection)

        return await self.insist(transact)

    async def read(self, work: Work[ResultT]) -> ResultT:
        """What `work` gives, in one snapshot."""

        def transact() -> ResultT:
            with self._open().read() as connection:
                return work(connection)

        return await self.insist(transact)

    async def once(self, work: Callable[[], ResultT]) -> ResultT:
        """What `work` gives, in one of the threads; what it raises is raised."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Nothing new is begun; what was begun goes on."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def insist(self, transact: Callable[[], ResultT]) -> ResultT:
        """What `transact` gives, in one of the threads, once the database is there."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                result = await self.once(transact)
            except AWAY as error:
                self._note_away(error)
            else:
                self._note_back()
                return result
            await asyncio.sleep(wait_s)
            wait_s = min(LONGEST_WAIT_S, wait_s * 2)

    def _note_away(self, error: exc.SQLAlchemyError) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            logger.error("jobs wait for the database: %s", trouble(error, self._database.url))

    def _note_back(self) -> None:
        if self._away_since is not None:
            logger.warning("the database is back after %.1f s", time.monotonic() - self._away_since)
            self._away_since = None
