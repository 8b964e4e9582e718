"""Batches in the database: made, found, counted. In threads only; each is part of a transaction.

What is in them is in `jobs.batch_items`, what becomes of them in `jobs.batch_changes`. The invariant: how a batch
stands is counted in its jobs and written down nowhere else, so that the two cannot differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, select, update

from waypost.errors import Conflict, IdempotencyConflict, UnknownBatch
from waypost.jobs.batch import Batch, BatchState, Counts, NewBatch
from waypost.ledger.books import new_entry_id
from waypost.store.database import Database
from waypost.store.job_tables import batches, jobs
from waypost.store.types import to_json

COLUMNS: Final = [batches.c[name] for name in Batch.__dataclass_fields__]


@dataclass(frozen=True, slots=True)
class CreatedBatch:
    """A batch that was asked for. `is_new` False: the idempotency key had come before, and this is that batch."""

    batch: Batch
    is_new: bool


def create(connection: Connection, database: Database, new: NewBatch, now_ms: int) -> CreatedBatch:
    """Open a batch. Raises IdempotencyConflict if the key came with another request."""
    batch_id, slot = f"batch_{new_entry_id()}", slot_of(new.idempotency)
    values = {
        "id": batch_id,
        "project_id": new.project_id,
        "key_id": new.key_id,
        "name": new.name,
        "state": "open",
        "request": new.request.told(),
        "idempotency_slot": slot,
        "tags": None if new.tags is None else dict(new.tags),
        "webhook_url": new.webhook_url,
        "created_at_ms": now_ms,
    }
    made = connection.execute(database.upsert(batches).values(values).on_conflict_do_nothing().returning(batches.c.id))
    if made.scalar() is not None:
        return CreatedBatch(find(connection, new.project_id, batch_id), is_new=True)
    first = with_slot(connection, new.project_id, new.idempotency)
    if first is None or _asked(first) != to_json(_asked_of(new)):
        raise IdempotencyConflict("This idempotency key came before, with another request.", param="idempotency_key")
    return CreatedBatch(first, is_new=False)


def slot_of(idempotency: str | None) -> bytes | None:
    """What an idempotency key is kept as."""
    if idempotency is None:
        return None
    return hashlib.sha256(idempotency.encode(errors="surrogatepass")).digest()


def with_slot(connection: Connection, project_id: str, idempotency: str | None) -> Batch | None:
    """The project's batch that was asked for with this idempotency key, if there is one."""
    own = (batches.c.project_id == project_id, batches.c.idempotency_slot == slot_of(idempotency))
    row = connection.execute(select(*COLUMNS).where(*own)).mappings().first()
    return None if row is None else Batch(**row)


def let_go_of_slot(connection: Connection, batch_id: str) -> None:
    """From now on its idempotency key may begin another batch."""
    connection.execute(update(batches).where(batches.c.id == batch_id).values(idempotency_slot=None))


def _asked_of(new: NewBatch) -> Sequence[Any]:
    return [new.request.told(), new.name, dict(new.tags or {}), new.webhook_url]


def _asked(batch: Batch) -> str:
    return to_json([batch.asked.told(), batch.name, dict(batch.tags or {}), batch.webhook_url])


def find(connection: Connection, project_id: str | None, batch_id: str) -> Batch:
    """The batch; `project_id` None: whosever it is. Raises UnknownBatch."""
    own = [] if project_id is None else [batches.c.project_id == project_id]
    row = connection.execute(select(*COLUMNS).where(batches.c.id == batch_id, *own)).mappings().first()
    if row is None:
        known = f"There is no batch {batch_id!r}." if batch_id.isprintable() else "There is no such batch."
        raise UnknownBatch(known)
    return Batch(**row)


def page(
    connection: Connection,
    project_id: str | None,
    *,
    state: BatchState | None = None,
    limit: int,
    after: str | None = None,
) -> list[Batch]:
    """The newest first. `after` is the last id of the page before."""
    query = select(*COLUMNS).order_by(batches.c.id.desc()).limit(limit)
    if project_id is not None:
        query = query.where(batches.c.project_id == project_id)
    if state is not None:
        query = query.where(batches.c.state == state)
    if after is not None:
        query = query.where(batches.c.id < after)
    return [Batch(**row) for row in connection.execute(query).mappings()]


def counts(connection: Connection, batch_id: str) -> Counts:
    """How its items stand, and what they came to so far."""
    query = select(
        jobs.c.state,
        jobs.c.cost_is_estimate,
        func.count().label("items"),
        func.count(jobs.c.cost_micro_usd).label("priced"),
        func.sum(jobs.c.cost_micro_usd).label("cost_micro_usd"),
    )
    query = query.where(jobs.c.batch_id == batch_id).group_by(jobs.c.state, jobs.c.cost_is_estimate)
    rows = connection.execute(query).all()
    return Counts(
        **{state: sum(row.items for row in rows if row.state == state) for state in {row.state for row in rows}},
        # PostgreSQL adds up numbers of 64 bits as decimals.
        cost_micro_usd=sum(int(row.cost_micro_usd or 0) for row in rows),
        unpriced=sum(row.items - row.priced for row in rows if row.state in ("succeeded", "failed")),
        cost_is_estimate=any(row.cost_is_estimate for row in rows),
    )


def demand_open(connection: Connection, batch_id: str, *, alone: bool = False) -> None:
    """Nothing closes the batch until this transaction is over. Raises UnknownBatch, and Conflict if it is closed.

    `alone`: nobody else adds to it either.
    """
    state = select(batches.c.state).where(batches.c.id == batch_id).with_for_update(read=not alone)
    found = connection.execute(state).scalar()
    if found is None:
        raise UnknownBatch("There is no such batch.")
    if found != "open":
        raise Conflict(f"The batch is {found}: it takes no more items.", hint="Begin another batch.")
