"""The rows of answers by idempotency key, within a transaction. Import it late: it brings SQLAlchemy along.

Times are the database's own where several machines use it, since they need not agree on what time it is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, delete, func, select, update

from waypost.ledger.durable_answers import Held, Slot, Times
from waypost.store.database import Database
from waypost.store.tables import idempotency_answers

TABLE = idempotency_answers.c


def now_ms(connection: Connection, database: Database) -> int:
    """Unix milliseconds."""
    if database.is_sqlite:
        return time.time_ns() // 1_000_000
    seconds: float = connection.execute(select(func.date_part("epoch", func.clock_timestamp()))).scalar_one()
    return int(seconds * 1000)


def claim(connection: Connection, database: Database, held: Held, fingerprint: bytes, times: Times) -> Row[Any] | None:
    """Take the slot. None: it is taken by this claim now; else what stands there."""
    slot, now = held.slot, now_ms(connection, database)
    values = {
        "fingerprint": fingerprint,
        "holder": held.token,
        "lease_until_ms": now + times.lease,
        "billed": False,
        "status": None,
        "headers": None,
        "body": None,
        "created_at_ms": now,
        "expires_at_ms": now + times.lease + times.keep,
    }
    made = connection.execute(
        database.upsert(idempotency_answers)
        .values(project_id=slot.project_id, slot=slot.digest, **values)
        .on_conflict_do_nothing()
    )
    if made.rowcount == 1:
        return None
    row = connection.execute(select(idempotency_answers).where(_at(slot)).with_for_update()).first()
    if row is not None and not is_free(row, now):
        return row
    if row is None:
        # It was freed between the two statements.
        return claim(connection, database, held, fingerprint, times)
    connection.execute(update(idempotency_answers).where(_at(slot)).values(values))
    return None


def find(connection: Connection, database: Database, slot: Slot) -> Row[Any] | None:
    """What stands in the slot, None if it is free."""
    row = connection.execute(select(idempotency_answers).where(_at(slot))).first()
    return None if row is None or is_free(row, now_ms(connection, database)) else row


def is_free(row: Row[Any], now: int) -> bool:
    """May another claim take it? Its time is over, or who held it died before anything was charged."""
    if is_under_way(row, now):
        return False
    return bool(row.expires_at_ms <= now or (row.lease_until_ms is not None and not row.billed))


def is_under_way(row: Row[Any], now: int) -> bool:
    """Does somebody work on it who lives?"""
    return row.lease_until_ms is not None and row.lease_until_ms > now


def answer(connection: Connection, database: Database, held: Held, keep_ms: int, **told: Any) -> bool:
    """Write `status`, `headers` and `body`; without them the key is kept bare. False: the claim holds no more."""
    until = now_ms(connection, database) + keep_ms
    done = connection.execute(
        update(idempotency_answers)
        .where(_held(held))
        .values(lease_until_ms=None, billed=True, expires_at_ms=until, **told)
    )
    return done.rowcount == 1


def free(connection: Connection, held: Held) -> bool:
    """Give the slot up. False: the claim holds no more."""
    return connection.execute(delete(idempotency_answers).where(_held(held))).rowcount == 1


def note_billed(connection: Connection, held: Held) -> None:
    """Somebody has begun to answer."""
    connection.execute(update(idempotency_answers).where(_held(held)).values(billed=True))


def renew(connection: Connection, database: Database, claims: Sequence[Held], times: Times) -> None:
    """These claims hold for another while."""
    now = now_ms(connection, database)
    statement = (
        update(idempotency_answers)
        .where(
            TABLE.project_id == bindparam("of_project"),
            TABLE.slot == bindparam("at_slot"),
            TABLE.holder == bindparam("by_token"),
            TABLE.lease_until_ms.is_not(None),
        )
        .values(lease_until_ms=now + times.lease, expires_at_ms=now + times.lease + times.keep)
    )
    rows = [{"of_project": slot.project_id, "at_slot": slot.digest, "by_token": token} for slot, token in claims]
    connection.execute(statement, rows)


def _at(slot: Slot) -> ColumnElement[bool]:
    return and_(TABLE.project_id == slot.project_id, TABLE.slot == slot.digest)


def _held(held: Held) -> ColumnElement[bool]:
    return and_(_at(held.slot), TABLE.holder == held.token, TABLE.lease_until_ms.is_not(None))
