"""The limits per minute that hold for a request, as replies tell them: how much, how much is left, when it is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from waypost.ledger.allowances.plan import Allowance
from waypost.ledger.allowances.pool import Pool, Unit

Counted: TypeAlias = tuple[Allowance, Pool]


@dataclass(frozen=True, slots=True)
class Rate:
    """One limit. `resets_at_s` is in Unix seconds."""

    limit: int
    left: int
    resets_at_s: float


class RateLimits:
    """Those of a key and its project; of two that limit the same, the one that is told has less left."""

    __slots__ = ("_counted",)

    def __init__(self, counted: Sequence[Counted]) -> None:
        self._counted = counted

    @property
    def requests(self) -> Rate | None:
        """Requests per minute; None: they are not limited."""
        return self._tightest("requests")

    @property
    def tokens(self) -> Rate | None:
        """Tokens per minute; None: they are not limited."""
        return self._tightest("tokens")

    def _tightest(self, unit: Unit) -> Rate | None:
        rates = [
            Rate(allowance.limit, max(0, pool.left(allowance.limit)), pool.window.ends_at_s)
            for allowance, pool in self._counted
            if allowance.unit == unit
        ]
        return min(rates, key=lambda rate: (rate.left, rate.limit), default=None)
