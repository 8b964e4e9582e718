"""Which worker does which job: taken from the queue, taken over from one that died, given back. Worker's side only.

Every function is part of a transaction, and in threads only. The invariant: who does a job is what its row says
(`executor_id` and `runs`), and whoever changes a running job says both in the statement: a process that stood still and
was given up changes nothing when it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, exists, func, select, update

from waypost.jobs.events import append_event
from waypost.jobs.job import Job
from waypost.jobs.rows import COLUMNS
from waypost.store.job_tables import executors, job_events, jobs

RECOVERED: Final = "recovered"


@dataclass(frozen=True, slots=True)
class Run:
    """One worker's hold on one job: the `number`th time that the job was taken from the queue."""

    job_id: str
    number: int
    executor_id: str

    @property
    def held(self) -> ColumnElement[bool]:
        """Is it still this worker's?"""
        return and_(
            jobs.c.id == self.job_id,
            jobs.c.state == "running",
            jobs.c.runs == self.number,
            jobs.c.executor_id == self.executor_id,
        )


class RunLost(Exception):
    """The job is another worker's by now, or has ended."""


def job_of(connection: Connection, run: Run) -> Job:
    """The job. Raises RunLost."""
    row = connection.execute(select(*COLUMNS).where(run.held)).mappings().first()
    if row is None:
        raise RunLost(run.job_id)
    return Job(**row)


def demand(connection: Connection, run: Run) -> None:
    """Nobody else changes the job until the transaction ends. Raises RunLost."""
    # SQLite has one writer at a time, and leaves the lock out.
    if connection.execute(select(jobs.c.id).where(run.held).with_for_update()).first() is None:
        raise RunLost(run.job_id)


def take_over(connection: Connection, run: Run, now_ms: int, live_after_ms: int) -> int:
    """Make a job one's own whose worker is dead; how often it has been taken over in this run, this time included.

    `live_after_ms`: who gave a sign of life since then is alive. Raises RunLost if the job is a living worker's.
    """
    alive = exists().where(executors.c.id == jobs.c.executor_id, executors.c.beat_at_ms >= live_after_ms)
    free = (jobs.c.id == run.job_id, jobs.c.state == "running", jobs.c.runs == run.number, ~alive)
    if connection.execute(update(jobs).where(*free).values(executor_id=run.executor_id)).rowcount != 1:
        raise RunLost(run.job_id)
    times = recoveries(connection, run) + 1
    append_event(connection, run.job_id, RECOVERED, {"run": run.number, "times": times}, now_ms)
    return times


def recoveries(connection: Connection, run: Run) -> int:
    """How often this run was taken over from a worker that died."""
    of = job_events.c
    began = select(func.max(of.number)).where(of.job_id == run.job_id, of.name == "queued").scalar_subquery()
    counted = select(func.count()).where(of.job_id == run.job_id, of.name == RECOVERED, of.number > began)
    return connection.execute(counted).scalar_one()


def put_back(connection: Connection, run: Run, now_ms: int) -> bool:
    """Into the queue, with what its steps gave. False: it is not that worker's."""
    values: dict[str, Any] = {"state": "queued", "executor_id": None}
    if connection.execute(update(jobs).where(run.held).values(**values)).rowcount != 1:
        return False
    append_event(connection, run.job_id, RECOVERED, {"run": run.number}, now_ms)
    return True


def held_by(connection: Connection, executor_ids: Sequence[str]) -> Sequence[Held]:
    """What these workers do, by the database."""
    columns = (jobs.c.id, jobs.c.runs, jobs.c.executor_id, jobs.c.cancel_requested_at_ms)
    # The state comes first, as there is an index for it.
    query = select(*columns).where(jobs.c.state == "running", jobs.c.executor_id.in_(executor_ids))
    return [Held(Run(*row[:3]), row[3] is not None) for row in connection.execute(query)]


@dataclass(frozen=True, slots=True)
class Held:
    """A run, and whether its caller wants it to end."""

    run: Run
    is_cancelled: bool
