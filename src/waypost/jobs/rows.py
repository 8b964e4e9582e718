"""Jobs in the database: made, found, cancelled, retried, deleted. In threads only; each is part of a transaction.

Here is what callers and administrators do. What a worker does to a job is in `jobs.progress`. The invariant: whoever
changes a job's state says in the statement which state it had, so that of two who do so at once one does nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from waypost.errors import IdempotencyConflict, JobHasEnded, JobNotEnded, UnknownJob
from waypost.jobs.events import append_event
from waypost.jobs.job import ENDED, WAITING, Input, Job, NewJob
from waypost.jobs.messages import tell_end
from waypost.ledger.books import new_entry_id
from waypost.store.database import Database
from waypost.store.job_tables import batched_calls, job_events, job_inputs, job_steps, jobs
from waypost.store.types import to_json

COLUMNS: Final = [jobs.c[name] for name in Job.__dataclass_fields__]
PARTS: Final = (job_inputs, job_steps, job_events, batched_calls)
"""Tables whose rows go with their job."""


@dataclass(frozen=True, slots=True)
class Created:
    """A job that was asked for. `is_new` False: the idempotency key had come before, and this is that job."""

    job: Job
    is_new: bool


def new_job_id() -> str:
    """Ids sort by time."""
    return f"job_{new_entry_id()}"


def create(
    connection: Connection, database: Database, new: NewJob, now_ms: int, expires_at_ms: int | None = None
) -> Created:
    """Write down a job, which a worker then does. Raises IdempotencyConflict if the key came with another request."""
    job_id, slot, fingerprint = new_job_id(), _slot(new), _fingerprint(new)
    values = {
        "id": job_id,
        "type": new.type,
        "state": "queued",
        "project_id": new.project_id,
        "key_id": new.key_id,
        "end_user": new.end_user,
        "batch_id": new.batch_id,
        "batch_index": new.batch_index,
        "priority": new.priority,
        "idempotency_slot": slot,
        "fingerprint": fingerprint,
        "request": dict(new.request),
        "progress_done": 0,
        "runs": 0,
        "cost_is_estimate": False,
        "possibly_paid_twice": 0,
        "last_event": 0,
        "tags": None if new.tags is None else dict(new.tags),
        "webhook_url": new.webhook_url,
        "not_before_ms": new.not_before_ms,
        "created_at_ms": now_ms,
        "expires_at_ms": expires_at_ms,
    }
    made = connection.execute(database.upsert(jobs).values(values).on_conflict_do_nothing().returning(jobs.c.id))
    if slot is not None and made.scalar() is None:
        return Created(_first_of(connection, new, slot, fingerprint), is_new=False)
    if new.input is not None:
        content = {"name": new.input.name, "media_type": new.input.media_type, "data": new.input.data}
        connection.execute(insert(job_inputs).values(job_id=job_id, **content))
    append_event(connection, job_id, "queued", {}, now_ms)
    return Created(find(connection, new.project_id, job_id), is_new=True)


def _first_of(connection: Connection, new: NewJob, slot: bytes, fingerprint: bytes) -> Job:
    own = (jobs.c.project_id == new.project_id, jobs.c.idempotency_slot == slot)
    row = connection.execute(select(*COLUMNS, jobs.c.fingerprint).where(*own)).mappings().one()
    if bytes(row["fingerprint"]) != fingerprint:
        raise IdempotencyConflict("This idempotency key came before, with another request.", param="idempotency_key")
    return Job(**{name: row[name] for name in Job.__dataclass_fields__})


def _slot(new: NewJob) -> bytes | None:
    if new.idempotency is None:
        return None
    return hashlib.sha256(f"{new.type}\n{new.idempotency}".encode(errors="surrogatepass")).digest()


def _fingerprint(new: NewJob) -> bytes:
    told = to_json([dict(new.request), new.priority, dict(new.tags or {}), new.webhook_url, new.end_user])
    content = b"" if new.input is None else new.input.data
    return hashlib.sha256(told.encode() + b"\n" + content).digest()


def find(connection: Connection, project_id: str | None, job_id: str) -> Job:
    """The job; `project_id` None: whosever it is. Raises UnknownJob."""
    own = [] if project_id is None else [jobs.c.project_id == project_id]
    row = connection.execute(select(*COLUMNS).where(jobs.c.id == job_id, *own)).mappings().first()
    if row is None:
        raise UnknownJob(f"There is no job {job_id!r}." if job_id.isprintable() else "There is no such job.")
    return Job(**row)


def found(connection: Connection, project_id: str, job_id: str) -> Job | None:
    """The project's job, if there is one of that id."""
    row = connection.execute(select(*COLUMNS).where(jobs.c.id == job_id, jobs.c.project_id == project_id)).mappings()
    values = row.first()
    return None if values is None else Job(**values)


