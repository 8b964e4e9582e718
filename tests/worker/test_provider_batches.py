"""Claims about batches at the lower price, with real workers, the simulated batch APIs, and both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.jobs.workers import Worker, until, workers
from tests.worker.batched import (
    Wire,
    books,
    counted_micro_usd,
    hand_in,
    has_ended,
    items_of,
    settings_of,
    vendor_batches,
)

from waypost.jobs import provider_batches
from waypost.jobs.batch import Batch
from waypost.simulator import Simulator
from waypost.store.database import Database

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
TEXTS = [f"item {number}" for number in range(7)]
CALLS = ("/v1/messages", "/v1/chat/completions", "/v1/responses")
ECHO = {"rules": [{"reply": {"echo": True}}]}


async def working(worker: Worker, work: Callable[[], None]) -> None:
    """`work` is done in a thread while the worker runs."""

    def run() -> None:
        with workers(worker):
            work()

    await asyncio.to_thread(run)


def until_ended(database: Database, batch: Batch, worker: Worker) -> None:
    until(lambda: has_ended(database, batch), 60, lambda: (items_of(database, batch)[:2], worker.log))


@pytest.mark.parametrize("wire", ["anthropic", "chat", "responses"])
async def test_items_are_answered_by_the_providers_batch_at_half_the_price(
    database: Database, tmp_path: Path, wire: Wire
) -> None:
    async with Simulator(ECHO) as simulator:
        worker = Worker(tmp_path, settings_of(simulator, database, wire))
        batch = hand_in(database, TEXTS)
        await working(worker, lambda: until_ended(database, batch, worker))
        done = items_of(database, batch)
        assert [job.state for job in done] == ["succeeded"] * 7, (done[0], worker.log)
        assert [json.loads(job.result or "")["content"] for job in done] == TEXTS
        asked = [request for request in simulator.requests if request.path in CALLS]
        assert [bool(request.batch_id) for request in asked] == [True] * 7
        cost = sum(job.cost_micro_usd or 0 for job in done)
        assert cost == await asyncio.to_thread(counted_micro_usd, simulator, wire) > 0
        assert len(await asyncio.to_thread(vendor_batches, simulator, wire)) == 1
    told = books(database)
    assert told.outcomes == ["answered"] * 7
    assert (told.cost_micro_usd, told.requests_micro_usd, told.spent_micro_usd) == (cost, cost, cost)
    assert (told.tiers, told.unfinished) == ({"batch"}, 0)
    with database.read() as connection:
        found = provider_batches.of_batch(connection, batch.id)
    assert [(each.state, each.requests, each.trouble) for each in found] == [("over", 7, None)]


@pytest.mark.parametrize("wire", ["anthropic", "chat"])
async def test_killed_between_the_batchs_making_and_its_note_another_worker_goes_on_with_it(
    database: Database, tmp_path: Path, wire: Wire
) -> None:
    """The provider has made one batch, and each item is paid once."""
    async with Simulator(ECHO) as simulator:
        settings = settings_of(simulator, database, wire)
        first = Worker(tmp_path, settings, name="first", module="tests.worker.killed")
        second = Worker(tmp_path, settings, name="second")
        batch = hand_in(database, TEXTS)

        def work() -> None:
            with workers(first):
                until(lambda: first.process_ended, 30, lambda: first.log)
            with database.read() as connection:
                (sent,) = provider_batches.of_batch(connection, batch.id)
            assert (sent.state, sent.vendor_id, sent.requests) == ("sending", None, 7)
            with workers(second):
                until_ended(database, batch, second)

        await asyncio.to_thread(work)
        done = items_of(database, batch)
        assert [json.loads(job.result or "")["content"] for job in done] == TEXTS
        assert [job.possibly_paid_twice for job in done] == [0] * 7
        cost = await asyncio.to_thread(counted_micro_usd, simulator, wire)
        assert sum(job.cost_micro_usd or 0 for job in done) == cost
        assert len(await asyncio.to_thread(vendor_batches, simulator, wire)) == 1
    told = books(database)
    assert (told.outcomes, told.cost_micro_usd, told.unfinished) == (["answered"] * 7, cost, 0)


async def test_a_worker_killed_while_the_provider_works_loses_nothing(database: Database, tmp_path: Path) -> None:
    async with Simulator({**ECHO, "batches": [{"takes_polls": 4}]}) as simulator:
        settings = settings_of(simulator, database, "anthropic")
        first, second = Worker(tmp_path, settings, name="first"), Worker(tmp_path, settings, name="second")
        batch = hand_in(database, TEXTS)

        def polls() -> int:
            return sum(request.path.startswith("/v1/messages/batches/") for request in simulator.requests)

        def work() -> None:
            with workers(first):
                until(lambda: polls() >= 1, 40, lambda: first.log)
                first.kill()
            assert {job.state for job in items_of(database, batch)} == {"waiting"}
            with workers(second):
                until_ended(database, batch, second)

        await asyncio.to_thread(work)
        done = items_of(database, batch)
        assert [json.loads(job.result or "")["content"] for job in done] == TEXTS
        assert len(await asyncio.to_thread(vendor_batches, simulator, "anthropic")) == 1
        assert books(database).outcomes == ["answered"] * 7
