"""What a holder of slices does every second or so: give back what it does not use, stay alive, learn what others do.

What is given back is put out of mind first and told to the database then, again and again until that is known to have
worked: no other holder can be granted it while it is still spent here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from math import inf
from typing import Final

from sqlalchemy import Connection

from waypost.errors import DatabaseUnavailable
from waypost.ledger.allowances.grants import (
    Keep,
    Place,
    forget_posted,
    keep,
    leave,
    remove_expired,
    wanted_by_others,
)
from waypost.ledger.allowances.pace import Pace, forget, idle_pools
from waypost.ledger.allowances.pool import MONEY, Pool
from waypost.ledger.allowances.slice import Slice
from waypost.ledger.allowances.spent import read_spent
from waypost.ledger.allowances.windows import DAY_S, MINUTE_S, Window, Windows
from waypost.ledger.threads import DatabaseThreads

KEPT_S: Final = {"minute": MINUTE_S, "day": 2 * DAY_S, "month": 2 * DAY_S}
"""How long rows of a window that is over stay: clocks of machines differ, and calls are written down late."""


def expires_at_ms(window: Window, now_s: float, pace: Pace) -> int:
    """From when on a row says nothing any more."""
    kept_s = KEPT_S.get(window.span)
    return round((now_s + pace.lease_s if kept_s is None else window.ends_at_s + kept_s) * 1000)


class Upkeep:
    """Of one holder. Nobody else changes what is granted while `turn` is held."""

    def __init__(
        self,
        threads: DatabaseThreads,
        holder: Callable[[], str],
        turn: asyncio.Lock,
        pace: Pace,
        clock: Callable[[], float],
    ) -> None:
        self._threads = threads
        self._holder = holder
        self._turn = turn
        self._pace = pace
        self._clock = clock
        self._holding: set[Slice] = set()
        self._used: set[Slice] = set()
        self._unsaid: set[Slice] = set()
        """Of which the database may think that more is held."""
        self._done_at_s: dict[str, float] = {"clean": clock()}
        self._has_rows = False

    def used(self, pool: Slice) -> None:
        """Something was taken of it."""
        self._used.add(pool)

    def granted(self, pool: Slice) -> None:
        """The database has just told what is granted of it."""
        self._has_rows = True
        self._unsaid.discard(pool)
        self._holding.add(pool)

    def smaller(self, pool: Slice) -> None:
        """A part of it was given away."""
        self._unsaid.add(pool)

    async def tidy(self, windows: Windows, asked: Collection[Slice]) -> None:
        """Look after everything but what is being asked for. Never raises."""
        async with self._turn:
            now_s = self._clock()
            self._drop_ended(now_s)
            with suppress(DatabaseUnavailable):
                wanted = await self._learn(now_s)
                smaller = [*self._surplus(asked, now_s), *self._shared(wanted, asked, now_s)]
                await self._tell(smaller, self._idle(windows, asked, now_s), now_s)
            with suppress(DatabaseUnavailable):
                if self._is_due("clean", self._pace.clean_s, now_s):
                    # By itself: others may do the same, and one of them has to wait.
                    await self._threads.write(lambda connection, _: remove_expired(connection, round(now_s * 1000)))

    async def close(self) -> None:
        """Give back everything. Never raises."""
        async with self._turn:
            now_s = self._clock()
            for pool in self._holding:
                pool.granted -= max(0, pool.held)
            kept = [self._keep(pool, now_s) for pool in self._holding | self._unsaid if pool.unit == MONEY]
            holder = self._holder()

            def end(connection: Connection, _database: object) -> None:
                keep(connection, holder, kept)
                leave(connection, holder)

            with suppress(DatabaseUnavailable):
                if self._has_rows:
                    await self._threads.write(end)

    def _drop_ended(self, now_s: float) -> None:
        """Of a minute that is over nobody wants anything, and its rows go by themselves."""
        over = {pool for pool in self._holding if pool.unit != MONEY and pool.window.ends_at_s <= now_s}
        self._holding -= over
        self._unsaid -= over

    async def _learn(self, now_s: float) -> Mapping[Place, int]:
        """What others have spent, and how many of them want something of what. Raises DatabaseUnavailable."""
        spending = [pool for pool in self._used if pool.unit == MONEY]
        learns = self._is_due("learn", self._pace.learn_s, now_s) and bool(spending)
        if not (learns or self._holding):
            return {}
        holder, now_ms = self._holder(), round(now_s * 1000)
        until_ms = now_ms + round(2 * self._pace.want_s * 1000)

        def read(
            connection: Connection, _database: object
        ) -> tuple[Mapping[tuple[str, str], int], Mapping[Place, int]]:
            spent = read_spent(connection, [pool.key for pool in spending]) if learns else {}
            return spent, wanted_by_others(connection, holder, now_ms, until_ms)

        spent, wanted = await self._threads.read(read)
        if learns:
            self._used.clear()
            for pool in spending:
                pool.learn(spent.get(pool.key, 0))
        return wanted

    def _surplus(self, asked: Collection[Slice], now_s: float) -> list[Slice]:
        """Put out of mind what is not used; those slices that have become smaller."""
        if not self._is_due("surplus", self._pace.idle_s, now_s):
            return []
        smaller = []
        for pool in [each for each in self._holding if each not in asked]:
            surplus = max(0, pool.held) if pool.window.ends_at_s <= now_s else pool.surplus()
            if surplus:
                pool.granted -= surplus
                smaller.append(pool)
            if pool.held <= 0 and not pool.reserved:
                self._holding.discard(pool)
        return smaller

    def _shared(self, wanted: Mapping[Place, int], asked: Collection[Slice], now_s: float) -> list[Slice]:
        """Put out of mind what others are to have who were refused."""
        smaller = []
        if wanted:
            for pool in [each for each in self._holding if each.place in wanted and each not in asked]:
                theirs = pool.share_with(wanted[pool.place], now_s + self._pace.want_s)
                if theirs:
                    pool.granted -= theirs
                    smaller.append(pool)
        return smaller

    def _idle(self, windows: Windows, asked: Collection[Slice], now_s: float) -> list[Pool]:
        return [
            pool
            for window in windows
            for pool in idle_pools(window, now_s, self._pace)
            if isinstance(pool, Slice) and not pool.held and pool not in asked and pool not in self._unsaid
        ]

    async def _tell(self, smaller: Iterable[Slice], idle: Collection[Pool], now_s: float) -> None:
        """Raises DatabaseUnavailable; what was not told is told the next time."""
        self._unsaid.update(smaller)
        told = set(self._unsaid)
        if self._is_due("renew", self._pace.renew_s, now_s):
            told.update(pool for pool in self._holding if pool.unit == "slots")
        if not (told or idle):
            return
        holder, kept = self._holder(), [self._keep(pool, now_s) for pool in told]

        def write(connection: Connection, _database: object) -> tuple[set[Place], set[tuple[str, str]]]:
            return keep(connection, holder, kept), forget_posted(connection, holder, [pool.key for pool in idle])

        missing, gone = await self._threads.write(write)
        self._unsaid -= told
        for pool in told:
            if pool.unit == "slots":
                self._renewed(pool, now_s, is_there=pool.place not in missing)
        for each in idle:
            if each.key in gone:
                forget(each)

    def _renewed(self, pool: Slice, now_s: float, *, is_there: bool) -> None:
        if is_there:
            pool.lease_ends_at_s = now_s + self._pace.lease_s
        else:
            pool.lapse()

    def _keep(self, pool: Slice, now_s: float) -> Keep:
        return Keep(pool.place, pool.granted, expires_at_ms(pool.window, now_s, self._pace))

    def _is_due(self, what: str, every_s: float, now_s: float) -> bool:
        if now_s < self._done_at_s.get(what, -inf) + every_s:
            return False
        self._done_at_s[what] = now_s
        return True
