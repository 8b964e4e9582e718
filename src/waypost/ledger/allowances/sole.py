"""This process holds all of everything: nobody else spends. What was spent before is read once, all else is in memory.

The invariant: a budget is not touched before what earlier processes spent of it is known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from waypost.errors import DatabaseUnavailable, ServerBusy
from waypost.ledger.allowances.pace import Pace, forget, idle_pools
from waypost.ledger.allowances.pool import MONEY, Pool, Unit
from waypost.ledger.allowances.rounds import Excuse, Rounds
from waypost.ledger.allowances.source import RETRY_S, Need
from waypost.ledger.allowances.windows import Window, Windows
from waypost.ledger.threads import DatabaseThreads


class SoleSource:
    """Implements Source.

    `ready` is asked in a thread until it says that the database knows all that was spent before and nobody else spends.
    """

    def __init__(
        self,
        threads: DatabaseThreads,
        ready: Callable[[], bool] = lambda: True,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._threads = threads
        self._ready = ready
        self._is_ready = False
        self._pace = pace or Pace()
        self._clock = clock
        self._wanted: set[Pool] = set()
        self._used: set[Pool] = set()
        self._rounds = Rounds(self._read)
        self._learnt_at_s = 0.0

    def pool(self, subject: str, unit: Unit, window: Window) -> Pool:
        """See Source."""
        return Pool(subject, unit, window, None if unit == MONEY else 0)

    async def fill(self, needs: Sequence[Need]) -> None:
        """See Source."""
        self._wanted.update(need.pool for need in needs)
        await self._rounds.wait()

    def taken(self, needs: Sequence[Need]) -> None:
        """See Source."""
        for need in needs:
            if need.pool.unit == MONEY:
                self._used.add(need.pool)

    async def tidy(self, windows: Windows) -> None:
        """See Source."""
        now_s = self._clock()
        if now_s < self._learnt_at_s + self._pace.learn_s:
            return
        self._learnt_at_s = now_s
        used, self._used = self._used, set()
        idle = [pool for window in windows for pool in idle_pools(window, now_s, self._pace)]
        with suppress(DatabaseUnavailable):
            spent = await self._spent([*used, *idle])
            for pool in used:
                pool.learn(spent.get(pool.key, 0))
            for pool in idle:
                if spent.get(pool.key, 0) >= pool.all_spent and not pool.reserved and pool not in self._used:
                    forget(pool)

    async def close(self, windows: Windows) -> None:
        """See Source. There is nothing to give back."""

    async def _read(self) -> Excuse:
        pools, self._wanted = self._wanted, set()
        if not self._is_ready:
            self._is_ready = await asyncio.to_thread(self._ready)
            if not self._is_ready:
                return _too_early
        spent = await self._spent([*pools])
        for pool in pools:
            if pool.others_spent is None:
                pool.others_spent = spent.get(pool.key, 0)
        return None

    async def _spent(self, pools: Sequence[Pool]) -> Mapping[tuple[str, str], int]:
        if not pools:
            return {}
        # Importing it costs what SQLAlchemy costs, which a process without budgets need not pay.
        from waypost.ledger.allowances.spent import read_spent

        wanted = [pool.key for pool in pools]
        return await self._threads.read(lambda connection, _: read_spent(connection, wanted))


def _too_early() -> ServerBusy:
    return ServerBusy(
        "Budgets are not known yet: what was spent before this server's start is still on its way into the database.",
        hint=f"Ask again in {RETRY_S:.0f} s.",
        retry_after_s=RETRY_S,
    )
