"""Claims about lists of jobs and their numbers, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert
from tests.jobs.made import NOW_MS, make, put

from waypost.jobs import listing
from waypost.jobs.job import CRASHED, Job
from waypost.jobs.listing import JobFilters, list_jobs
from waypost.jobs.numbers import job_numbers
from waypost.ledger.books import now_ms
from waypost.ledger.definitions import UnusableField
from waypost.store.database import Database
from waypost.store.job_tables import executors


def listed(database: Database, filters: JobFilters, limit: int = 3, **more: Any) -> list[str]:
    """The ids of all pages."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        with database.read() as connection:
            page = list_jobs(connection, filters, limit=limit, cursor=cursor, **more)
        found += [row["id"] for row in page.rows]
        cursor = page.cursor
        if cursor is None:
            return found


@pytest.fixture(name="made")
def _made(database: Database) -> list[Job]:
    """Twenty jobs of one project, two of which share each millisecond, and one of another."""
    jobs = [
        make(
            database,
            at_ms=NOW_MS + number // 2,
            type="analyze" if number % 3 else "generate",
            tags={"team": "a" if number % 2 else "b", "a.b/c": "x"},
            batch_id="batch_1" if number >= 15 else None,
            batch_index=20 - number if number >= 15 else None,
        )
        for number in range(20)
    ]
    make(database, "another")
    for number in (4, 5, 6):
        put(database, jobs[number], state="failed", error={"code": CRASHED if number == 5 else "provider_error"})
    return jobs


NUMBERS = range(20)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [*NUMBERS]),
        ({"type": "generate"}, [*NUMBERS][::3]),
        ({"tags": {"team": "a"}}, [*NUMBERS][1::2]),
        ({"tags": {"team": "a", "a.b/c": "x"}}, [*NUMBERS][1::2]),
        ({"tags": {"team": "c"}}, []),
        ({"state": "failed"}, [4, 5, 6]),
        ({"dead": True}, [5]),
        ({"since_ms": NOW_MS + 3, "until_ms": NOW_MS + 5}, [6, 7, 8, 9]),
        ({"batch_id": "batch_1"}, [15, 16, 17, 18, 19]),
    ],
)
def test_pages_give_each_job_that_fits_once_the_newest_first(
    database: Database,
    made: list[Job],
    monkeypatch: pytest.MonkeyPatch,
    filters: dict[str, Any],
    expected: list[int],
) -> None:
    ids = [made[number].id for number in expected]
    newest_first = sorted(ids, key=lambda an_id: (_created(made, an_id), an_id), reverse=True)
    # Those of a batch come in its order, which here is the other way round.
    for window, limit in ((2, 1), (2, 100), (5_000, 1), (5_000, 3)):
        monkeypatch.setattr(listing, "WINDOW", window)
        assert listed(database, JobFilters(project_id="p", **filters), limit) == newest_first
    assert listed(database, JobFilters(project_id="nobody", **filters)) == []


def _created(made: list[Job], an_id: str) -> int:
    return next(job.created_at_ms for job in made if job.id == an_id)


def test_an_administrator_sees_the_jobs_of_all_and_by_state(database: Database, made: list[Job]) -> None:
    assert len(listed(database, JobFilters())) == 21
    assert set(listed(database, JobFilters(state="failed"))) == {made[number].id for number in (4, 5, 6)}
    assert listed(database, JobFilters(dead=True)) == [made[5].id]


def test_where_the_time_is_over_a_page_says_how_far_it_looked_and_the_next_goes_on(
    database: Database, made: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "WINDOW", 4)
    filters = JobFilters(project_id="p", dead=True)
    with database.read() as connection:
        first = list_jobs(connection, filters, budget_s=0.0)
    assert (first.rows, first.searched_to_ms) == ([], NOW_MS + 8)
    assert first.cursor is not None
    assert listed(database, filters, budget_s=0.0) == [made[5].id]


@pytest.mark.parametrize(
    "cursor", ["", "x", "äö", "cC4x", "YS5qb2JfMDA", "cC4tMS5qb2JfMDA", "cC45OTk5OTk5OTk5OTk5OTk5OTk5OTkuam9iXzAw"]
)
def test_a_place_that_is_none_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(UnusableField), database.read() as connection:
        list_jobs(connection, JobFilters(project_id="p"), cursor=cursor)


def test_the_numbers_tell_depth_age_time_in_queue_failures_and_dead_letters(database: Database) -> None:
    for age_ms, kind in ((9_000, "analyze"), (4_000, "analyze"), (1_000, "generate")):
        make(database, at_ms=NOW_MS - age_ms, type=kind)
    make(database, "q", at_ms=NOW_MS - 90_000, not_before_ms=NOW_MS + 60_000)
    for number in range(1, 11):
        job = make(database, at_ms=NOW_MS - 60_000)
        put(database, job, state="succeeded", started_at_ms=NOW_MS - 60_000 + number * 100)
    running = make(database, at_ms=NOW_MS - 60_000, type="generate")
    put(database, running, state="running", started_at_ms=NOW_MS - 58_000)
    for code, ended_ms in ((CRASHED, 7_200_000), ("provider_error", 60_000)):
        job = make(database, at_ms=NOW_MS - 9_000_000)
        put(database, job, state="failed", error={"code": code}, ended_at_ms=NOW_MS - ended_ms)
    with database.write() as connection:
        for name, beat_ms in (("w1", now_ms() - 1_000), ("w2", now_ms() - 120_000)):
            alive = {"host": "h", "pid": 1, "started_at_ms": 1, "beat_at_ms": beat_ms}
            connection.execute(insert(executors).values(id=name, **alive))
    with database.read() as connection:
        numbers = job_numbers(connection, NOW_MS)
    assert numbers == {
        "depth": {"queued": {"analyze": 3, "generate": 1}, "running": {"generate": 1}},
        "oldest_queued_s": 9.0,
        "queue_time_p50_s": 0.6,
        "queue_time_p95_s": 2.0,
        "failed_last_hour": 1,
        "dead": 1,
        "workers": 1,
    }


def test_without_jobs_there_is_nothing_to_tell(database: Database) -> None:
    with database.read() as connection:
        numbers = job_numbers(connection, NOW_MS)
    assert (numbers["oldest_queued_s"], numbers["queue_time_p50_s"], numbers["dead"]) == (None, None, 0)
