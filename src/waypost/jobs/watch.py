"""Waits for what happens to jobs: one look at the database for all who wait in a process, none while nobody does.

Jobs are done by other processes, so that whoever waits for them has to ask the database. The invariant: however many
wait, there is one look every `poll_s`; nobody is told an event twice, or out of order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Final

from waypost.errors import DatabaseUnavailable, UnknownJob
from waypost.ledger.threads import DatabaseThreads

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.jobs.job import JobEvent
    from waypost.store.database import Database

POLL_S: Final = 0.3
logger = logging.getLogger("waypost.jobs")


class _Waiter:
    """Somebody who waits for the events of a job that come after one of them."""

    __slots__ = ("after", "job_id", "news")

    def __init__(self, job_id: str, after: int) -> None:
        self.job_id = job_id
        self.after = after
        self.news: asyncio.Future[Sequence[JobEvent]] = asyncio.get_running_loop().create_future()


class JobWatch:
    """Those of one process, in one event loop."""

    def __init__(self, threads: DatabaseThreads, *, poll_s: float = POLL_S) -> None:
        self._threads = threads
        self._poll_s = poll_s
        self._waiters: set[_Waiter] = set()
        self._looking: asyncio.Task[None] | None = None
        self._next_look_at = 0.0

    async def wait(self, job_id: str, after_event: int, within_s: float) -> Sequence[JobEvent]:
        """The events after the one of that number, as soon as there are any; empty when the time is over.

        While the database is away, the wait goes on. Raises UnknownJob if there is no such job, or not any more.
        """
        waiter = _Waiter(job_id, after_event)
        self._waiters.add(waiter)
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_again(), context=Context())
        try:
            await asyncio.wait({waiter.news}, timeout=max(0.0, within_s))
            return waiter.news.result() if waiter.news.done() else []
        finally:
            waiter.news.cancel()
            self._waiters.discard(waiter)
            if not self._waiters and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def _look_again(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            # Also for whoever comes anew: many who wait for a moment each must not look more often than one.
            await asyncio.sleep(self._next_look_at - loop.time())
            self._next_look_at = loop.time() + self._poll_s
            try:
                await self._look()
            except Exception:
                logger.exception("jobs are not watched")

    async def _look(self) -> None:
        wanted: dict[str, int] = {}
        for waiter in self._waiters:
            wanted[waiter.job_id] = min(waiter.after, wanted.get(waiter.job_id, waiter.after))

        def look(connection: Connection, _: Database) -> Mapping[str, Sequence[JobEvent] | None]:
            from waypost.jobs.events import news_of

            return news_of(connection, wanted)

        # Who watches is not told of an outage: he waits anyway, and it is in the log.
        with suppress(DatabaseUnavailable):
            self._tell(await self._threads.read(look), wanted.keys())

    def _tell(self, news: Mapping[str, Sequence[JobEvent] | None], asked: Collection[str]) -> None:
        for waiter in self._waiters:
            if waiter.news.done() or waiter.job_id not in asked:
                continue
            events = news.get(waiter.job_id, ())
            if events is None:
                waiter.news.set_exception(UnknownJob("There is no such job any more."))
            elif newer := [event for event in events if event.number > waiter.after]:
                waiter.news.set_result(newer)
