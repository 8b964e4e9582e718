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
_WAITING: Final = """
    WITH RECURSIVE waiting(project_id) AS (
        SELECT (SELECT project_id FROM jobs {index} WHERE state = 'queued' ORDER BY project_id LIMIT 1)
        UNION ALL
        SELECT (
            SELECT project_id FROM jobs {index} WHERE state = 'queued' AND project_id > waiting.project_id
            ORDER BY project_id LIMIT 1
        )
        FROM waiting WHERE waiting.project_id IS NOT NULL
    )
    SELECT project_id FROM waiting WHERE project_id IS NOT NULL
    """
"""From one project to the next by the index, past all jobs of each. SQLite would rather sort all that wait."""
_WAITING_IN: Final = {
    "sqlite": text(_WAITING.format(index="INDEXED BY ix_jobs_queued")),
    "postgresql": text(_WAITING.format(index="")),
}


def waiting_projects(connection: Connection) -> Sequence[str]:
    """Projects that have a job in the queue."""
    return connection.execute(_WAITING_IN[connection.dialect.name]).scalars().all()


def running_counts(connection: Connection) -> Mapping[str, int]:
    """How many jobs of each project are under way, in all workers."""
    query = select(jobs.c.project_id, func.count()).where(jobs.c.state == "running").group_by(jobs.c.project_id)
    return {project_id: count for project_id, count in connection.execute(query)}  # noqa: C416 - typed so


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
    # Two statements: PostgreSQL may run a subquery with a limit several times over, and take more than that.
    job_ids = connection.execute(_next(project_id, count, now_ms)).scalars().all()
    values: dict[str, Any] = {"state": "running", "executor_id": executor_id, "started_at_ms": now_ms}
    # Not `state` itself: SQLite would go through the index of all that wait.
    still = jobs.c.state.concat("") == "queued"
    taking = update(jobs).where(jobs.c.id.in_(job_ids), still).values(runs=jobs.c.runs + 1, **values)
    taken = connection.execute(taking.returning(jobs.c.id, jobs.c.runs)) if job_ids else ()
    runs = sorted(
        (Run(job_id, number, executor_id) for job_id, number in taken), key=lambda run: job_ids.index(run.job_id)
    )
    for run in runs:
        append_event(connection, run.job_id, "running", {"run": run.number}, now_ms)
    return runs


def _next(project_id: str, count: int, now_ms: int) -> Select[tuple[str]]:
    due = or_(jobs.c.not_before_ms.is_(None), jobs.c.not_before_ms <= now_ms)
    query = select(jobs.c.id).where(QUEUED, jobs.c.project_id == project_id, due)
    # Jobs that another worker is taking at this moment are passed over; SQLite has one writer at a time.
    return query.order_by(jobs.c.priority, jobs.c.id).limit(count).with_for_update(skip_locked=True)
