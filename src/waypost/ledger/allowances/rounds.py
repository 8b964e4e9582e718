"""One transaction at a time for all who wait for one: who comes while one runs goes along in the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import TypeAlias

from waypost.errors import DatabaseUnavailable, ServerBusy
from waypost.ledger.allowances.source import not_known_now

logger = logging.getLogger("waypost.ledger")

Excuse: TypeAlias = Callable[[], ServerBusy] | None
"""Why a round could not do its work; None: it has."""


class Rounds:
    """`run` does one round, for everybody who asked before it began. It may raise DatabaseUnavailable."""

    def __init__(self, run: Callable[[], Awaitable[Excuse]]) -> None:
        self._run = run
        self._next: asyncio.Future[Excuse] | None = None
        self._task: asyncio.Task[None] | None = None
        self.turn = asyncio.Lock()
        """Held by a round. Who changes what rounds change holds it too."""

    def begin(self) -> asyncio.Future[Excuse]:
        """Have a round run; what is given is done when the first one is over that began after this."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        if self._task is None:
            # In a context of its own: it works for more requests than the one that came first.
            self._task = asyncio.get_running_loop().create_task(self._work(), context=Context())
        return self._next

    async def wait(self) -> None:
        """Until such a round is over. Raises ServerBusy if it could not do its work."""
        excuse = await asyncio.shield(self.begin())
        if excuse is not None:
            raise excuse()

    async def _work(self) -> None:
        try:
            while self._next is not None:
                async with self.turn:
                    done, self._next = self._next, None
                    await self._round(done)
        finally:
            self._task = None

    async def _round(self, done: asyncio.Future[Excuse]) -> None:
        excuse: Excuse = not_known_now
        try:
            excuse = await self._run()
        except DatabaseUnavailable:
            pass
        except OSError as error:
            logger.warning("budgets cannot be checked: %s", error.strerror)
        finally:
            done.set_result(excuse)
