"""Jobs that wait for what somebody outside does, such as a provider's batch: no worker has them meanwhile.

Parts of transactions. The invariant: whoever makes a job wait, and whoever ends its waiting, has locked its row first
and looks then, so that none waits for what is there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from waypost.jobs.events import append_event
from waypost.jobs.holding import Run, demand
from waypost.jobs.job import WAITING
from waypost.store.job_tables import batched_calls, job_events, job_steps, jobs

OPEN: Final = ("ready", "sent")
"""Calls that are waited for."""


def park(connection: Connection, run: Run, now_ms: int) -> None:
    """The worker lets go of the job, which has nothing to do until its calls have come. Raises RunLost."""
    demand(connection, run)
    calls = select(batched_calls.c.job_id).where(batched_calls.c.job_id == run.job_id, batched_calls.c.state.in_(OPEN))
    state = WAITING if connection.execute(calls.limit(1)).first() else "queued"
    connection.execute(update(jobs).where(run.held).values(state=state, executor_id=None))
    append_event(connection, run.job_id, state, {}, now_ms)


def lock(connection: Connection, job_ids: Sequence[str]) -> dict[str, str]:
    """The states of these jobs, which nobody else changes until the transaction is over."""
    query = select(jobs.c.id, jobs.c.state).where(jobs.c.id.in_(job_ids)).order_by(jobs.c.id).with_for_update()
    return {job_id: state for job_id, state in connection.execute(query)}  # noqa: C416 - typed so


def resume(connection: Connection, job_ids: Sequence[str], now_ms: int) -> int:
    """Those of them that wait are in the queue again; how many. The caller has locked them."""
    values: dict[str, Any] = {"state": "queued", "last_event": jobs.c.last_event + 1}
    changed = update(jobs).where(jobs.c.id.in_(job_ids), jobs.c.state == WAITING).values(values)
    rows = connection.execute(changed.returning(jobs.c.id, jobs.c.last_event)).all()
    if rows:
        told = {"at_ms": now_ms, "name": "queued", "data": "{}"}
        connection.execute(insert(job_events), [{"job_id": each[0], "number": each[1], **told} for each in rows])
    return len(rows)


def forgotten(connection: Connection, limit: int) -> Sequence[str]:
    """Jobs that wait and have no call that could still come. There should be none."""
    calls = select(batched_calls.c.job_id).where(batched_calls.c.state.in_(OPEN), batched_calls.c.job_id == jobs.c.id)
    query = select(jobs.c.id).where(jobs.c.state == WAITING, ~calls.exists()).limit(limit)
    return connection.execute(query).scalars().all()


def let_go_of_steps(connection: Connection, job_id: str) -> None:
    """Nothing of the job is under way in a worker: should that die now, nothing was paid that could be paid again."""
    begun = update(job_steps).where(job_steps.c.job_id == job_id, job_steps.c.ended_at_ms.is_(None))
    connection.execute(begun.values(executor_id=None))


def add_cost(connection: Connection, job_id: str, micro_usd: int | None) -> None:
    """What came after the job's end cost something all the same."""
    if micro_usd:
        cost = func.coalesce(jobs.c.cost_micro_usd, 0) + micro_usd
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(cost_micro_usd=cost))
