"""The rows of answers by idempotency key, within a transaction. Import it late: it brings SQLAlchemy along.

Times are the database's own where several machines use it, since they need not agree on what time it is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

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


class Found(NamedTuple):
    """What stands in a slot. `is_under_way`: does somebody work on it who lives?"""

    row: Row[Any]
    is_under_way: bool


def claim(connection: Connection, database: Database, held: Held, times: Times) -> Found | None:
    """Take the slot. None: it is taken by this claim now; else what stands there."""
    slot, now = held.slot, now_ms(connection, database)
    values = {
        "fingerprint": held.fingerprint,
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
        .returning(TABLE.holder)
    )
    if made.first() is not None:
        return None
    row = connection.execute(select(idempotency_answers).where(_at(slot)).with_for_update()).first()
    if row is not None and (found := _found(row, now, times)) is not None:
        return found
    if row is None:
        # It was freed between the two statements.
        return claim(connection, database, held, times)
    connection.execute(update(idempotency_answers).where(_at(slot)).values(values))
    return None


def find(connection: Connection, database: Database, slot: Slot, times: Times) -> Found | None:
    """What stands in the slot, None if it is free."""
    row = connection.execute(select(idempotency_answers).where(_at(slot))).first()
    return None if row is None else _found(row, now_ms(connection, database), times)


def _found(row: Row[Any], now: int, times: Times) -> Found | None:
    """None: another claim may take it, since its time is over, or who held it died before anything was charged."""
    claimed = row.lease_until_ms is not None
    if claimed and row.lease_until_ms + times.grace > now:
        return Found(row, is_under_way=True)
    if row.expires_at_ms <= now or (claimed and not row.billed):
        return None
    return Found(row, is_under_way=False)


def answer(connection: Connection, database: Database, held: Held, keep_ms: int, **told: Any) -> bool:
    """Write `status`, `headers` and `body`; without them the key is kept bare. False: another claim has the slot."""
    now = now_ms(connection, database)
    values = {"lease_until_ms": None, "billed": True, "expires_at_ms": now + keep_ms, **told}
    done = connection.execute(update(idempotency_answers).where(_held(held)).values(values))
    if done.rowcount == 1:
        return True
    # A database that was restored may have forgotten the claim.
    slot, whose = held.slot, {"fingerprint": held.fingerprint, "holder": held.token, "created_at_ms": now}
    made = connection.execute(
        database.upsert(idempotency_answers)
        .values(project_id=slot.project_id, slot=slot.digest, **whose, **values)
        .on_conflict_do_nothing()
        .returning(TABLE.holder)
    )
    return made.first() is not None


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
    rows = [
        {"of_project": each.slot.project_id, "at_slot": each.slot.digest, "by_token": each.token} for each in claims
    ]
    connection.execute(statement, rows)


def _at(slot: Slot) -> ColumnElement[bool]:
    return and_(TABLE.project_id == slot.project_id, TABLE.slot == slot.digest)


def _held(held: Held) -> ColumnElement[bool]:
    return and_(_at(held.slot), TABLE.holder == held.token, TABLE.lease_until_ms.is_not(None))
