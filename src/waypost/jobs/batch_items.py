"""The items of batches: many are added in one transaction, and what came of them is read in their order.

In threads only. The invariant: an item's job has an id that follows from the batch and the item's place. Adding it
again, as whoever crashed and begins anew does, adds nothing; a place that holds something else is a conflict.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from waypost.errors import Conflict
from waypost.jobs.batch import Batch, Item, item_id
from waypost.jobs.batch_told import ITEM_NAME
from waypost.jobs.batches import demand_open
from waypost.jobs.job import Job
from waypost.jobs.rows import COLUMNS
from waypost.ledger.moments import DAY_MS
from waypost.store.database import Database
from waypost.store.job_tables import job_events, job_inputs, jobs
from waypost.store.types import to_json


class ItemChanged(Conflict):
    """The place in the batch holds something else. `index` says which."""

    def __init__(self, index: int) -> None:
        super().__init__(
            f"Item {index} was added before, and was another one then.", hint="Begin another batch.", param="items"
        )
        self.index = index


@dataclass(frozen=True, slots=True)
class Added:
    """How many items are new, and how many there were already."""

    new: int
    known: int


def add(
    connection: Connection, database: Database, batch: Batch, items: Sequence[Item], now_ms: int, days: int
) -> Added:
    """Write down items, which workers then do. Raises UnknownBatch, ItemChanged, and Conflict if it is closed."""
    demand_open(connection, batch.id)
    if not items:
        return Added(0, 0)
    known = _known(connection, batch.id, items)
    made = {item.index: (item, _row(batch, item, now_ms, days)) for item in items}
    for index in known.keys() & made.keys():
        if made[index][1]["fingerprint"] != known[index]:
            raise ItemChanged(index)
    new = [pair for index, pair in sorted(made.items()) if index not in known]
    _insert(connection, database, new)
    return Added(len(new), len(made) - len(new))


def next_index(connection: Connection, batch: Batch) -> int:
    """The place after the last item. Nobody else adds until the transaction is over.

    Raises UnknownBatch, and Conflict if it is closed.
    """
    demand_open(connection, batch.id, alone=True)
    last = connection.scalar(select(func.max(jobs.c.batch_index)).where(jobs.c.batch_id == batch.id))
    return 0 if last is None else last + 1


def check(connection: Connection, batch: Batch, items: Sequence[Item]) -> None:
    """Compare items with those of a batch that takes no more. Raises ItemChanged for the first that is another one."""
    known = _known(connection, batch.id, items) if items else {}
    for item in items:
        if known.get(item.index) != fingerprint(item):
            raise ItemChanged(item.index)


def _known(connection: Connection, batch_id: str, items: Sequence[Item]) -> dict[int, bytes]:
    indexes = [item.index for item in items]
    query = select(jobs.c.batch_index, jobs.c.fingerprint).where(jobs.c.batch_id == batch_id)
    query = query.where(jobs.c.batch_index.between(min(indexes), max(indexes)))
    return {index: bytes(fingerprint) for index, fingerprint in connection.execute(query)}


def _insert(connection: Connection, database: Database, new: Sequence[tuple[Item, Mapping[str, Any]]]) -> None:
    if not new:
        return
    # Somebody else may add the same at the same time.
    connection.execute(database.upsert(jobs).on_conflict_do_nothing(), [dict(row) for _, row in new])
    contents = [
        {
            "job_id": row["id"],
            "name": item.input.name,
            "media_type": item.input.media_type,
            "data": item.input.data,
        }
        for item, row in new
        if item.input is not None
    ]
    if contents:
        connection.execute(database.upsert(job_inputs).on_conflict_do_nothing(), contents)
    events = [
        {"job_id": row["id"], "number": 1, "at_ms": row["created_at_ms"], "name": row["state"], "data": "{}"}
        for _, row in new
    ]
    connection.execute(database.upsert(job_events).on_conflict_do_nothing(), events)


def _row(batch: Batch, item: Item, now_ms: int, days: int) -> dict[str, Any]:
    asked = batch.asked
    request = {**asked.request, **item.request}
    if item.name is not None:
        request[ITEM_NAME] = item.name
    row = {
        "id": item_id(batch.id, item.index),
        "type": asked.type,
        "state": "queued",
        "project_id": batch.project_id,
        "key_id": batch.key_id,
        "end_user": asked.end_user,
        "batch_id": batch.id,
        "batch_index": item.index,
        "priority": asked.priority,
        "fingerprint": fingerprint(item),
        "request": request,
        "error": None,
        "progress_done": 0,
        "runs": 0,
        "cost_micro_usd": None,
        "cost_is_estimate": False,
        "possibly_paid_twice": 0,
        "last_event": 1,
        "tags": None if batch.tags is None else dict(batch.tags),
        "created_at_ms": now_ms,
        "ended_at_ms": None,
        "expires_at_ms": None,
    }
    if item.error is not None:
        ended = {"ended_at_ms": now_ms, "expires_at_ms": now_ms + days * DAY_MS}
        row.update(state="failed", error=item.error.told(), cost_micro_usd=0, **ended)
    return row


def fingerprint(item: Item) -> bytes:
    """By what two items are told apart: SHA-256 of all that is an item's own."""
    told = to_json([dict(item.request), item.name, None if item.error is None else item.error.code])
    whole = hashlib.sha256(told.encode() + b"\n")
    if item.input is not None:
        whole.update(f"{item.input.media_type}\n{item.input.name}\n".encode(errors="surrogatepass"))
        whole.update(item.input.data)
    return whole.digest()


def ended_from(connection: Connection, batch_id: str, index: int, limit: int) -> list[Job]:
    """The items from that place on, in order, up to the first that has not ended or was not added yet."""
    return list(_ended(read_from(connection, batch_id, index, limit), index))


def _ended(found: Sequence[Job], index: int) -> Iterator[Job]:
    for place, job in enumerate(found, index):
        if job.batch_index != place or not job.has_ended:
            return
        yield job


def read_from(connection: Connection, batch_id: str, index: int, limit: int) -> list[Job]:
    """The items from that place on, in order, whatever their state."""
    query = select(*COLUMNS).where(jobs.c.batch_id == batch_id, jobs.c.batch_index >= index)
    return [Job(**row) for row in connection.execute(query.order_by(jobs.c.batch_index).limit(limit)).mappings()]
