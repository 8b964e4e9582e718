"""How often this process refused calls by keys' limits, and warned of budgets: what its metrics are made of."""

from __future__ import annotations

from dataclasses import dataclass

from waypost.ledger.allowances.pool import MONEY, Unit


@dataclass(slots=True)
class AllowanceCounts:
    """Since the process began. A warning that another process was the first to give is not counted here."""

    budget_warnings: int = 0
    """Budgets that reached a share, or began to refuse."""
    budget_refusals: int = 0
    """Calls that a budget did not cover."""
    price_refusals: int = 0
    """Calls whose price was to be known, and is not."""
    limit_refusals: int = 0
    """Requests over a limit per minute or at once."""

    def refused(self, unit: Unit) -> None:
        """A call was refused for what this is the unit of."""
        if unit == MONEY:
            self.budget_refusals += 1
        else:
            self.limit_refusals += 1
