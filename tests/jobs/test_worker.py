"""Claims about a worker process: what was asked for is done, once, and told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.jobs.workers import Worker, all_jobs, ask, states, until, worker_settings, workers

from waypost.jobs.events import events_after
from waypost.simulator import Simulator
from waypost.store.database import Database

pytestmark = pytest.mark.process

SCRIPT = {"rules": [{"reply": {"text": "one two three"}}]}


async def test_a_job_is_done_and_told_with_its_cost(tmp_path: Path, database: Database) -> None:
    async with Simulator(SCRIPT) as simulator:
        worker = Worker(tmp_path, worker_settings(simulator, database))
        with workers(worker):
            await _do(database, worker)
            worker.stop()
            assert worker.process is not None
            assert worker.process.returncode == 0, worker.log
    job = all_jobs(database)[0]
    assert job.state == "succeeded", job
    assert msgspec.json.decode(job.result or "")["content"] == "one two three"
    assert job.provider == "simulated"
    assert job.cost_micro_usd is not None
    assert job.cost_micro_usd > 0
    assert len(simulator.requests) == 1
    with database.read() as connection:
        assert [each.name for each in events_after(connection, job.id, 0)] == ["queued", "running", "succeeded"]


async def _do(database: Database, worker: Worker) -> None:
    import asyncio

    def work() -> None:
        ask(database)
        until(lambda: states(database) == ["succeeded"], 20, lambda: (all_jobs(database), worker.log))

    await asyncio.to_thread(work)
