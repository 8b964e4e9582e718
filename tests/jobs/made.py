"""Jobs in a database, for tests: made, and put into whatever state a test is about."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update

from waypost.jobs import rows
from waypost.jobs.job import Job, NewJob
from waypost.store.database import Database
from waypost.store.job_tables import jobs

NOW_MS = 1_800_000_000_000


def make(database: Database, project: str = "p", *, at_ms: int = NOW_MS, **more: Any) -> Job:
    """A new job of that project."""
    new = NewJob(**{"type": "analyze", "project_id": project, "key_id": "k", "request": {}, **more})
    with database.write() as connection:
        return rows.create(connection, database, new, at_ms).job


def put(database: Database, job: Job, **values: Any) -> None:
    """Write these columns of the job, as a worker would."""
    with database.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(values))
