"""Budgets and limits of keys, projects and end users: who asks is let in, or told what is lacking and until when.

Used in one event loop. Where the amounts come from is the source's: this process may hold all of them, or slices. The
invariant: a request takes all that it needs, or nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass

from waypost.errors import LimitExceeded, Whose
from waypost.ledger.account import Account
from waypost.ledger.allowances.counts import AllowanceCounts
from waypost.ledger.allowances.held import UNLIMITED, UNRESERVED, Admission, Reservation
from waypost.ledger.allowances.pace import Pace
from waypost.ledger.allowances.plan import Allowance, Plans
from waypost.ledger.allowances.pool import MONEY, Pool
from waypost.ledger.allowances.rates import RateLimits
from waypost.ledger.allowances.refusals import is_spent, price_unknown, refusal
from waypost.ledger.allowances.source import Need, Source
from waypost.ledger.allowances.warnings import BudgetWarnings
from waypost.ledger.allowances.windows import Span, Windows

logger = logging.getLogger("waypost.ledger")


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """How much of a budget is spent in its window that holds now. `name` of a key begins with its project's."""

    whose: Whose
    name: str
    period: Span
    ratio: float


class Allowances:
    """Those of one process. `clock` is in Unix seconds: windows are those of UTC."""

    def __init__(
        self,
        source: Source,
        warnings: BudgetWarnings | None = None,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.time,
        counts: AllowanceCounts | None = None,
    ) -> None:
        self._source = source
        self._warnings = warnings
        self._tidy_s = (pace or Pace()).tidy_s
        self._clock = clock
        self._counts = counts or AllowanceCounts()
        self._windows = Windows()
        self._plans = Plans()
        self._tidying: asyncio.Task[None] | None = None
        self._closed = False

    def limits_money(self, account: Account) -> bool:
        """Must money be reserved, or a price be known, for calls of this account?"""
        return self._plans.of(account).limits_money

    def rate_limits(self, account: Account) -> RateLimits | None:
        """What replies tell of its limits per minute, as they stand whenever that is looked at. None: nothing."""
        rates = self._plans.of(account).rates
        if not rates:
            return None
        now_s = self._clock()
        return RateLimits([(each, self._pool(each, now_s)) for each in rates if each.unit != "slots"])

    async def admit(self, account: Account, tokens: int, end_user: str | None = None) -> Admission:  # noqa: ARG002
        """Let a request in that may come to so many tokens.

        Raises LimitExceeded, and ServerBusy while it cannot be known whether one is. Then nothing was taken.
        """
        rates = self._plans.of(account).rates
        if not rates:
            return UNLIMITED
        now_s = self._clock()
        needs = self._needs(rates, tokens, now_s)
        if any(need.lacks(now_s) for need in needs):
            needs = await self._filled(rates, tokens, now_s)
        self._take(needs)
        told = RateLimits([(need.allowance, need.pool) for need in needs])
        return Admission(needs, told)

    async def reserve(
        self, account: Account, micro_usd: int | None, end_user: str | None = None, *, at_ms: int | None = None
    ) -> Reservation:
        """Hold the most that a call may cost, of each budget it goes to; a call that costs nothing needs none.

        `at_ms` is when the call begins, by which its day and month are found; None: now.
        Raises BudgetExceeded, PriceUnknown, and ServerBusy while it is not known what is spent. Then nothing was taken.
        """
        plan = self._plans.of(account)
        if not plan.limits_money:
            return UNRESERVED
        if micro_usd is None:
            self._counts.price_refusals += 1
            raise price_unknown(account)
        budgets = plan.budgets_of(end_user)
        if not budgets or not micro_usd:
            return UNRESERVED
        now_s = self._clock() if at_ms is None else at_ms / 1000
        needs = self._needs(budgets, micro_usd, now_s)
        if any(need.lacks(now_s) for need in needs):
            needs = await self._filled(budgets, micro_usd, now_s)
        self._take(needs)
        return Reservation(needs, self._spent)

    def budgets_used(self) -> list[BudgetUse]:
        """Of keys and projects that have spent something in this process, or whose spending was read."""
        now_s, used = self._clock(), []
        for plan in self._plans.all():
            for each in plan.budgets:
                pool: Pool | None = self._windows.at(each.span, now_s).pools.get((each.unit, each.subject))
                if pool is not None and each.limit:
                    project = plan.account.project_name
                    name = each.name if each.whose == "project" else f"{project}/{each.name}"
                    used.append(BudgetUse(each.whose, name, each.span, pool.all_spent / each.limit))
        return used

    async def close(self) -> None:
        """Give back what this process holds and has not spent. Nothing can be taken afterwards."""
        if self._closed:
            return
        self._closed = True
        if self._tidying is not None:
            self._tidying.cancel()
            with suppress(asyncio.CancelledError):
                await self._tidying
        await self._source.close(self._windows)
        if self._warnings is not None:
            await self._warnings.close()

    def _needs(self, allowances: Sequence[Allowance], amount: int, at_s: float) -> list[Need]:
        # Of requests and slots a request needs one.
        return [
            Need(each, self._pool(each, at_s), amount if each.unit in (MONEY, "tokens") else 1) for each in allowances
        ]

    def _pool(self, allowance: Allowance, at_s: float) -> Pool:
        window = self._windows.at(allowance.span, at_s)
        place = (allowance.unit, allowance.subject)
        pool: Pool | None = window.pools.get(place)
        if pool is None:
            pool = window.pools[place] = self._source.pool(allowance.subject, allowance.unit, window)
            if self._tidying is None:
                self._tidying = asyncio.get_running_loop().create_task(self._keep_tidy(), context=Context())
        return pool

    async def _filled(self, allowances: Sequence[Allowance], amount: int, at_s: float) -> list[Need]:
        """The needs, all covered by their pools. Raises LimitExceeded, ServerBusy."""
        while True:
            now_s = self._clock()
            # Anew each time: a pool may have been forgotten meanwhile.
            needs = self._needs(allowances, amount, at_s)
            lacking = [need for need in needs if need.lacks(now_s)]
            if not lacking:
                return needs
            vain = [need for need in lacking if need.is_vain(now_s)]
            if vain:
                raise self._refused(vain, now_s)
            await self._source.fill(lacking)

    def _take(self, needs: Sequence[Need]) -> None:
        now_s = self._clock()
        for need in needs:
            need.pool.take(need.amount, now_s)
        self._source.taken(needs)

    def _refused(self, lacking: Sequence[Need], now_s: float) -> LimitExceeded:
        if self._warnings is not None:
            for need in lacking:
                if need.allowance.warn_at and need.amount <= need.allowance.limit and is_spent(need):
                    self._warnings.refused(need)
        self._counts.refused(lacking[0].allowance.unit)
        return refusal(lacking, now_s)

    def _spent(self, need: Need) -> None:
        if self._warnings is not None and need.allowance.warn_at:
            self._warnings.spent(need)

    async def _keep_tidy(self) -> None:
        while True:
            await asyncio.sleep(self._tidy_s)
            try:
                await self._source.tidy(self._windows)
            except Exception:
                logger.exception("budgets and limits were not looked after")
            self._windows.drop_ended(self._clock())
