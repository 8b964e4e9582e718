"""What attempts add to the sums that are kept beside them: daily totals for charts, spend for budgets. No I/O.

An attempt counts from its end on, in the day and month in which it began (UTC), at its cost if that is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from waypost.ledger.charges import Spend, charged, day_of, windows
from waypost.ledger.rows import Row, text200

KEY: Final = ("day", "project_id", "key_id", "route", "provider", "model")
FIGURES: Final = (
    "attempts",
    "failed_attempts",
    "input_tokens",
    "output_tokens",
    "cost_micro_usd",
    "estimated_attempts",
    "unpriced_attempts",
)
_Key: TypeAlias = tuple[int, str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Whose:
    """What else is needed of an attempt: as its journal says it, since a row may hold another text in its place."""

    route: str | None
    end_user: str | None


@dataclass(slots=True)
class Totals:
    """Sums of what is added to the database in one transaction."""

    daily: dict[_Key, list[int]] = field(default_factory=dict)
    """By day, project, key, route, provider and model: FIGURES."""
    spend: Spend = field(default_factory=dict)

    def add(self, attempt: Mapping[str, Any], whose: Whose, sign: int = 1) -> None:
        """Count an attempt that has ended, by its row; `sign` -1: take back what was counted of it."""
        day, cost, project_id, key_id = (
            day_of(attempt["started_at_ms"]),
            attempt["cost_micro_usd"] or 0,
            attempt["project_id"],
            attempt["key_id"],
        )
        model = attempt["model"] or attempt["asked_model"] or ""
        key = (day, project_id or "", key_id or "", text200(whose.route) or "", attempt["provider"], model)
        figures = self.daily.get(key)
        if figures is None:
            figures = self.daily[key] = [0] * len(FIGURES)
        basis = attempt["cost_basis"]
        # In the order of FIGURES.
        figures[0] += sign
        figures[1] += sign * (attempt["outcome"] == "failed")
        figures[2] += sign * (attempt["input_tokens"] or 0)
        figures[3] += sign * (attempt["output_tokens"] or 0)
        figures[4] += sign * cost
        figures[5] += sign * (basis == "estimated")
        figures[6] += sign * (basis == "unpriced")
        if cost:
            for charge in charged(day, project_id, key_id, whose.end_user):
                self.spend[charge] = self.spend.get(charge, 0) + sign * cost


def daily_rows(totals: Iterable[Totals]) -> list[Row]:
    """Rows of `daily_totals`, in the order in which every process locks them."""
    sums: dict[_Key, list[int]] = {}
    for each in totals:
        for key, figures in each.daily.items():
            sums[key] = [a + b for a, b in zip(sums.get(key, [0] * len(FIGURES)), figures, strict=True)]
    return [
        dict(zip((*KEY, *FIGURES), (windows(key[0])[0], *key[1:], *figures), strict=True))
        for key, figures in sorted(sums.items())
        if any(figures)
    ]


def spend_rows(totals: Iterable[Totals]) -> list[Row]:
    """Rows of `spend`, in the order in which every process locks them."""
    sums: Spend = {}
    for each in totals:
        for key, amount in each.spend.items():
            sums[key] = sums.get(key, 0) + amount
    return [
        {"subject": subject, "window": window, "micro_usd": amount}
        for (subject, window), amount in sorted(sums.items())
        if amount
    ]
