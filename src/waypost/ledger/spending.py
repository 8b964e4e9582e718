"""Budgets and limits as the books ask for them: nothing is opened before the first account that has any.

Which source fills the pools is settled then: one process beside an SQLite file spends alone, any other holds slices.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from waypost.ledger.account import Account
from waypost.ledger.allowances import Admission, Allowances, RateLimits, Reservation
from waypost.ledger.allowances.held import UNLIMITED, UNRESERVED
from waypost.ledger.allowances.plan import Plans
from waypost.ledger.allowances.spending_lock import SpendingLock
from waypost.ledger.allowances.warnings import BudgetWarnings, Claim
from waypost.ledger.allowances.webhook import Webhook
from waypost.store.lazy import LazyDatabase

if TYPE_CHECKING:
    from waypost.ledger.allowances.source import Source
    from waypost.store.database import Database


class Spending:
    """One process's, in one event loop.

    `holder` is what its journal calls it; `drain` brings all that was spent before into the database, and says whether
    it is there. `alone`: is this the only process of its server? `webhook` is an address that is told of budgets'
    warnings.
    """

    def __init__(
        self,
        database: LazyDatabase,
        holder: Callable[[], str],
        drain: Callable[[], bool],
        *,
        alone: bool,
        webhook: str | None = None,
    ) -> None:
        self._database = database
        self._holder = holder
        self._drain = drain
        self._alone = alone
        self._webhook = webhook
        self._plans = Plans()
        self._turn = asyncio.Lock()
        self._lock: SpendingLock | None = None
        self._deliver: Webhook | None = None
        self._allowances: Allowances | None = None

    def limits_money(self, account: Account) -> bool:
        """Must money be reserved, or a price be known, for calls of this account?"""
        return self._plans.of(account).limits_money

    def rate_limits(self, account: Account) -> RateLimits | None:
        """What replies tell of its limits per minute. None: nothing."""
        return None if self._allowances is None else self._allowances.rate_limits(account)

    async def admit(self, account: Account, tokens: int, end_user: str | None) -> Admission:
        """Let a request in. Raises LimitExceeded, ServerBusy while it is not known whether a limit is reached."""
        if not self._plans.of(account).rates:
            return UNLIMITED
        return await (await self._made()).admit(account, tokens, end_user)

    async def reserve(self, account: Account, micro_usd: int | None, end_user: str | None) -> Reservation:
        """Hold money for a call. Raises BudgetExceeded, PriceUnknown, ServerBusy."""
        if not self._plans.of(account).limits_money:
            return UNRESERVED
        return await (await self._made()).reserve(account, micro_usd, end_user)

    async def close(self) -> None:
        """Give back what this process holds and has not spent."""
        if self._allowances is not None:
            await self._allowances.close()
        if self._deliver is not None:
            await self._deliver.close()
        if self._lock is not None:
            self._lock.release()

    async def _made(self) -> Allowances:
        if self._allowances is None:
            async with self._turn:
                if self._allowances is None:
                    database = await asyncio.to_thread(self._database.open)
                    source, claims = await asyncio.to_thread(self._source, database)
                    self._deliver = None if self._webhook is None else Webhook(self._webhook)
                    self._allowances = Allowances(source, BudgetWarnings(claims, self._deliver))
        return self._allowances

    def _source(self, database: Database) -> tuple[Source, Claim]:
        # Late, as they bring SQLAlchemy along.
        from waypost.ledger.allowances.claims import Claims
        from waypost.ledger.allowances.shared import SharedSource
        from waypost.ledger.allowances.sole import SoleSource

        if not database.is_sqlite:
            return SharedSource(database, self._holder()), Claims(database)
        lock = self._lock = SpendingLock(Path(str(database.url.database)), alone=self._alone)

        def ready() -> bool:
            return lock.take() and self._drain()

        source = SoleSource(database, ready) if self._alone else SharedSource(database, self._holder(), ready)
        return source, Claims(database)
