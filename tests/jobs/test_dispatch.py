"""Claims about the queue: fair between projects, in order within one, and as quick with many jobs as with few."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import insert, text
from tests.jobs.workers import ask

from waypost.jobs.dispatch import claim, shares
from waypost.jobs.holding import Run
from waypost.ledger.books import now_ms
from waypost.store.database import Database
from waypost.store.job_tables import jobs
from waypost.store.migrate import upgrade

MANY = 50_000


@pytest.fixture(autouse=True)
def _schema(database: Database) -> None:
    upgrade(database)


def take(database: Database, free: int, executor: str = "one", at_ms: int | None = None) -> list[Run]:
    with database.write() as connection:
        return claim(connection, executor, free, now_ms() if at_ms is None else at_ms)


def ids(runs: Sequence[Run]) -> list[str]:
    return [run.job_id for run in runs]


def test_a_project_with_few_jobs_does_not_wait_behind_one_with_many(database: Database) -> None:
    ask(database, 20, project_id="many")
    few = ask(database, 2, project_id="few")
    taken = take(database, 6)
    assert set(few) <= set(ids(taken))
    assert len(taken) == 6


def test_what_runs_already_counts(database: Database) -> None:
    """A project that fills all room gets no more of what becomes free while another waits."""
    ask(database, 8, project_id="first")
    take(database, 4)
    late = ask(database, 4, project_id="late")
    assert set(ids(take(database, 4))) == set(late)


def test_the_lower_priority_number_goes_first_and_then_the_older_job(database: Database) -> None:
    last, first = sorted(ask(database, 2, priority=7)), sorted(ask(database, 2, priority=1))
    assert ids(take(database, 1)) == first[:1]
    assert ids(take(database, 2)) == [first[1], last[0]]


def test_a_job_waits_until_its_time_and_keeps_no_other_waiting(database: Database) -> None:
    at_ms = now_ms()
    [later] = ask(database, 1, not_before_ms=at_ms + 1_000)
    [now] = ask(database, 1)
    assert ids(take(database, 5, at_ms=at_ms)) == [now]
    assert ids(take(database, 5, at_ms=at_ms + 1_000)) == [later]


def test_two_workers_never_take_one_job(database: Database) -> None:
    made = ask(database, 60)

    def take_all(executor: str) -> list[str]:
        found: list[str] = []
        while some := take(database, 3, executor):
            found += ids(some)
        return found

    with ThreadPoolExecutor(4) as threads:
        taken = [each for found in threads.map(take_all, ["one", "two", "three", "four"]) for each in found]
    assert Counter(taken) == Counter(made)


def test_many_waiting_jobs_make_a_look_no_slower(database: Database) -> None:
    """Fifty thousand: what is taken is found by the index. Compared with a full look at them on the same machine."""
    row: dict[str, Any] = {
        "type": "generate", "state": "queued", "project_id": "p", "key_id": "k", "priority": 5, "request": {},
        "progress_done": 0, "runs": 0, "cost_is_estimate": False, "possibly_paid_twice": 0, "last_event": 0,
        "created_at_ms": 0,
    }  # fmt: skip
    with database.write() as connection:
        connection.execute(insert(jobs), [{**row, "id": f"job_{number:032x}"} for number in range(MANY)])
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE jobs")
    take(database, 1)
    taking_s = min(_timed(lambda: take(database, 4)) for _ in range(5))

    def read_all() -> None:
        with database.read() as connection:
            connection.execute(text("SELECT count(*) FROM jobs WHERE project_id || '' = 'p'")).scalar_one()

    assert taking_s < max(0.02, min(_timed(read_all) for _ in range(5)) * 3)


def _timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@pytest.mark.parametrize(
    ("running", "free", "given"),
    [
        ({}, 4, {"a": 2, "b": 2}),
        ({"a": 2}, 4, {"a": 1, "b": 3}),
        ({"a": 9}, 4, {"b": 4}),
        ({}, 0, {}),
    ],
)
def test_room_goes_to_whoever_has_the_fewest(running: dict[str, int], free: int, given: dict[str, int]) -> None:
    assert shares(["a", "b"], running, free) == given
