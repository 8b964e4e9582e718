"""Which job is next: taken from the queue by a worker that has room, fairly between projects. Parts of transactions.

Each project has the same share of all workers' room, and no more than it has use for; within a project the lower
priority number goes first, then the older job. The invariant: two workers never take one job. Nothing here takes longer
because many jobs wait: each query reads as many entries of the index as there are projects, or jobs to be taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, func, or_, select, text, update
from sqlalchemy.sql.elements import ColumnElement

from waypost.jobs.events import append_event
from waypost.jobs.holding import Run
from waypost.store.job_tables import jobs

QUEUED: Final[ColumnElement[bool]] = text("jobs.state = 'queued'")  # type: ignore[assignment]
"""Written out, since neither database uses the partial index for a value that it is given later."""
_WAITING: Final = text(
    """
    WITH RECURSIVE waiting(project_id) AS (
        SELECT min(project_id) FROM jobs WHERE state = 'queued'
        UNION ALL
        SELECT (SELECT min(project_id) FROM jobs WHERE state = 'queued' AND project_id > waiting.project_id)
        FROM waiting WHERE waiting.project_id IS NOT NULL
    )
    SELECT project_id FROM waiting WHERE project_id IS NOT NULL
    """
)
"""From one project to the next by the index, past all jobs of each."""


def waiting_projects(connection: Connection) -> Sequence[str]:
    """Projects that have a job in the queue."""
    return connection.execute(_WAITING).scalars().all()


def running_counts(connection: Connection) -> Mapping[str, int]:
    """How many jobs of each project are under way, in all workers."""
    query = select(jobs.c.project_id, func.count()).where(jobs.c.state == "running").group_by(jobs.c.project_id)
    return dict(connection.execute(query).tuples().all())


def shares(projects: Sequence[str], running: Mapping[str, int], free: int) -> Mapping[str, int]:
    """How many jobs of each project are to be begun: those that have the fewest under way come first."""
    counts, given = {project: running.get(project, 0) for project in projects}, Counter[str]()
    for _ in range(free if projects else 0):
        fewest = min(counts, key=counts.__getitem__)
        counts[fewest] += 1
        given[fewest] += 1
    return given


def claim(connection: Connection, executor_id: str, free: int, now_ms: int) -> list[Run]:
    """Take as many jobs as there is room for; they are this worker's from now on."""
    taken: list[Run] = []
    projects, running = list(waiting_projects(connection)), Counter(running_counts(connection))
    while projects and len(taken) < free:
        given = shares(projects, running, free - len(taken))
        for project_id, count in given.items():
            runs = _take(connection, project_id, executor_id, count, now_ms)
            taken += runs
            running[project_id] += len(runs)
            if len(runs) < count:
                # It has no more that may begin now: the others share what is left.
                projects.remove(project_id)
    return taken


def _take(connection: Connection, project_id: str, executor_id: str, count: int, now_ms: int) -> list[Run]:
    values: dict[str, Any] = {"state": "running", "executor_id": executor_id, "started_at_ms": now_ms}
    chosen = jobs.c.id.in_(_next(project_id, count, now_ms).scalar_subquery())
    taken = update(jobs).where(chosen, QUEUED).values(runs=jobs.c.runs + 1, **values)
    taking = taken.returning(jobs.c.id, jobs.c.runs)
    runs = [Run(job_id, number, executor_id) for job_id, number in connection.execute(taking)]
    for run in runs:
        append_event(connection, run.job_id, "running", {"run": run.number}, now_ms)
    return sorted(runs, key=lambda run: run.job_id)


def _next(project_id: str, count: int, now_ms: int) -> Select[tuple[str]]:
    due = or_(jobs.c.not_before_ms.is_(None), jobs.c.not_before_ms <= now_ms)
    query = select(jobs.c.id).where(QUEUED, jobs.c.project_id == project_id, due)
    # Jobs that another worker is taking at this moment are passed over; SQLite has one writer at a time.
    return query.order_by(jobs.c.priority, jobs.c.id).limit(count).with_for_update(skip_locked=True)
