"""Two workers, one provider with strict limits: together they never ask for more than it allows, and all is done."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.databases import PostgresServer
from tests.jobs import limited_batch

from waypost.simulator import Simulator
from waypost.store.database import Database
from waypost.store.migrate import upgrade

COUNT, A_MINUTE = 100, 90


@pytest.mark.fault
@pytest.mark.timeout(240)
async def test_two_workers_stay_within_the_limit_and_do_everything_and_the_ledger_says_what_the_batch_says(
    tmp_path: Path, shared_postgres: PostgresServer
) -> None:
    """It takes more than a minute, so that a minute's limit is reached."""
    url = shared_postgres.create()
    database = Database(url)
    try:
        upgrade(database)
        async with Simulator(limited_batch.script(A_MINUTE, None)) as simulator:
            limits = {"requests_per_minute": A_MINUTE}
            done = await asyncio.to_thread(limited_batch.run, tmp_path, simulator, database, COUNT, limits, 180.0)
    finally:
        database.close()
        shared_postgres.drop(url)
    assert done.counts.succeeded == COUNT, done
    assert done.pace.refused == 0, "the provider never had to say that it was too much"
    assert A_MINUTE * 0.8 <= done.pace.most_requests <= A_MINUTE, "and was used for what it allows"
    assert done.faults >= COUNT // 25
    assert done.pace.requests == COUNT + done.faults, "each fault was tried once more"
    assert done.counts.cost_micro_usd == done.ledger_micro_usd
    assert done.ledger_micro_usd > 0
    assert done.possibly_paid_twice == 0
    assert len(done.by_worker) == 2
    assert min(done.by_worker.values()) >= COUNT // 5, "both worked"
