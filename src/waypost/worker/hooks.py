"""Who is told of a job's end, in the transaction that ends it, and what is looked at now and then: a line for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from waypost.jobs.batch_changes import SLICE, finish_if_done, look
from waypost.jobs.job import Job
from waypost.jobs.messages import tell_end
from waypost.jobs.progress import OnEnd
from waypost.jobs.waiting import forgotten, lock, resume
from waypost.jobs.working import Audit
from waypost.ledger.books import now_ms
from waypost.store.database import Database

if TYPE_CHECKING:
    from waypost.worker.app import WorkerApplication


def hooks(application: WorkerApplication) -> Sequence[OnEnd]:
    """In this order."""
    days = application.settings.jobs.days

    def end_batch(connection: Connection, job: Job) -> None:
        if job.batch_id is not None:
            finish_if_done(connection, job.batch_id, now_ms(), days)

    return (tell_end, end_batch)


def audits(application: WorkerApplication) -> Sequence[Audit]:
    """What is put right of what should not be, twice a minute, by every worker."""
    days = application.settings.jobs.days

    def end_batches(database: Database) -> None:
        look(database, now_ms(), days)

    def resume_forgotten(database: Database) -> None:
        with database.read() as connection:
            ids = forgotten(connection, SLICE)
        if ids:
            with database.write() as connection:
                lock(connection, ids)
                # Looked at again: now that nobody changes them.
                left = set(forgotten(connection, SLICE))
                resume(connection, [job_id for job_id in ids if job_id in left], now_ms())

    return (end_batches, resume_forgotten)