def input_of(connection: Connection, job_id: str) -> Input | None:
    """Its content, if it has one."""
    query = select(job_inputs.c.data, job_inputs.c.media_type, job_inputs.c.name).where(job_inputs.c.job_id == job_id)
    row = connection.execute(query).first()
    return None if row is None else Input(bytes(row.data), row.media_type, row.name)


def count_queued(connection: Connection, project_id: str, most: int) -> int:
    """How many of its jobs wait; it is not counted beyond `most`."""
    some = select(jobs.c.id).where(jobs.c.project_id == project_id, jobs.c.state == "queued").limit(most)
    return connection.scalar(select(func.count()).select_from(some.subquery())) or 0


def cancel(
    connection: Connection, project_id: str | None, job_id: str, now_ms: int, expires_at_ms: int | None = None
) -> Job:
    """Ask for its end. A queued job ends at once, a running one when its worker sees it, within two seconds.

    One that waits for a provider ends at once as well; what it is paid for comes to its cost when that is known.

    `expires_at_ms` is until when a job is kept that ends now.
    Raises UnknownJob, and JobHasEnded unless it was cancelled already.
    """
    job = find(connection, project_id, job_id)
    if job.state == "cancelled":
        return job
    asked = update(jobs).where(jobs.c.id == job_id).values(cancel_requested_at_ms=now_ms)
    ending = {"state": "cancelled", "ended_at_ms": now_ms, "expires_at_ms": expires_at_ms}
    ended = connection.execute(asked.where(jobs.c.state.in_(("queued", WAITING))).values(ending))
    if ended.rowcount == 1:
        append_event(connection, job_id, "cancelled", {}, now_ms)
        tell_end(connection, find(connection, project_id, job_id))
    elif connection.execute(asked.where(jobs.c.state == "running")).rowcount != 1:
        raise JobHasEnded(f"The job has {job.state} already.")
    return find(connection, project_id, job_id)


def retry(connection: Connection, project_id: str | None, job_id: str, now_ms: int) -> Job:
    """Do a job anew that failed or was cancelled: what its steps gave is kept, only what is missing is done.

    Raises UnknownJob, JobNotEnded, and JobHasEnded for one that succeeded.
    """
    job = find(connection, project_id, job_id)
    if not job.has_ended:
        raise JobNotEnded(f"The job is {job.state}.")
    again = update(jobs).where(jobs.c.id == job_id, jobs.c.state.in_(("failed", "cancelled")))
    values = {"state": "queued", "error": None, "ended_at_ms": None, "cancel_requested_at_ms": None}
    values["expires_at_ms"] = None
    if connection.execute(again.values(executor_id=None, **values)).rowcount != 1:
        raise JobHasEnded("The job has succeeded: there is nothing to do again.")
    forget_failed_calls(connection, [job_id])
    append_event(connection, job_id, "queued", {"again": True}, now_ms)
    return find(connection, project_id, job_id)


def forget_failed_calls(connection: Connection, job_ids: Sequence[str]) -> None:
    """What a provider's batch did not give is asked for anew."""
    own = (batched_calls.c.job_id.in_(job_ids), batched_calls.c.state == "failed")
    connection.execute(delete(batched_calls).where(*own))


def remove(connection: Connection, project_id: str | None, job_id: str) -> None:
    """Delete a job that has ended, with all that is its own. Raises UnknownJob, JobNotEnded."""
    job = find(connection, project_id, job_id)
    gone = delete(jobs).where(jobs.c.id == job_id, jobs.c.state.in_(sorted(ENDED)))
    if connection.execute(gone).rowcount != 1:
        raise JobNotEnded(f"The job is {job.state}.")
    remove_parts(connection, [job_id])


def remove_parts(connection: Connection, job_ids: Sequence[str]) -> None:
    """Delete what hangs on these jobs."""
    for table in PARTS:
        connection.execute(delete(table).where(table.c.job_id.in_(job_ids)))


def result_of(job: Job) -> Any:
    """Its result as data."""
    return None if job.result is None else msgspec.json.decode(job.result)
