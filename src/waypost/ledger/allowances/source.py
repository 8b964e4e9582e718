"""Where the amounts of pools come from: the one protocol of both ways, `sole` and `shared`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from waypost.errors import DatabaseUnavailable
from waypost.ledger.allowances.plan import Allowance
from waypost.ledger.allowances.pool import Pool, Unit
from waypost.ledger.allowances.windows import Window, Windows

RETRY_S = 2.0
"""When to ask again for what is not known now."""


class Need:
    """What one request wants of one pool."""

    __slots__ = ("allowance", "amount", "pool")

    def __init__(self, allowance: Allowance, pool: Pool, amount: int) -> None:
        self.allowance = allowance
        self.pool = pool
        self.amount = amount

    def lacks(self, now_s: float) -> bool:
        """Does the pool not cover it?"""
        return self.pool.room(self.allowance.limit, now_s) < self.amount

    def is_vain(self, now_s: float) -> bool:
        """Is it of no use to have the pool filled? It may also be more than there ever is."""
        limit = self.allowance.limit
        return self.amount > limit or self.pool.is_dry(self.amount, limit, now_s)


class Source(Protocol):
    """Makes pools, and fills them. Used in one event loop; its transactions run in a thread."""

    def pool(self, subject: str, unit: Unit, window: Window) -> Pool:
        """A new one, perhaps still empty."""

    async def fill(self, needs: Sequence[Need]) -> None:
        """Have those pools filled; whether they cover the needs then is to be seen. Raises ServerBusy."""

    def taken(self, needs: Sequence[Need]) -> None:
        """These needs were met: see to it in time that there is more."""

    async def tidy(self, windows: Windows) -> None:
        """Give back what is not used, learn what others did. Called every second or so; never raises."""

    async def close(self, windows: Windows) -> None:
        """Give back everything. Never raises."""


def not_known_now() -> DatabaseUnavailable:
    """The refusal while the database is away and what is held does not suffice."""
    return DatabaseUnavailable(
        "Budgets and limits cannot be checked now, since the database does not answer.",
        hint=f"Ask again in {RETRY_S:.0f} s.",
        retry_after_s=RETRY_S,
    )
