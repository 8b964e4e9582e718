"""What a holder of slices does every second or so: give back what it does not use, stay alive, learn what others spend.

What is given back is put out of mind first and told to the database then, again and again until that is known to have
worked: no other holder can be granted it while it is still spent here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from waypost.ledger.allowances.grants import Keep, forget_posted, keep, leave, remove_expired
from waypost.ledger.allowances.pace import Pace, forget, idle_pools
from waypost.ledger.allowances.pool import MONEY, Pool
from waypost.ledger.allowances.rounds import Rounds
from waypost.ledger.allowances.slice import Slice
from waypost.ledger.allowances.spent import read_spent
from waypost.ledger.allowances.windows import DAY_S, MINUTE_S, Window, Windows
from waypost.store.database import Database, DatabaseError

logger = logging.getLogger("waypost.ledger")

KEPT_S: Final = {"minute": MINUTE_S, "day": 2 * DAY_S, "month": 2 * DAY_S}
"""How long rows of a window that is over stay: clocks of machines differ, and calls are written down late."""


def expires_at_ms(window: Window, now_s: float, pace: Pace) -> int:
    """From when on a row says nothing any more."""
    kept_s = KEPT_S.get(window.span)
    return round((now_s + pace.lease_s if kept_s is None else window.ends_at_s + kept_s) * 1000)


@dataclass(frozen=True, slots=True)
class _Work:
    """What one look after everything has to tell the database and to ask it."""

    kept: Mapping[Slice, Keep]
    learning: Collection[Slice]
    idle: Collection[Pool]
    clean: bool


@dataclass(frozen=True, slots=True)
class _Found:
    missing: Collection[Keep]
    spent: Mapping[tuple[str, str], int]
    gone: Collection[tuple[str, str]]


class Upkeep:
    """Of one holder. Nobody else changes what is granted while `rounds.turn` is held."""

    def __init__(self, database: Database, holder: str, rounds: Rounds, pace: Pace, clock: Callable[[], float]) -> None:
        self._database = database
        self._holder = holder
        self._rounds = rounds
        self._pace = pace
        self._clock = clock
        self._holding: set[Slice] = set()
        self._used: set[Slice] = set()
        self._unsaid: set[Slice] = set()
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

    async def tidy(self, windows: Windows, wanted: Collection[Slice]) -> None:
        """Look after everything. Never raises."""
        async with self._rounds.turn:
            now_s = self._clock()
            work = self._work(windows, wanted, now_s)
            if not (work.kept or work.learning or work.idle or work.clean):
                return
            try:
                found = await self._rounds.in_thread(lambda: self._do(work, now_s))
            except DatabaseError as error:
                logger.warning("slices of budgets and limits cannot be looked after: %s", type(error).__name__)
                self._used.update(work.learning)
                return
            self._apply(work, found, now_s)

    async def close(self) -> None:
        """Give back everything. Never raises."""
        try:
            async with asyncio.timeout(self._pace.fill_s):
                await self._give_back_all()
        except (DatabaseError, TimeoutError) as error:
            logger.warning("slices of budgets and limits could not be given back: %s", type(error).__name__)

    async def _give_back_all(self) -> None:
        async with self._rounds.turn:
            now_s = self._clock()
            for pool in self._holding:
                pool.granted -= max(0, pool.held)
            kept = [self._keep(pool, now_s) for pool in self._holding | self._unsaid if pool.unit == MONEY]

            def end() -> None:
                with self._database.write() as connection:
                    keep(connection, self._holder, kept)
                    leave(connection, self._holder)

            if self._has_rows:
                await self._rounds.in_thread(end)

    def _work(self, windows: Windows, wanted: Collection[Slice], now_s: float) -> _Work:
        kept = self._surplus(wanted, now_s) if self._is_due("surplus", self._pace.idle_s, now_s) else ()
        if self._is_due("renew", self._pace.renew_s, now_s):
            kept = [*kept, *(pool for pool in self._holding if pool.unit == "slots")]
        learning: Collection[Slice] = ()
        if self._is_due("learn", self._pace.learn_s, now_s):
            learning, self._used = [pool for pool in self._used if pool.unit == MONEY], set()
        told = {pool: self._keep(pool, now_s) for pool in (*kept, *self._unsaid)}
        forgettable = [
            pool
            for window in windows
            for pool in idle_pools(window, now_s, self._pace)
            if isinstance(pool, Slice) and not pool.held and pool not in wanted and pool not in told
        ]
        return _Work(told, learning, forgettable, self._is_due("clean", self._pace.clean_s, now_s))

    def _is_due(self, what: str, every_s: float, now_s: float) -> bool:
        if now_s < self._done_at_s.get(what, -inf) + every_s:
            return False
        self._done_at_s[what] = now_s
        return True

    def _surplus(self, wanted: Collection[Slice], now_s: float) -> list[Slice]:
        """Put out of mind what is not used; those slices that have become smaller."""
        smaller = []
        for pool in tuple(self._holding):
            is_over = pool.window.ends_at_s <= now_s
            if is_over and pool.unit != MONEY:
                # Nobody wants any of it any more, and the row goes by itself.
                self._holding.discard(pool)
                self._unsaid.discard(pool)
                continue
            if pool in wanted:
                continue
            surplus = max(0, pool.held) if is_over else pool.surplus()
            if surplus:
                pool.granted -= surplus
                self._unsaid.add(pool)
                smaller.append(pool)
            if pool.held <= 0 and not pool.reserved:
                self._holding.discard(pool)
        return smaller

    def _keep(self, pool: Slice, now_s: float) -> Keep:
        expires = expires_at_ms(pool.window, now_s, self._pace)
        return Keep(pool.subject, pool.window.name, pool.unit, pool.granted, expires)

    def _do(self, work: _Work, now_s: float) -> _Found:
        """In the thread. Raises DatabaseError."""
        missing: Collection[Keep] = ()
        gone: Collection[tuple[str, str]] = ()
        spent: Mapping[tuple[str, str], int] = {}
        if work.kept or work.idle:
            with self._database.write() as connection:
                missing = keep(connection, self._holder, work.kept.values())
                gone = forget_posted(connection, self._holder, [pool.key for pool in work.idle])
        if work.learning:
            with self._database.read() as connection:
                spent = read_spent(connection, [pool.key for pool in work.learning])
        if work.clean:
            # By itself: others may do the same, and one of them has to wait.
            with self._database.write() as connection:
                remove_expired(connection, round(now_s * 1000))
        return _Found(missing, spent, gone)

    def _apply(self, work: _Work, found: _Found, now_s: float) -> None:
        for pool, kept in work.kept.items():
            self._unsaid.discard(pool)
            if pool.unit != "slots":
                continue
            if kept in found.missing:
                pool.lapse()
            else:
                pool.lease_ends_at_s = now_s + self._pace.lease_s
        for pool in work.learning:
            pool.learn(found.spent.get(pool.key, 0))
        for each in work.idle:
            if each.key in found.gone:
                forget(each)
