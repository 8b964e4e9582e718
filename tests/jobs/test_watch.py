"""Claims about waiting for what happens to jobs, on both databases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, event

from waypost.errors import UnknownJob
from waypost.jobs import rows
from waypost.jobs.events import append_event
from waypost.jobs.job import Job, NewJob
from waypost.jobs.watch import JobWatch
from waypost.ledger.threads import DatabaseThreads, ResultT, Work
from waypost.store.database import Database

NOW_MS = 1_800_000_000_000


@pytest.fixture
def threads(database: Database) -> Iterator[DatabaseThreads]:
    made = DatabaseThreads(lambda: database)
    yield made
    made.close()


def make(database: Database) -> Job:
    with database.write() as connection:
        return rows.create(connection, database, NewJob("analyze", "p", "k", {}), NOW_MS).job


def tell(database: Database, job: Job, name: str) -> None:
    with database.write() as connection:
        append_event(connection, job.id, name, {}, NOW_MS)


def count_statements(database: Database) -> Callable[[], int]:
    told: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().startswith("SELECT"):
            told.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    return lambda: len(told)


async def test_what_happened_before_is_told_at_once_and_what_comes_as_it_comes(
    database: Database, threads: DatabaseThreads
) -> None:
    job, watch = make(database), JobWatch(threads, poll_s=0.02)
    assert [each.name for each in await watch.wait(job.id, 0, 10)] == ["queued"]
    waiting = asyncio.create_task(watch.wait(job.id, 1, 10))
    await asyncio.sleep(0)
    await asyncio.to_thread(tell, database, job, "started")
    assert [(each.number, each.name) for each in await waiting] == [(2, "started")]


class CountedReads(DatabaseThreads):
    """Counts what is asked for. A statement of the last look may still run in its thread when nobody waits any more."""

    count = 0

    async def read(self, work: Work[ResultT]) -> ResultT:
        self.count += 1
        return await super().read(work)


async def test_nothing_is_told_when_the_time_is_over_and_nobody_looks_afterwards(database: Database) -> None:
    threads = CountedReads(lambda: database)
    job, watch = make(database), JobWatch(threads, poll_s=0.01)
    assert await watch.wait(job.id, 1, 0.1) == []
    looked = threads.count
    await asyncio.sleep(0.1)
    assert threads.count == looked > 0
    threads.close()


async def test_a_thousand_who_wait_cost_one_query_a_look_and_each_gets_its_own(
    database: Database, threads: DatabaseThreads
) -> None:
    watched = [make(database) for _ in range(1_000)]
    watch = JobWatch(threads, poll_s=0.25)
    waiting = [asyncio.create_task(watch.wait(job.id, 1, 30)) for job in watched]
    looks = count_statements(database)
    began = time.monotonic()
    await asyncio.sleep(1.0)
    assert 0 < looks() <= (time.monotonic() - began) / 0.25 + 1
    for number in (3, 500):
        await asyncio.to_thread(tell, database, watched[number], f"mine-{number}")
        assert [each.name for each in await waiting[number]] == [f"mine-{number}"]
    assert sum(each.done() for each in waiting) == 2
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_waits_anew_again_and_again_does_not_look_more_often(
    database: Database, threads: DatabaseThreads
) -> None:
    job, watch = make(database), JobWatch(threads, poll_s=0.25)
    looks = count_statements(database)
    began = time.monotonic()
    for _ in range(50):
        await watch.wait(job.id, 1, 0.01)
    assert looks() <= (time.monotonic() - began) / 0.25 + 1


async def test_two_who_read_the_same_job_at_different_places_each_get_what_they_lack(
    database: Database, threads: DatabaseThreads
) -> None:
    job, watch = make(database), JobWatch(threads, poll_s=0.02)
    tell(database, job, "started")
    early, late = asyncio.create_task(watch.wait(job.id, 0, 10)), asyncio.create_task(watch.wait(job.id, 2, 10))
    assert [each.number for each in await early] == [1, 2]
    await asyncio.to_thread(tell, database, job, "progress")
    assert [each.number for each in await late] == [3]


async def test_a_job_that_is_deleted_while_it_is_watched_is_unknown(
    database: Database, threads: DatabaseThreads
) -> None:
    job, watch = make(database), JobWatch(threads, poll_s=0.02)
    waiting = asyncio.create_task(watch.wait(job.id, 1, 10))
    await asyncio.sleep(0.05)

    def remove(connection: Connection) -> None:
        rows.cancel(connection, "p", job.id, NOW_MS)
        rows.remove(connection, "p", job.id)

    # The cancellation's event may come first; then its reader looks again.
    with database.write() as connection:
        remove(connection)
    with pytest.raises(UnknownJob):
        await waiting


async def test_an_outage_of_the_database_is_waited_for(database: Database) -> None:
    job, away = make(database), True

    def open_database() -> Database:
        if away:
            raise ConnectionError
        return database

    threads = DatabaseThreads(open_database)
    watch = JobWatch(threads, poll_s=0.02)
    waiting = asyncio.create_task(watch.wait(job.id, 0, 20))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    away = False
    assert [each.name for each in await waiting] == ["queued"]
    threads.close()
