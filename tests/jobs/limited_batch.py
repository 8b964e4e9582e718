"""A batch of documents that two worker processes do before a provider with strict limits and with faults.

For a test with some documents and for a benchmark with a thousand. Everything is real but the provider, which counts
for itself what came within any minute.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func, select
from tests.jobs.workers import Worker, until, worker_settings, workers

from waypost.jobs import batch_changes, batch_items, batches
from waypost.jobs.batch import Batch, BatchRequest, Counts, Item, NewBatch
from waypost.jobs.job import Input
from waypost.ledger.books import now_ms
from waypost.simulator import Simulator
from waypost.simulator.limiter import SeenPace
from waypost.store.database import Database
from waypost.store.job_tables import jobs
from waypost.store.tables import attempts, requests

DAYS: Final = 30
CHUNK: Final = 500
FAULTS: Final = (
    {"every": 30, "fault": {"status": 500}},
    {"every": 60, "fault": {"reset_before_headers": True}},
    {"every": 120, "fault": {"status": 503, "retry_after_s": 1}},
)
"""A little more than one request in twenty, all together."""
REVIEW: Final = (
    "Review {number}. The room was quiet and the breakfast was very good, but the lift did not work and nobody at the "
    "desk could say when it would. We would come again if that were mended."
)

ANSWER: Final = {
    "themes": ["a broken lift", "a good breakfast"],
    "topics": ["hotels"],
    "sentiment": {"label": "mixed", "score": 0.2},
    "quality": {"score": 70, "reasons": ["It is clear."]},
    "suggestions": [{"text": "Say when the lift was mended.", "quote": "the lift did not work"}],
    "language": "en",
}


def script(requests_per_minute: int | None, tokens_per_minute: int | None) -> dict[str, Any]:
    """What the provider does."""
    limits = {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute}
    return {
        "rules": [*FAULTS, {"reply": {"text": json.dumps(ANSWER)}}],
        "pacing": {"first_token_s": 0.05},
        "limits": {name: limit for name, limit in limits.items() if limit is not None},
    }


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it. Costs are in micro-dollars; `ledger` is what the request log has of all calls."""

    counts: Counts
    seconds: float
    pace: SeenPace
    faults: int
    ledger_micro_usd: int
    calls: int
    possibly_paid_twice: int
    by_worker: Mapping[str, int]


def run(
    folder: Path, simulator: Simulator, database: Database, count: int, limits: Mapping[str, int], within_s: float
) -> Done:
    """Do so many documents. Blocks; the simulator runs in another thread."""
    settings = worker_settings(simulator, database)
    settings["providers"]["simulated"] |= dict(limits)
    settings["routes"]["default"].pop("policy")
    batch = _batch(database, count)
    both = [Worker(folder, settings, data=f"machine-{number}", name=f"worker-{number}") for number in (1, 2)]
    began = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(workers(*both))

        def has_ended() -> bool:
            with database.read() as connection:
                return batches.find(connection, None, batch.id).has_ended

        until(has_ended, within_s, lambda: "\n".join(worker.log[-2_000:] for worker in both))
        seconds = time.monotonic() - began
        until(lambda: _written(database) >= count, 60)
        for worker in both:
            worker.stop()
    return _done(database, simulator, batch, seconds)


def _batch(database: Database, count: int) -> Batch:
    with database.write() as connection:
        new = NewBatch("local", "local", BatchRequest("analyze", {"kinds": ["analysis"]}))
        batch = batches.create(connection, database, new, now_ms()).batch
    for begin in range(0, count, CHUNK):
        items = [
            Item(number, Input(REVIEW.format(number=number).encode()))
            for number in range(begin, min(count, begin + CHUNK))
        ]
        with database.write() as connection:
            batch_items.add(connection, database, batch, items, now_ms(), DAYS)
    with database.write() as connection:
        return batch_changes.close(connection, None, batch.id, now_ms(), DAYS)


def _written(database: Database) -> int:
    """Requests that the log has: journals are drained soon after, not at once."""
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(requests)) or 0


def _done(database: Database, simulator: Simulator, batch: Batch, seconds: float) -> Done:
    with database.read() as connection:
        by_worker = select(jobs.c.executor_id, func.count()).where(jobs.c.batch_id == batch.id)
        paid_twice = select(func.sum(jobs.c.possibly_paid_twice)).where(jobs.c.batch_id == batch.id)
        return Done(
            batches.counts(connection, batch.id),
            seconds,
            simulator.paces[0],
            sum(request.fault not in (None, "named_error") for request in simulator.requests),
            int(connection.scalar(select(func.sum(requests.c.cost_micro_usd))) or 0),
            connection.scalar(select(func.count()).select_from(attempts)) or 0,
            int(connection.scalar(paid_twice) or 0),
            {str(each[0]): each[1] for each in connection.execute(by_worker.group_by(jobs.c.executor_id))},
        )
