"""Budgets and limits as the books ask for them: nothing is opened before the first account that has any.

Which source fills the pools is settled then: one process beside an SQLite file spends alone, any other holds slices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from waypost.ledger.account import Account
from waypost.ledger.allowances import Admission, Allowances, BudgetUse, RateLimits, Reservation
from waypost.ledger.allowances.claims import Claims
from waypost.ledger.allowances.counts import AllowanceCounts
from waypost.ledger.allowances.held import UNLIMITED, UNRESERVED
from waypost.ledger.allowances.plan import Plans
from waypost.ledger.allowances.sole import SoleSource
from waypost.ledger.allowances.source import Source
from waypost.ledger.allowances.spending_lock import SpendingLock
from waypost.ledger.allowances.warnings import BudgetWarnings
from waypost.ledger.threads import DatabaseThreads
from waypost.store.lazy import LazyDatabase

if TYPE_CHECKING:
    # It brings SQLAlchemy along.
    from waypost.ledger.allowances.webhook import WarningWebhook

MakeWebhook: TypeAlias = "Callable[[DatabaseThreads], WarningWebhook]"


class Spending:
    """One process's, in one event loop.

    `holder` is what its journal calls it; `drain` brings all that was spent before into the database, and says whether
    it is there. `alone`: is this the only process of its server? `webhook` makes what tells an address of
    budgets' warnings.
    """

    def __init__(
        self,
        database: LazyDatabase,
        holder: Callable[[], str],
        drain: Callable[[], bool],
        *,
        alone: bool,
        webhook: MakeWebhook | None = None,
    ) -> None:
        self._database = database
        self._holder = holder
        self._drain = drain
        self._alone = alone
        self._make_webhook = webhook
        self.counts = AllowanceCounts()
        """What was refused and warned of so far."""
        self._plans = Plans()
        self._turn = asyncio.Lock()
        self._threads = DatabaseThreads(database.open)
        self._lock: SpendingLock | None = None
        self._webhook: WarningWebhook | None = None
        self._allowances: Allowances | None = None

    def limits_money(self, account: Account) -> bool:
        """Must money be reserved, or a price be known, for calls of this account?"""
        return self._plans.of(account).limits_money

    def limits_rates(self, account: Account) -> bool:
        """Must requests of this account be admitted?"""
        return bool(self._plans.of(account).rates)

    def rate_limits(self, account: Account) -> RateLimits | None:
        """What replies tell of its limits per minute. None: nothing."""
        return None if self._allowances is None else self._allowances.rate_limits(account)

    def budgets_used(self) -> Sequence[BudgetUse]:
        """Those of keys and projects that somebody spends of, as far as it is known here."""
        return () if self._allowances is None else self._allowances.budgets_used()

    async def admit(self, account: Account, tokens: int, end_user: str | None) -> Admission:
        """Let a request in. Raises LimitExceeded, ServerBusy while it is not known whether a limit is reached."""
        if not self._plans.of(account).rates:
            return UNLIMITED
        return await (await self._made()).admit(account, tokens, end_user)

    async def reserve(self, account: Account, micro_usd: int | None, end_user: str | None, at_ms: int) -> Reservation:
        """Hold money for a call that begins then. Raises BudgetExceeded, PriceUnknown, ServerBusy."""
        if not self._plans.of(account).limits_money:
            return UNRESERVED
        return await (await self._made()).reserve(account, micro_usd, end_user, at_ms=at_ms)

    async def close(self) -> None:
        """Give back what this process holds and has not spent."""
        if self._allowances is not None:
            await self._allowances.close()
        if self._webhook is not None:
            await self._webhook.close()
        self._threads.close()
        if self._lock is not None:
            self._lock.release()

    async def _made(self) -> Allowances:
        if self._allowances is None:
            async with self._turn:
                if self._allowances is None:
                    # In a thread, as it brings SQLAlchemy along.
                    source = await asyncio.to_thread(self._source)
                    webhook = self._webhook
                    if webhook is None and self._make_webhook is not None:
                        webhook = self._webhook = await asyncio.to_thread(self._make_webhook, self._threads)
                        webhook.start()
                    warnings = BudgetWarnings(Claims(self._threads, webhook), webhook, self.counts)
                    self._allowances = Allowances(source, warnings, counts=self.counts)
        return self._allowances

    def _source(self) -> Source:
        file = self._database.file()
        ready = self._unhindered if file is None else self._only_beside(file)
        if file is not None and self._alone:
            return SoleSource(self._threads, ready)
        from waypost.ledger.allowances.shared import SharedSource

        return SharedSource(self._threads, self._holder, ready)

    def _unhindered(self) -> bool:
        """At a server everybody is granted what he spends."""
        return True

    def _only_beside(self, file: Path) -> Callable[[], bool]:
        """At a file, who spends alone must be alone, and what was spent so before must be known."""
        lock = self._lock = SpendingLock(file, alone=self._alone)
        return lambda: lock.take() and self._drain()
