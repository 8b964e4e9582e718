"""What is forgotten when: each table of the ledger with the rows that have had their time. Conditions; nothing is run.

The invariant: `daily_totals` is not among them. What was spent can be told for ever, by day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Column, ColumnElement, Select, Table, select

from waypost.ledger.erasure import WITH_CHILDREN
from waypost.ledger.moments import DAY_MS
from waypost.ledger.tag_slots import SLOT_MS
from waypost.settings import LedgerSettings
from waypost.store.job_tables import batches, jobs
from waypost.store.tables import (
    attempts,
    audit,
    bodies,
    grants,
    idempotency_answers,
    requests,
    spend,
    stored_responses,
    tag_slots,
    unfinished_attempts,
)

GRANTS_DAYS: Final = 40
"""No grant is for longer than a month; one that expired so long ago is of a budget that is over."""
SPEND_MONTHS: Final = 13


@dataclass(frozen=True, slots=True)
class Expired:
    """Rows of a table that may go. `also`: columns of other tables that hold the id of such a row."""

    table: Table
    where: ColumnElement[bool]
    order: Sequence[ColumnElement[object]] = ()
    also: Sequence[Column[str]] = ()

    def some(self, limit: int) -> Select[tuple[object, ...]]:
        """So many of their primary keys."""
        return select(*self.table.primary_key.columns).where(self.where).order_by(*self.order).limit(limit)


def expired(settings: LedgerSettings, now_ms: int) -> list[Expired]:
    """All that has had its time by these settings."""
    requests_ms = now_ms - settings.requests_days * DAY_MS
    by_time = [
        # A request first, with what hangs on it; then what has lost its request.
        (requests, requests.c.started_at_ms, requests_ms),
        (attempts, attempts.c.started_at_ms, requests_ms),
        (unfinished_attempts, unfinished_attempts.c.started_at_ms, requests_ms),
        (bodies, bodies.c.stored_at_ms, now_ms - settings.bodies_days * DAY_MS),
        (stored_responses, stored_responses.c.expires_at_ms, now_ms),
        (idempotency_answers, idempotency_answers.c.expires_at_ms, now_ms),
        (audit, audit.c.at_ms, now_ms - settings.audit_days * DAY_MS),
        (jobs, jobs.c.expires_at_ms, now_ms),
        (batches, batches.c.expires_at_ms, now_ms),
    ]
    found = [
        Expired(table, column < before_ms, (column,), WITH_CHILDREN.get(table, ()))
        for table, column, before_ms in by_time
    ]
    return [
        *found,
        Expired(tag_slots, tag_slots.c.slot < requests_ms // SLOT_MS),
        Expired(grants, grants.c.expires_at_ms < now_ms - GRANTS_DAYS * DAY_MS),
        Expired(spend, spend.c.window < oldest_window(now_ms)),
    ]


def oldest_window(now_ms: int) -> str:
    """The first month whose spend is kept, as `2025-10`: days and months before it sort before it."""
    now = datetime.fromtimestamp(now_ms // 1000, UTC)
    months = now.year * 12 + now.month - 1 - SPEND_MONTHS
    return f"{months // 12:04d}-{months % 12 + 1:02d}"
