"""Those of one process who wait for one bucket: the first in line are granted together, in one transaction.

The invariant: nobody is let through whom the database has not granted; while it is away, everybody waits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from waypost.jobs import pace_rows
from waypost.jobs.pace_rows import PaceLimit, Taken
from waypost.store.database import Database, DatabaseError

logger = logging.getLogger("waypost.jobs")
SLICE: Final = 32
"""Requests that are granted together at most, so that another worker's have a chance."""
GATHER_S: Final = 0.02
"""How long others may join those who are granted together."""
LONGEST_WAIT_S: Final = 2.0
"""After so long it is asked again, whatever was foreseen."""


@dataclass(slots=True, eq=False)
class _Waiter:
    tokens: int
    granted: asyncio.Future[None]


class Line:
    """The line for one bucket. `name` is provider and key."""

    def __init__(self, name: str, limit: PaceLimit, database: Callable[[], Database]) -> None:
        self._name = name
        self._limit = limit
        self._database = database
        self._urgent: deque[_Waiter] = deque()
        self._others: deque[_Waiter] = deque()
        self._owed = 0
        self._most = SLICE
        self._serving: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._urgent) + len(self._others)

    async def wait(self, tokens: int, *, urgent: bool = False) -> None:
        """Return when a request with so many tokens may leave. `urgent`: before those who are not."""
        waiter = _Waiter(tokens, asyncio.get_running_loop().create_future())
        line = self._urgent if urgent else self._others
        line.append(waiter)
        if self._serving is None or self._serving.done():
            self._serving = asyncio.get_running_loop().create_task(self._serve())
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter in line:
                line.remove(waiter)
            raise

    def owe(self, tokens: int) -> None:
        """So many more tokens were used than were taken."""
        self._owed += tokens

    def close(self) -> None:
        """Serve nobody any more."""
        if self._serving is not None:
            self._serving.cancel()

    async def _serve(self) -> None:
        while self.waiting:
            group = self._first()
            owed, tokens = self._owed, sum(waiter.tokens for waiter in group)
            taken = await self._asked(len(group), tokens + owed)
            if taken.granted:
                self._owed -= owed
                self._most = SLICE
                self._grant(group)
            else:
                self._most = taken.requests
            await asyncio.sleep(GATHER_S if taken.granted else min(taken.wait_ms / 1000, LONGEST_WAIT_S))

    def _first(self) -> list[_Waiter]:
        """As many as the bucket can hold together, at least one."""
        requests, tokens = self._limit.requests, self._limit.tokens
        most = self._most if requests is None else min(self._most, requests.holds)
        group: list[_Waiter] = []
        for waiter in (*self._urgent, *self._others):
            whole = waiter.tokens + sum(each.tokens for each in group)
            if group and (len(group) >= most or (tokens is not None and whole > tokens.holds)):
                break
            group.append(waiter)
        return group

    def _grant(self, group: Sequence[_Waiter]) -> None:
        """Whoever has left meanwhile does not give it to another, who may want more."""
        for waiter in group:
            for line in (self._urgent, self._others):
                if waiter in line:
                    line.remove(waiter)
            if not waiter.granted.done():
                waiter.granted.set_result(None)

    async def _asked(self, requests: int, tokens: int) -> Taken:
        try:
            return await asyncio.to_thread(self._take, requests, tokens)
        except DatabaseError:
            logger.warning("calls to %s wait: the database does not answer", self._name, exc_info=True)
            return Taken(granted=False, wait_ms=1000, requests=1)

    def _take(self, requests: int, tokens: int) -> Taken:
        database = self._database()
        with database.write() as connection:
            return pace_rows.take(connection, database, self._name, self._limit, requests, tokens)
