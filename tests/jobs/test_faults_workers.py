"""Whatever is killed, no job is lost, no finished step is done again, and what may be paid twice is said to be."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update
from tests.databases import PostgresServer
from tests.jobs.workers import Worker, all_jobs, ask, states, until, worker_settings, workers

from waypost.jobs import rows
from waypost.jobs.events import events_after
from waypost.ledger.books import now_ms
from waypost.simulator import Simulator
from waypost.store.database import Database
from waypost.store.job_tables import job_steps, jobs
from waypost.store.migrate import upgrade

pytestmark = [pytest.mark.fault, pytest.mark.timeout(150)]
SCRIPT = {"rules": [{"reply": {"text": "one two three"}}], "pacing": {"first_token_s": 0.4}}
STEPS = 3
DONE_S = 60.0


async def played(scenario: Callable[[], None]) -> None:
    """In a thread, as the simulator answers in this one."""
    await asyncio.to_thread(scenario)


def ask_steps(database: Database, count: int, steps: int = STEPS) -> list[str]:
    """Jobs of several steps."""
    made = []
    for number in range(count):
        made += ask(database, 1, type="steps", request={"prompt": f"job {number}", "steps": steps})
    return made


def pair(folder: Path, simulator: Simulator, database: Database, **jobs_settings: Any) -> tuple[Worker, Worker]:
    """Two workers; those on PostgreSQL are on two machines, as far as they know."""
    settings = worker_settings(simulator, database, **jobs_settings)
    others = "data" if database.is_sqlite else "other-data"
    return Worker(folder, settings, name="one"), Worker(folder, settings, others, name="two")


def freeze(worker: Worker, database: Database) -> None:
    """Stop it where it does not keep all others from writing, as it would at an SQLite file."""
    while True:
        worker.freeze()
        if not database.is_sqlite:
            return
        with closing(sqlite3.connect(str(database.url.database), timeout=0.2)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                worker.send(signal.SIGCONT)
                # Stopped again at once, it would hardly come to the end of its transaction.
                time.sleep(0.05)
            else:
                return


def all_done(database: Database) -> Callable[[], bool]:
    return lambda: set(states(database)) == {"succeeded"}


def check(database: Database, simulator: Simulator, count: int, steps: int = STEPS) -> int:
    """The claim of this module; how many calls may have been paid twice."""
    done = all_jobs(database)
    assert len(done) == count
    assert {job.state for job in done} == {"succeeded"}
    assert {job.result for job in done} == {msgspec.json.encode(["one two three"] * steps).decode()}
    asked = Counter(each.body["messages"][0]["content"] for each in simulator.requests)
    assert set(asked) == {f"job {number} step {step}" for number in range(count) for step in range(steps)}
    with database.read() as connection:
        begun = connection.execute(select(job_steps)).all()
    assert all(row.ended_at_ms is not None for row in begun)
    possibly = sum(job.possibly_paid_twice for job in done)
    # A call that was written down, and killed before it was sent, counts too: nobody can know that it was not.
    assert sum(asked.values()) - len(asked) <= possibly
    assert sum(row.begun for row in begun) - len(begun) == possibly
    return possibly


def holds_none(database: Database, executor: str) -> Callable[[], bool]:
    """Has nobody of that name a job any more?"""

    def is_so() -> bool:
        return all(job.executor_id != executor for job in all_jobs(database) if job.state == "running")

    return is_so


def executor_of(worker: Worker) -> str:
    """Its name, as it said it last."""
    return [line.split()[0] for line in worker.log.splitlines() if line.endswith("takes jobs")][-1]


def under_way(database: Database, worker: Worker, at_least: int) -> Callable[[], bool]:
    executor = executor_of(worker)
    return lambda: (
        sum(job.executor_id == executor for job in all_jobs(database) if job.state == "running") >= at_least
        and any(job.progress_done for job in all_jobs(database) if job.executor_id == executor)
    )


@pytest.mark.parametrize("how", ["kill", "terminate", "freeze"])
async def test_a_worker_that_goes_is_taken_over_from(tmp_path: Path, database: Database, how: str) -> None:
    """Within ten seconds; its calls in flight, and only those, may be paid twice. One that wakes changes nothing."""
    async with Simulator(SCRIPT) as simulator:
        one, two = pair(tmp_path, simulator, database, concurrency=4)

        def scenario() -> None:
            with workers(one, two):
                ask_steps(database, 16)
                until(under_way(database, one, 3), DONE_S, lambda: one.log)
                gone = executor_of(one)
                ways: dict[str, Callable[[], None]] = {"kill": one.kill, "terminate": one.stop}
                ways.get(how, lambda: freeze(one, database))()
                taken_over_s = until(holds_none(database, gone), 20.0, lambda: (all_jobs(database), two.log))
                if how == "freeze":
                    one.send(signal.SIGCONT)
                until(all_done(database), DONE_S, lambda: (all_jobs(database), one.log, two.log))
                one.stop()
                two.stop()
                assert taken_over_s < 10.0

        await played(scenario)
        possibly = check(database, simulator, 16)
        assert possibly <= 4
        if how == "terminate":
            # Calls under way came to their end first.
            assert possibly == 0


async def test_a_worker_that_is_started_anew_goes_on_at_once(tmp_path: Path, database: Database) -> None:
    """On one machine it is known at once that a process is dead."""
    async with Simulator(SCRIPT) as simulator:
        worker = Worker(tmp_path, worker_settings(simulator, database, concurrency=4))

        def scenario() -> None:
            with workers(worker):
                ask_steps(database, 4)
                until(under_way(database, worker, 3), DONE_S, lambda: worker.log)
                gone = executor_of(worker)
                worker.kill()
                worker.start()
                taken_over_s = until(holds_none(database, gone), 20.0, lambda: worker.log)
                until(all_done(database), DONE_S, lambda: (all_jobs(database), worker.log))
                worker.stop()
                assert taken_over_s < 6.0

        await played(scenario)
        assert check(database, simulator, 4) <= 4


async def test_a_database_that_is_away_for_longer_than_a_lease_stops_nothing(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """Twelve seconds: both workers wait, nobody is taken over from, and no call is made twice."""
    database = Database(postgres.create())
    upgrade(database)
    async with Simulator(SCRIPT) as simulator:
        one, two = pair(tmp_path, simulator, database, concurrency=4)

        def scenario() -> None:
            with workers(one, two):
                ask_steps(database, 16)
                until(under_way(database, one, 3), DONE_S, lambda: one.log)
                postgres.stop()
                time.sleep(12.0)
                postgres.start()
                until(all_done_again(database), DONE_S, lambda: (one.log, two.log))
                one.stop()
                two.stop()

        await played(scenario)
        assert check(database, simulator, 16) == 0
    database.close()


def all_done_again(database: Database) -> Callable[[], bool]:
    """As `all_done`, over connections that may have been broken."""
    database.engine.dispose()
    return all_done(database)


async def test_a_job_that_kills_its_worker_is_given_up_and_takes_no_other_along(
    tmp_path: Path, database: Database
) -> None:
    async with Simulator({**SCRIPT, "pacing": {"first_token_s": 6.0}}) as simulator:
        worker = Worker(tmp_path, worker_settings(simulator, database, concurrency=3))

        def scenario() -> None:
            with workers(worker):
                innocent = ask(database, 1)
                [poison] = ask(database, 1, type="poison")
                end = time.monotonic() + 60
                while set(states(database)) & {"queued", "running"}:
                    assert time.monotonic() < end, (all_jobs(database), worker.log)
                    if worker.process_ended:
                        worker.start()
                    time.sleep(0.05)
                worker.stop()
                found = {job.id: job for job in all_jobs(database)}
                assert found[poison].state == "failed"
                assert (found[poison].error or {})["code"] == "job_crashed_its_worker"
                assert found[innocent[0]].state == "succeeded", found[innocent[0]]

        await played(scenario)


async def test_a_running_call_stops_within_two_seconds_of_its_cancellation(tmp_path: Path, database: Database) -> None:
    async with Simulator({**SCRIPT, "pacing": {"first_token_s": 60.0}}) as simulator:
        worker = Worker(tmp_path, worker_settings(simulator, database))

        def scenario() -> None:
            with workers(worker):
                [job_id] = ask(database, 1)
                until(lambda: len(simulator.requests) == 1, 20.0, lambda: worker.log)
                with database.write() as connection:
                    rows.cancel(connection, None, job_id, now_ms())
                assert until(lambda: states(database) == ["cancelled"], 5.0, lambda: worker.log) < 2.0
                worker.stop()
                with database.read() as connection:
                    told = [each.name for each in events_after(connection, job_id, 0)]
                assert told == ["queued", "running", "cancelled"]

        await played(scenario)
        ended = await asyncio.wait_for(simulator.request(1), 5.0)
        assert ended.duration_ms is not None
        assert ended.duration_ms < 10_000


async def test_a_retry_keeps_what_was_done(tmp_path: Path, database: Database) -> None:
    """The second step fails the first time; the retry asks for it alone."""
    script = {
        "rules": [
            {"match": {"contains": "step 1"}, "times": 1, "fault": {"status": 400}},
            {"reply": {"text": "one two three"}},
        ]
    }
    async with Simulator(script) as simulator:
        worker = Worker(tmp_path, worker_settings(simulator, database))

        def scenario() -> None:
            with workers(worker):
                [job_id] = ask_steps(database, 1)
                until(lambda: states(database) == ["failed"], 20.0, lambda: (all_jobs(database), worker.log))
                with database.write() as connection:
                    rows.retry(connection, None, job_id, now_ms())
                until(all_done(database), 20.0, lambda: (all_jobs(database), worker.log))
                worker.stop()

        await played(scenario)
    [job] = all_jobs(database)
    assert job.runs == 2
    assert job.possibly_paid_twice == 0
    asked = Counter(each.body["messages"][0]["content"] for each in simulator.requests)
    assert asked == {"job 0 step 0": 1, "job 0 step 1": 2, "job 0 step 2": 1}


async def test_a_job_that_was_taken_and_never_begun_is_done(tmp_path: Path, database: Database) -> None:
    """Its worker died between the two: there is no other sign of it but the row."""
    async with Simulator(SCRIPT) as simulator:
        worker = Worker(tmp_path, worker_settings(simulator, database))

        def scenario() -> None:
            ask(database, 1)
            with database.write() as connection:
                connection.execute(update(jobs).values(state="running", runs=1, executor_id="nobody-1-abc"))
            with workers(worker):
                until(all_done(database), 20.0, lambda: (all_jobs(database), worker.log))
                worker.stop()

        await played(scenario)
    assert len(simulator.requests) == 1
