"""Calls of jobs that are made by a provider's batch API, in the database. In threads only; parts of transactions.

A call is registered by its job, gathered into a batch at the provider, and answered when that is over; then its job
goes on. The invariant: with the call's row, in one transaction, the ledger's rows and its job's state are written, so
that an answer is paid, and counted, once, however often it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection, func, or_, select, update

from waypost.jobs import waiting
from waypost.jobs.job import ENDED
from waypost.ledger.deferred import Settled, open_calls, settle_calls
from waypost.ledger.journal.encoding import decode, encode
from waypost.ledger.records import AttemptOpened
from waypost.store.database import Database
from waypost.store.job_tables import batched_calls, batches, jobs

CallState: TypeAlias = Literal["ready", "sent", "answered", "failed"]
MOST_TRIES: Final = 3
"""Batches at the provider that a call is put into, one after the other, while they give nothing."""
_c = batched_calls.c


@dataclass(frozen=True, slots=True)
class BatchedCall:
    """A call as it is in the database: see `store.job_tables.batched_calls`. `answer` is the provider's, in JSON."""

    job_id: str
    name: str
    batch_id: str
    provider: str
    kind: str
    model: str
    state: CallState
    provider_batch_id: str | None
    tries: int
    notes: Sequence[str] | None
    record: bytes
    keeps_body: bool
    answer: str | None
    error: Mapping[str, str] | None
    cost_micro_usd: int | None
    cost_is_estimate: bool

    @property
    def opened(self) -> AttemptOpened:
        """What the ledger has of its newest attempt."""
        return _opened(self.record)


COLUMNS: Final = [_c[name] for name in BatchedCall.__dataclass_fields__]


