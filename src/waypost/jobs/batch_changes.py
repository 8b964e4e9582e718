"""What becomes of batches: closed, cancelled, retried, deleted, and noticed to be finished. In threads only.

What takes many rows takes them in slices, each a transaction of its own, so that no other writer waits for long; who
is interrupted between two does the rest when asked again. The invariant: a batch ends in the transaction that ends its
last item or, should who wrote it have died in the middle, at the next `look`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, select, update

from waypost.errors import JobHasEnded, JobNotEnded
from waypost.jobs.batch import BATCH_ENDED, UNUSABLE_ITEM, Batch, BatchState
from waypost.jobs.batches import counts, find
from waypost.jobs.job import WAITING
from waypost.jobs.messages import tell_batch_end
from waypost.jobs.rows import forget_failed_calls, remove_parts
from waypost.ledger.moments import DAY_MS
from waypost.store.database import Database
from waypost.store.job_tables import batches, job_events, jobs, provider_batches

LET_GO: Final = ("over", "refused")
"""States of batches at providers of which nothing more comes."""
SLICE: Final = 500
"""Rows a transaction."""
UNFINISHED: Final = ("queued", "running", WAITING)


def close(connection: Connection, project_id: str | None, batch_id: str, now_ms: int, days: int) -> Batch:
    """Nothing more is added. It ends at once if all of its items have. Raises UnknownBatch; does nothing twice."""
    batch = find(connection, project_id, batch_id)
    closing = update(batches).where(batches.c.id == batch_id, batches.c.state == "open")
    # Whoever adds has a share of the row's lock, so that none of what was added is missing in the count.
    if connection.execute(closing.values(state="running")).rowcount:
        total = select(func.count()).select_from(jobs).where(jobs.c.batch_id == batch_id).scalar_subquery()
        connection.execute(update(batches).where(batches.c.id == batch_id).values(total=total))
        finish_if_done(connection, batch_id, now_ms, days)
        batch = find(connection, project_id, batch_id)
    return batch


def _unfinished(batch_id: str, state: str) -> Select[tuple[str]]:
    return select(jobs.c.id).where(jobs.c.batch_id == batch_id, jobs.c.state == state)


def finish_if_done(connection: Connection, batch_id: str, now_ms: int, days: int) -> bool:
    """End a batch that is running and has no item left to do. True: it has ended now.

    Part of the transaction that ends an item; cheap while others are queued.
    """
    state = connection.execute(select(batches.c.state).where(batches.c.id == batch_id)).scalar()
    if state != "running" or connection.execute(_unfinished(batch_id, "queued").limit(1)).first():
        return False
    # Two that end the last two items at once must see each other: the second waits here for the first.
    locked = select(batches.c.state, batches.c.cancel_requested_at_ms).where(batches.c.id == batch_id)
    row = connection.execute(locked.with_for_update()).first()
    left = jobs.c.state.in_(UNFINISHED)
    if row is None or row.state != "running":
        return False
    if connection.execute(select(jobs.c.id).where(jobs.c.batch_id == batch_id, left).limit(1)).first():
        return False
    ended: BatchState = "finished" if row.cancel_requested_at_ms is None else "cancelled"
    values = {"state": ended, "ended_at_ms": now_ms, "expires_at_ms": now_ms + days * DAY_MS}
    connection.execute(update(batches).where(batches.c.id == batch_id).values(values))
    tell_batch_end(connection, find(connection, None, batch_id), counts(connection, batch_id))
    return True


def look(database: Database, now_ms: int, days: int, limit: int = SLICE) -> int:
    """End the batches that are done and still said to run, and go on with what was cancelled; gives how many ended.

    For a periodic task. It makes up for two last items that ended at once and for whoever died in the middle.
    """
    with database.read() as connection:
        query = select(batches.c.id, batches.c.cancel_requested_at_ms).where(batches.c.state == "running")
        running = connection.execute(query.order_by(batches.c.id).limit(limit)).all()
    ended = 0
    for batch_id, cancelled_at_ms in running:
        if cancelled_at_ms is not None:
            _cancel_items(database, batch_id, now_ms, days)
        with database.write() as connection:
            ended += int(finish_if_done(connection, batch_id, now_ms, days))
    return ended


def cancel(database: Database, project_id: str | None, batch_id: str, now_ms: int, days: int) -> Batch:
    """Ask for its end: queued items end at once, running ones when their workers see it; what is done stays.

    Raises UnknownBatch, and JobHasEnded for one that has finished.
    """
    with database.write() as connection:
        batch = ask_for_end(connection, project_id, batch_id, now_ms)
    if batch.has_ended:
        return batch
    _cancel_items(database, batch_id, now_ms, days)
    with database.write() as connection:
        finish_if_done(connection, batch_id, now_ms, days)
        return find(connection, project_id, batch_id)


def ask_for_end(connection: Connection, project_id: str | None, batch_id: str, now_ms: int) -> Batch:
    """Begin to cancel: the rest is `cancel_some`, by whoever asks or by the next `look`. Raises as `cancel`."""
    batch = find(connection, project_id, batch_id)
    if batch.state == "cancelled":
        return batch
    asked = update(batches).where(batches.c.id == batch_id, batches.c.state.in_(("open", "running")))
    if not connection.execute(asked.values(cancel_requested_at_ms=now_ms, state="running")).rowcount:
        raise JobHasEnded("The batch has finished already.")
    total = select(func.count()).select_from(jobs).where(jobs.c.batch_id == batch_id).scalar_subquery()
    connection.execute(update(batches).where(batches.c.id == batch_id).values(total=total))
    return find(connection, project_id, batch_id)


def cancel_some(connection: Connection, batch_id: str, now_ms: int, days: int) -> bool:
    """End a slice of the items that wait; once there is none, ask those that run. False: nothing is left to do."""
    values = {"state": "cancelled", "ended_at_ms": now_ms, "expires_at_ms": now_ms + days * DAY_MS}
    for state in ("queued", WAITING):
        found = _some(connection, jobs.c.batch_id == batch_id, jobs.c.state == state)
        _change(connection, found, state, values, "cancelled", now_ms)
        if found:
            return True
    asked = update(jobs).where(jobs.c.batch_id == batch_id, jobs.c.state == "running")
    connection.execute(asked.where(jobs.c.cancel_requested_at_ms.is_(None)).values(cancel_requested_at_ms=now_ms))
    return False


def _cancel_items(database: Database, batch_id: str, now_ms: int, days: int) -> None:
    more = True
    while more:
        with database.write() as connection:
            more = cancel_some(connection, batch_id, now_ms, days)


def retry(database: Database, project_id: str | None, batch_id: str, now_ms: int, days: int) -> int:
    """Do anew the items that failed or were cancelled; gives how many. What their steps gave is kept.

    Items that were never usable stay as they are. Raises UnknownBatch, and JobNotEnded while it is being cancelled.
    """
    with database.read() as connection:
        demand_not_ending(connection, project_id, batch_id)
    done, more = 0, True
    while more:
        with database.write() as connection:
            found, changed = retry_some(connection, batch_id, now_ms)
        done, more = done + changed, found > 0
    with database.write() as connection:
        finish_if_done(connection, batch_id, now_ms, days)
    return done


def demand_not_ending(connection: Connection, project_id: str | None, batch_id: str) -> Batch:
    """The batch. Raises UnknownBatch, and JobNotEnded while it is being cancelled."""
    batch = find(connection, project_id, batch_id)
    if batch.cancel_requested_at_ms is not None and not batch.has_ended:
        raise JobNotEnded("The batch is being cancelled.")
    return batch


def retry_some(connection: Connection, batch_id: str, now_ms: int) -> tuple[int, int]:
    """Do a slice of them anew: how many were found, none if nothing is left to do, and how many are done anew."""
    usable = func.coalesce(jobs.c.error["code"].as_string(), "") != UNUSABLE_ITEM
    again: dict[str, Any] = {"state": "queued", "error": None, "executor_id": None, "ended_at_ms": None}
    again |= {"expires_at_ms": None, "cancel_requested_at_ms": None}
    for state in ("failed", "cancelled"):
        found = _some(connection, jobs.c.batch_id == batch_id, jobs.c.state == state, usable)
        if found:
            # Together with its items: a batch that runs and has none to do would be ended by whoever looks.
            _run_again(connection, batch_id)
            forget_failed_calls(connection, found)
            return len(found), _change(connection, found, state, again, "queued", now_ms)
    return 0, 0


def _run_again(connection: Connection, batch_id: str) -> None:
    again = update(batches).where(batches.c.id == batch_id, batches.c.state.in_(sorted(BATCH_ENDED)))
    values = {"ended_at_ms": None, "expires_at_ms": None, "cancel_requested_at_ms": None}
    connection.execute(again.values(state="running", **values))


def _some(connection: Connection, *which: ColumnElement[bool]) -> Sequence[str]:
    """The ids of a slice of the items of which this holds.

    Not as a part of the statement that changes them: PostgreSQL might run it anew for each row.
    """
    return connection.execute(select(jobs.c.id).where(*which).limit(SLICE)).scalars().all()


def _change(
    connection: Connection, ids: Sequence[str], state: str, values: Mapping[str, Any], event: str, now_ms: int
) -> int:
    """Change those of the items that are in this state still, each with its event; gives how many."""
    changed = update(jobs).where(jobs.c.id.in_(ids), jobs.c.state == state)
    changed = changed.values(last_event=jobs.c.last_event + 1, **values)
    rows = connection.execute(changed.returning(jobs.c.id, jobs.c.last_event)).all()
    told = {"at_ms": now_ms, "name": event, "data": "{}"}
    if rows:
        connection.execute(insert(job_events), [{"job_id": each[0], "number": each[1], **told} for each in rows])
    return len(rows)


def hold(database: Database, batch_id: str, until_ms: int | None) -> None:
    """Have no queued item begin before that time; None: any may begin now."""
    changed = update(jobs).where(jobs.c.batch_id == batch_id, jobs.c.state == "queued").values(not_before_ms=until_ms)
    with database.write() as connection:
        connection.execute(changed)


def remove(database: Database, project_id: str | None, batch_id: str) -> None:
    """Delete a batch that has ended, with all of its items. Raises UnknownBatch, JobNotEnded."""
    with database.read() as connection:
        demand_ended(connection, project_id, batch_id)
    more = True
    while more:
        with database.write() as connection:
            more = remove_some(connection, batch_id)


def demand_ended(connection: Connection, project_id: str | None, batch_id: str) -> None:
    """Raises UnknownBatch, and JobNotEnded for one that has not, or of which a provider still has something."""
    batch = find(connection, project_id, batch_id)
    if not batch.has_ended:
        raise JobNotEnded(f"The batch is {batch.state}.")
    left = (provider_batches.c.batch_id == batch_id, provider_batches.c.state.not_in(LET_GO))
    if connection.execute(select(provider_batches.c.id).where(*left).limit(1)).first() is not None:
        raise JobNotEnded("A provider has not ended its part of the batch yet, and what that cost is not known.")


def remove_some(connection: Connection, batch_id: str) -> bool:
    """Delete a slice of its items; once there is none, the batch itself. False: it is gone."""
    ids = _some(connection, jobs.c.batch_id == batch_id)
    if ids:
        remove_parts(connection, ids)
        connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
        return True
    connection.execute(delete(provider_batches).where(provider_batches.c.batch_id == batch_id))
    connection.execute(delete(batches).where(batches.c.id == batch_id))
    return False
