"""The statements that posting runs for many rows: their parameters are called as the columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Insert, Table, Update, bindparam, insert, update

from waypost.ledger.rows import COUNTS
from waypost.ledger.totals import FIGURES
from waypost.store.database import Database
from waypost.store.tables import attempts, bodies, daily_totals, requests, spend, unfinished_attempts

_CLOSED: Final = (
    *("model", "outcome", "error_code", *COUNTS, "usage", "cost_micro_usd", "cost_basis", "price_source"),
    *("first_token_ms", "duration_ms", "provider_key", "way"),
)
_SUMMED: Final = (*COUNTS, "cost_micro_usd", "cost_is_estimate")


def insert_attempt(_database: Database) -> Insert:
    """An attempt that is new."""
    return insert(attempts)


def close_attempt(_database: Database) -> Update:
    """What the end of an attempt changes in its row."""
    return _update(attempts, _CLOSED)


def upsert_request(database: Database) -> Insert:
    """A request that has ended, perhaps once more."""
    return _upsert(database, requests)


def sum_again(_database: Database) -> Update:
    """For requests that were over when one of their attempts was not."""
    return _update(requests, _SUMMED)


def keep_unfinished(database: Database) -> Insert:
    """What must be known if the process dies."""
    statement: Insert = database.upsert(unfinished_attempts).on_conflict_do_nothing()
    return statement


def upsert_body(database: Database) -> Insert:
    """What was asked and answered."""
    return _upsert(database, bodies)


def add_to_daily_totals(database: Database) -> Insert:
    """More for the charts."""
    return _upsert(database, daily_totals, FIGURES)


def add_to_spend(database: Database) -> Insert:
    """More for the budgets."""
    return _upsert(database, spend, ("micro_usd",))


def _update(table: Table, names: Sequence[str]) -> Update:
    """Set these columns of the row with this id. The rows' members are called as the columns."""
    values = {name: bindparam(name, type_=table.c[name].type) for name in names}
    return update(table).where(table.c.id == bindparam("id")).values(values)


def _upsert(database: Database, table: Table, added: Sequence[str] = ()) -> Insert:
    """Insert a row, or put it in the place of the one with its key; what is in `added` is added to what is there."""
    statement = database.upsert(table)
    fresh = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    if added:
        fresh = {name: table.c[name] + statement.excluded[name] for name in added}
    key = [column.name for column in table.primary_key]
    upsert: Insert = statement.on_conflict_do_update(index_elements=key, set_=fresh)
    return upsert
