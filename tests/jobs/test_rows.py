"""Claims about jobs in the database: made once, seen by their project only, and ended once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, func, select, update

from waypost.errors import IdempotencyConflict, JobHasEnded, JobNotEnded, UnknownJob
from waypost.jobs import rows
from waypost.jobs.events import events_after
from waypost.jobs.job import Input, Job, NewJob
from waypost.store.database import Database
from waypost.store.job_tables import jobs
from waypost.store.migrate import upgrade

NOW_MS = 1_800_000_000_000


@pytest.fixture(autouse=True)
def _schema(database: Database) -> None:
    upgrade(database)


def new(idempotency: str | None = None, text: str = "a text") -> NewJob:
    return NewJob("analyze", "p", "k", {"kinds": ["analysis"]}, Input(text.encode()), idempotency=idempotency)


def make(database: Database, asked: NewJob) -> rows.Created:
    with database.write() as connection:
        return rows.create(connection, database, asked, NOW_MS)


def put(database: Database, job: Job, state: str) -> None:
    with database.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job.id).values(state=state))


def test_a_job_is_there_with_its_content_once_it_is_made(database: Database) -> None:
    job = make(database, new()).job
    with database.read() as connection:
        assert rows.find(connection, "p", job.id) == job
        assert rows.input_of(connection, job.id) == Input(b"a text")
        assert [(each.number, each.name) for each in events_after(connection, job.id, 0)] == [(1, "queued")]
    assert (job.state, job.runs, job.last_event) == ("queued", 0, 1)


def test_the_same_key_gives_the_first_job_and_another_request_is_refused(database: Database) -> None:
    first = make(database, new("once"))
    again = make(database, new("once"))
    assert first.is_new
    assert not again.is_new
    assert again.job == first.job
    with pytest.raises(IdempotencyConflict):
        make(database, new("once", "another text"))
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(jobs)) == 1


def test_another_project_does_not_see_it(database: Database) -> None:
    job = make(database, new()).job
    attempts: list[Callable[[Connection], object]] = [
        lambda connection: rows.find(connection, "q", job.id),
        lambda connection: rows.cancel(connection, "q", job.id, NOW_MS),
        lambda connection: rows.remove(connection, "q", job.id),
    ]
    for attempt in attempts:
        with pytest.raises(UnknownJob), database.write() as connection:
            attempt(connection)
    with database.read() as connection:
        assert rows.find(connection, "p", job.id) == job


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_is_asked_to_end(database: Database) -> None:
    queued, running = make(database, new()).job, make(database, new()).job
    put(database, running, "running")
    with database.write() as connection:
        assert rows.cancel(connection, "p", queued.id, NOW_MS).state == "cancelled"
        asked = rows.cancel(connection, "p", running.id, NOW_MS)
    assert (asked.state, asked.cancel_requested_at_ms) == ("running", NOW_MS)


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_a_job_that_has_ended_is_not_cancelled(database: Database, state: str) -> None:
    job = make(database, new()).job
    put(database, job, state)
    with pytest.raises(JobHasEnded), database.write() as connection:
        rows.cancel(connection, "p", job.id, NOW_MS)


def test_only_what_has_ended_is_retried_or_deleted(database: Database) -> None:
    job = make(database, new()).job
    for state in ("queued", "running"):
        put(database, job, state)
        for act in (
            lambda connection: rows.retry(connection, "p", job.id, NOW_MS),
            lambda connection: rows.remove(connection, "p", job.id),
        ):
            with pytest.raises(JobNotEnded), database.write() as connection:
                act(connection)
    put(database, job, "succeeded")
    with pytest.raises(JobHasEnded), database.write() as connection:
        rows.retry(connection, "p", job.id, NOW_MS)
    put(database, job, "failed")
    with database.write() as connection:
        assert rows.retry(connection, "p", job.id, NOW_MS).state == "queued"


def test_a_deleted_job_leaves_nothing(database: Database) -> None:
    job = make(database, new()).job
    put(database, job, "failed")
    with database.write() as connection:
        rows.remove(connection, "p", job.id)
    with database.read() as connection:
        for table in (jobs, *rows.PARTS):
            assert connection.scalar(select(func.count()).select_from(table)) == 0
