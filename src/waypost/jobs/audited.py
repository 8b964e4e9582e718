"""What administrators do to jobs, whosever they are: as `jobs.rows` does it, with a line in the audit log.

The invariant: both happen in one transaction, or neither.
"""

from __future__ import annotations

from sqlalchemy import Connection

from waypost.jobs import rows
from waypost.jobs.job import Job
from waypost.ledger.audit import write_line


def cancel(connection: Connection, actor: str, job_id: str, now_ms: int, expires_at_ms: int) -> Job:
    """Ask for its end. Raises UnknownJob, JobHasEnded."""
    before = rows.find(connection, None, job_id)
    after = rows.cancel(connection, None, job_id, now_ms, expires_at_ms)
    _note(connection, actor, now_ms, "job.cancel", before, after)
    return after


def retry(connection: Connection, actor: str, job_id: str, now_ms: int) -> Job:
    """Have it done again. Raises UnknownJob, JobNotEnded, JobHasEnded."""
    before = rows.find(connection, None, job_id)
    after = rows.retry(connection, None, job_id, now_ms)
    _note(connection, actor, now_ms, "job.retry", before, after)
    return after


def remove(connection: Connection, actor: str, job_id: str, now_ms: int) -> None:
    """Delete it. Raises UnknownJob, JobNotEnded."""
    before = rows.find(connection, None, job_id)
    rows.remove(connection, None, job_id)
    _note(connection, actor, now_ms, "job.delete", before, None)


def _note(connection: Connection, actor: str, now_ms: int, action: str, before: Job, after: Job | None) -> None:
    write_line(
        connection, actor, now_ms, action, "job", before.id, _told(before), None if after is None else _told(after)
    )


def _told(job: Job) -> dict[str, str | bool]:
    """What administrators change of a job, and whose it is."""
    asked = job.cancel_requested_at_ms is not None
    return {"project_id": job.project_id, "type": job.type, "state": job.state, "cancel_requested": asked}
