"""Several processes spend of the same: each is granted slices, in the database, and spends them in memory.

A slice is asked for before it is used up, and waited for only where what is held does not cover a request. What is not
used goes back (see `upkeep`). The invariant: this process has in mind at most what the database has granted it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

from waypost.errors import DatabaseUnavailable, ServerBusy
from waypost.ledger.allowances.grants import Grant, Wish, grant
from waypost.ledger.allowances.pace import Pace
from waypost.ledger.allowances.pool import MONEY, Unit
from waypost.ledger.allowances.rounds import Excuse, Rounds
from waypost.ledger.allowances.slice import Slice
from waypost.ledger.allowances.source import RETRY_S, Need
from waypost.ledger.allowances.upkeep import Upkeep, expires_at_ms
from waypost.ledger.allowances.windows import Window, Windows
from waypost.ledger.threads import DatabaseThreads

AWAY_S: Final = 1.0
"""For so long nothing is asked for ahead of a database that has just failed."""


class _Wanted:
    """What those want together who ask for more of one slice before the next round."""

    __slots__ = ("amount", "least", "limit", "whole")

    def __init__(self) -> None:
        self.limit = 0
        self.amount = 1
        self.least: int | None = None
        self.whole = 0

    def add(self, need: Need, *, waits: bool) -> None:
        self.limit = max(self.limit, need.allowance.limit)
        self.amount = need.amount
        if waits:
            self.least = need.amount if self.least is None else min(self.least, need.amount)
            self.whole += need.amount


class SharedSource:
    """Implements Source. `holder` is this process, as its journal has it.

    `ready` is asked in a thread until it says that nobody spends what he was not granted.
    """

    def __init__(
        self,
        threads: DatabaseThreads,
        holder: Callable[[], str],
        ready: Callable[[], bool] = lambda: True,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._threads = threads
        self._holder = holder
        self._ready = ready
        self._is_ready = False
        self._pace = pace or Pace()
        self._clock = clock
        self._wanted: dict[Slice, _Wanted] = {}
        self._rounds = Rounds(self._round)
        self._upkeep = Upkeep(threads, holder, self._rounds.turn, self._pace, clock)
        self._away_until_s = -inf

    def pool(self, subject: str, unit: Unit, window: Window) -> Slice:
        """See Source."""
        made = Slice(subject, unit, window)
        made.on_smaller = self._upkeep.smaller
        return made

    async def fill(self, needs: Sequence[Need]) -> None:
        """See Source."""
        for need in needs:
            self._want(need, waits=True)
        await self._rounds.wait()

    def taken(self, needs: Sequence[Need]) -> None:
        """See Source."""
        now_s = self._clock()
        for need in needs:
            pool = need.pool
            if isinstance(pool, Slice):
                self._upkeep.used(pool)
                if pool.runs_low and now_s >= max(pool.dry_until_s, self._away_until_s):
                    self._want(need, waits=False)
                    self._rounds.begin()

    async def tidy(self, windows: Windows) -> None:
        """See Source."""
        await self._upkeep.tidy(windows, self._wanted.keys())

    async def close(self, windows: Windows) -> None:  # noqa: ARG002 - the upkeep knows what is held
        """See Source."""
        await self._upkeep.close()

    def _want(self, need: Need, *, waits: bool) -> None:
        if isinstance(need.pool, Slice):
            self._wanted.setdefault(need.pool, _Wanted()).add(need, waits=waits)

    async def _round(self) -> Excuse:
        wanted, self._wanted = self._wanted, {}
        now_s = self._clock()
        wishes = {pool: self._wish(pool, each, now_s) for pool, each in wanted.items()}
        if not self._is_ready:
            self._is_ready = await asyncio.to_thread(self._ready)
            if not self._is_ready:
                return _not_alone
        holder, now_ms = self._holder(), round(now_s * 1000)
        try:
            granted = await self._threads.write(
                lambda connection, database: grant(connection, database, holder, [*wishes.values()], now_ms)
            )
        except DatabaseUnavailable:
            self._away_until_s = self._clock() + AWAY_S
            raise
        for pool, wish in wishes.items():
            self._apply(pool, wish, granted[wish], now_s)
        return None

    def _wish(self, pool: Slice, wanted: _Wanted, now_s: float) -> Wish:
        return Wish(
            pool.place,
            wanted.limit,
            pool.granted,
            least=max(0, (wanted.least or 0) - pool.held),
            whole=max(0, wanted.whole - pool.held),
            ahead=pool.wish_ahead(wanted.amount, now_s),
            expires_at_ms=expires_at_ms(pool.window, now_s, self._pace),
            wants_until_ms=round((now_s + self._pace.want_s) * 1000),
        )

    def _apply(self, pool: Slice, wish: Wish, granted: Grant, now_s: float) -> None:
        extra = granted.granted - wish.granted
        if not extra or extra < wish.whole:
            pool.dry_until_s = self._clock() + self._pace.dry_s
        pool.granted, pool.limit, pool.ahead = granted.granted, wish.limit, max(0, extra - wish.whole)
        if pool.unit == MONEY:
            pool.others_spent = max(pool.others_spent or 0, granted.others_spent)
        pool.others_hold = granted.others_hold
        if pool.unit == "slots":
            pool.lease_ends_at_s = now_s + self._pace.lease_s
        self._upkeep.granted(pool)


def _not_alone() -> ServerBusy:
    return ServerBusy(
        "Budgets and limits cannot be checked: another process spends all of this database by itself.",
        hint=f"End it, or ask again in {RETRY_S:.0f} s.",
        retry_after_s=RETRY_S,
    )