@dataclass(frozen=True, slots=True)
class NewCall:
    """What a job asks for. `body` is the request in the provider's format, `opened` the ledger's record of it."""

    job_id: str
    name: str
    batch_id: str
    body: bytes
    notes: Sequence[str]
    opened: AttemptOpened
    keeps_body: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Calls that may go to a provider together."""

    batch_id: str
    provider: str
    kind: str
    model: str
    count: int
    size_bytes: int
    newest_ms: int
    oldest_ms: int


@dataclass(frozen=True, slots=True)
class Ending:
    """What came of a call. `again`: it is put into another batch, with this attempt."""

    state: Literal["answered", "failed"]
    settled: Settled
    answer: str | None = None
    error: Mapping[str, str] | None = None
    again: AttemptOpened | None = None
    is_doubtful: bool = False
    """May the provider have been paid for it although nothing came?"""


EndingOf: TypeAlias = Callable[[BatchedCall, bool], Ending]
"""What comes of a call; True: its job still wants an answer."""


def register(connection: Connection, database: Database, call: NewCall, now_ms: int) -> bool:
    """Write the call down. False: it was before; then nothing is changed, and nothing reserved for it."""
    opened = call.opened
    values = {
        "job_id": call.job_id,
        "name": call.name,
        "batch_id": call.batch_id,
        "provider": opened.provider,
        "kind": opened.kind,
        "model": opened.model,
        "state": "ready",
        "tries": 0,
        "body": call.body,
        "size_bytes": len(call.body),
        "notes": list(call.notes) or None,
        "record": encode(opened),
        "keeps_body": call.keeps_body,
        "cost_is_estimate": False,
        "registered_at_ms": now_ms,
    }
    made = connection.execute(
        database.upsert(batched_calls).values(values).on_conflict_do_nothing().returning(_c.job_id)
    )
    is_new = made.scalar() is not None
    if is_new:
        open_calls(connection, database, [opened])
    waiting.let_go_of_steps(connection, call.job_id)
    # After a commit whose answer was lost, what is there may be this very call.
    found = find(connection, call.job_id, call.name)
    return found is not None and found.opened.entry_id == opened.entry_id


def find(connection: Connection, job_id: str, name: str) -> BatchedCall | None:
    """The call, if it was registered."""
    row = connection.execute(select(*COLUMNS).where(_c.job_id == job_id, _c.name == name)).mappings().first()
    return None if row is None else BatchedCall(**row)


def groups(connection: Connection) -> list[Group]:
    """What is ready to be sent."""
    keys = (_c.batch_id, _c.provider, _c.kind, _c.model)
    figures = (
        func.count().label("count"),
        func.sum(_c.size_bytes).label("size_bytes"),
        func.max(_c.registered_at_ms).label("newest_ms"),
        func.min(_c.registered_at_ms).label("oldest_ms"),
    )
    rows = connection.execute(select(*keys, *figures).where(_c.state == "ready").group_by(*keys))
    return [Group(*row[:4], *(int(figure) for figure in row[4:])) for row in rows]


def is_anything_ready(connection: Connection) -> bool:
    """Does a call wait to be sent?"""
    return connection.execute(select(_c.job_id).where(_c.state == "ready").limit(1)).first() is not None


def is_whole(connection: Connection, batch_id: str) -> bool:
    """Has every item of the batch come as far as it does without the provider?"""
    state = connection.scalar(select(batches.c.state).where(batches.c.id == batch_id))
    moving = select(jobs.c.id).where(jobs.c.batch_id == batch_id, jobs.c.state.in_(("queued", "running"))).limit(1)
    return state != "open" and connection.execute(moving).first() is None


def take(
    connection: Connection, group: Group, provider_batch_id: str, *, requests: int, size_bytes: int, around_bytes: int
) -> tuple[int, int]:
    """Put the next calls of the group into a batch: as many as fit. `around_bytes`: what stands around each.

    Gives how many, and how large they are with that.
    """
    own = (_c.state == "ready", _c.batch_id == group.batch_id, _c.provider == group.provider, _c.model == group.model)
    query = select(_c.job_id, _c.size_bytes).where(*own).order_by(_c.job_id).limit(requests)
    taken: list[str] = []
    used_bytes = 0
    for job_id, size in connection.execute(query.with_for_update(skip_locked=True)):
        if used_bytes + size + around_bytes > size_bytes:
            break
        used_bytes += size + around_bytes
        taken.append(job_id)
    values = {"state": "sent", "provider_batch_id": provider_batch_id, "tries": _c.tries + 1}
    if taken:
        connection.execute(update(batched_calls).where(*own, _c.job_id.in_(taken)).values(values))
    return len(taken), used_bytes


def bodies_after(
    connection: Connection, provider_batch_id: str, job_id: str, limit: int
) -> Sequence[tuple[str, bytes]]:
    """The next calls of a batch, by job: whose they are, and their bodies."""
    own = (_c.provider_batch_id == provider_batch_id, _c.state == "sent", _c.job_id > job_id)
    rows = connection.execute(select(_c.job_id, _c.body).where(*own).order_by(_c.job_id).limit(limit))
    return [(row.job_id, bytes(row.body)) for row in rows]


def keys_of(connection: Connection, provider_batch_id: str) -> Sequence[str]:
    """Under whose keys the calls of a batch are."""
    query = select(jobs.c.key_id).join(batched_calls, batched_calls.c.job_id == jobs.c.id)
    return connection.execute(query.where(_c.provider_batch_id == provider_batch_id).distinct()).scalars().all()


def unwanted_of(connection: Connection, provider_batch_id: str, bad_keys: Sequence[str], limit: int) -> Sequence[str]:
    """Jobs whose calls are in that batch and that have ended, or are of one of these keys."""
    query = select(jobs.c.id).join(batched_calls, batched_calls.c.job_id == jobs.c.id)
    own = (_c.provider_batch_id == provider_batch_id, _c.state == "sent")
    found = query.where(*own, or_(jobs.c.state.in_(ENDED), jobs.c.key_id.in_(bad_keys)))
    return connection.execute(found.limit(limit)).scalars().all()


def sent_of(
    connection: Connection, provider_batch_id: str, job_ids: Sequence[str] | None, limit: int
) -> list[BatchedCall]:
    """Calls of that batch which are still waited for: these, or the first ones."""
    own = [_c.provider_batch_id == provider_batch_id, _c.state == "sent"]
    if job_ids is not None:
        own.append(_c.job_id.in_(job_ids))
    rows = connection.execute(select(*COLUMNS).where(*own).order_by(_c.job_id).limit(limit)).mappings()
    return [BatchedCall(**row) for row in rows]


def body_of(connection: Connection, call: BatchedCall) -> bytes:
    """What is asked, as the provider gets it."""
    own = (_c.job_id == call.job_id, _c.name == call.name)
    return bytes(connection.execute(select(_c.body).where(*own)).scalar_one())


def put_back(connection: Connection, provider_batch_id: str, limit: int) -> int:
    """The provider never had them: they are ready again, and this try does not count. How many they were."""
    ids = [each.job_id for each in sent_of(connection, provider_batch_id, None, limit)]
    if ids:
        own = (_c.provider_batch_id == provider_batch_id, _c.job_id.in_(ids), _c.state == "sent")
        values = {"state": "ready", "provider_batch_id": None, "tries": _c.tries - 1}
        connection.execute(update(batched_calls).where(*own).values(values))
    return len(ids)


def end(
    connection: Connection,
    database: Database,
    provider_batch_id: str,
    job_ids: Sequence[str],
    ending_of: EndingOf,
    now_ms: int,
) -> int:
    """Write down what came of these jobs' calls in that batch, each once, and have the jobs go on; how many ended."""
    states = waiting.lock(connection, job_ids)
    found = sent_of(connection, provider_batch_id, job_ids, len(job_ids))
    # Nobody wants it any more whose job has ended, or was deleted.
    has_ended = {call.job_id: states.get(call.job_id, "failed") in ENDED for call in found}
    endings = [(call, ending_of(call, not has_ended[call.job_id])) for call in found]
    settle_calls(connection, database, [ending.settled for _, ending in endings])
    again = [(call, ending.again) for call, ending in endings if ending.again is not None]
    for call, opened in again:
        values = {"state": "ready", "provider_batch_id": None, "record": encode(opened), "registered_at_ms": now_ms}
        _set(connection, call, values)
    open_calls(connection, database, [opened for _, opened in again])
    over = [(call, ending) for call, ending in endings if ending.again is None]
    for call, ending in over:
        _end(connection, call, ending, has_ended=has_ended[call.job_id])
    waiting.resume(connection, [call.job_id for call, _ in over], now_ms)
    return len(over)


