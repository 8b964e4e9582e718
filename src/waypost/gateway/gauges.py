"""How a process stands now, as numbers: its streams, breakers, budgets, and whether the ledger takes calls."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from waypost.gateway.breaker import Circuit
from waypost.gateway.gateway import Gateway
from waypost.ledger.books import now_ms
from waypost.ledger.ledger import Ledger
from waypost.telemetry.metrics.models import ModelNames
from waypost.telemetry.metrics.numbers import Labels, Rows

OPENNESS: Final[Mapping[Circuit, float]] = {Circuit.CLOSED: 0.0, Circuit.HALF_OPEN: 0.5, Circuit.OPEN: 1.0}
MOST_BUDGETS: Final = 100


def gauges_of(gateway: Gateway, ledger: Ledger | None, models: ModelNames) -> dict[str, Rows]:
    """By the names of families."""
    refuses = ledger is not None and ledger.refusal is not None
    return {
        "waypost_open_streams": [((), gateway.open_streams.count)],
        "waypost_breaker_open": _breakers(gateway, models),
        "waypost_ledger_refusing": [((), float(refuses))],
        "waypost_budget_used_ratio": _budgets(ledger),
    }


def _breakers(gateway: Gateway, models: ModelNames) -> Rows:
    """Of each target of the settings, and the worst of all others of a provider together."""
    kinds = {provider: kind for provider, kind, _ in gateway.targets}
    worst: dict[Labels, float] = {(provider, model or ""): 0.0 for provider, _, model in gateway.targets}
    for (provider, model), circuit in gateway.board.circuits().items():
        if provider in kinds:
            labels = (provider, models.label(provider, kinds[provider], model or ""))
            worst[labels] = max(worst.get(labels, 0.0), OPENNESS[circuit])
    return list(worst.items())


def _budgets(ledger: Ledger | None) -> Rows:
    """The fullest; end users' are not told, as they are people."""
    spending = None if ledger is None else ledger.books.spending
    if spending is None:
        return []
    fullest = sorted(spending.budgets_used(), key=lambda each: each.ratio, reverse=True)[:MOST_BUDGETS]
    return [((each.whose, each.name, each.period), each.ratio) for each in fullest]


async def backlog_gauges(ledger: Ledger | None) -> dict[str, Rows]:
    """What waits for the database; nothing if that cannot be seen now."""
    if ledger is None:
        return {}
    try:
        backlog = await asyncio.to_thread(ledger.backlog)
    except OSError:
        return {}
    age_s = 0.0 if backlog.since_ms is None else max(0, now_ms() - backlog.since_ms) / 1000
    return {
        "waypost_journal_backlog_bytes": [((), backlog.size_bytes)],
        "waypost_journal_backlog_age_seconds": [((), age_s)],
    }
