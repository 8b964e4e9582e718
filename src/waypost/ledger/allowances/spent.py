"""What was spent, as the database knows it. Queries only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, Select, select, tuple_

from waypost.store.tables import spend

MOST_AT_ONCE: Final = 200
"""Subjects and windows in one query."""


def read_spent(connection: Connection, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], int]:
    """Micro-dollars by subject and window; who has spent nothing is not in it."""
    found: dict[tuple[str, str], int] = {}
    for start in range(0, len(wanted), MOST_AT_ONCE):
        for row in connection.execute(_of(wanted[start : start + MOST_AT_ONCE])):
            found[row.subject, row.window] = row.micro_usd
    return found


def _of(wanted: Sequence[tuple[str, str]]) -> Select[tuple[str, str, int]]:
    return select(spend.c.subject, spend.c.window, spend.c.micro_usd).where(
        tuple_(spend.c.subject, spend.c.window).in_(wanted)
    )