def note_paid_twice(connection: Connection, provider_batch_id: str) -> None:
    """The provider was given these calls twice."""
    own = select(_c.job_id).where(_c.provider_batch_id == provider_batch_id)
    twice = jobs.c.possibly_paid_twice + 1
    connection.execute(update(jobs).where(jobs.c.id.in_(own)).values(possibly_paid_twice=twice))


def _end(connection: Connection, call: BatchedCall, ending: Ending, *, has_ended: bool) -> None:
    closed = ending.settled.closed
    values = {
        "state": ending.state,
        "body": b"",
        "answer": ending.answer,
        "error": ending.error,
        "cost_micro_usd": closed.cost_micro_usd,
        "cost_is_estimate": closed.cost_basis == "estimated",
    }
    _set(connection, call, values)
    if has_ended:
        waiting.add_cost(connection, call.job_id, closed.cost_micro_usd)
    if ending.is_doubtful:
        twice = jobs.c.possibly_paid_twice + 1
        connection.execute(update(jobs).where(jobs.c.id == call.job_id).values(possibly_paid_twice=twice))


def _set(connection: Connection, call: BatchedCall, values: Mapping[str, Any]) -> None:
    connection.execute(update(batched_calls).where(_c.job_id == call.job_id, _c.name == call.name).values(**values))


def _opened(record: bytes) -> AttemptOpened:
    opened = decode(record)
    if not isinstance(opened, AttemptOpened):
        raise TypeError("a call's record is no beginning of an attempt")
    return opened
