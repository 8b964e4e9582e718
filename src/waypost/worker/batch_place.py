"""What providers' batches are done with, and by which times. Values, and the few things that all of it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from waypost.gateway.gateway import Gateway
from waypost.jobs import batched_calls
from waypost.jobs import provider_batches as rows
from waypost.jobs.batched_calls import EndingOf
from waypost.jobs.patience import PatientDatabase
from waypost.jobs.provider_batches import ProviderBatch
from waypost.ledger.books import now_ms
from waypost.store.lazy import LazyDatabase
from waypost.worker.calls import JobCalls

SLICE: Final = 100
"""Calls in one transaction that ends them."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. A batch is sent when all of its items are there, else when no more come, or they have waited long."""

    quiet_s: float = 30.0
    longest_gathering_s: float = 300.0
    first_look_s: float = 1.0
    longest_look_s: float = 120.0
    surely_made_s: float = 120.0
    """So long after its sender's end a batch that was made is in the provider's list."""
    give_up_s: float = 48 * 3600.0
    """After so long without any word of it, a batch is taken for lost."""

    def next_look_s(self, age_s: float) -> float:
        """How long until a batch of that age is looked at again."""
        return min(self.longest_look_s, max(self.first_look_s, age_s / 10))

    def after_trouble_s(self, troubles: int) -> float:
        """How long until what went wrong so often is tried again."""
        return float(min(self.longest_look_s * 2, self.first_look_s * 2 ** min(troubles, 16)))


@dataclass(frozen=True, slots=True)
class BatchPlace:
    """What one worker has for it. `resumed` is called when jobs go on."""

    gateway: Gateway
    database: PatientDatabase
    lazy: LazyDatabase
    calls: JobCalls
    folder: Path
    executor_id: str
    resumed: Callable[[], None]
    timing: Timing = Timing()

    async def change(self, batch: ProviderBatch, **values: object) -> bool:
        """See `provider_batches.change`."""
        return await self.database.write(lambda connection: rows.change(connection, batch, **values))

    async def troubled(self, batch: ProviderBatch, message: str, wait_s: float | None = None) -> None:
        """Something went wrong: look again after a while."""
        wait_s = self.timing.after_trouble_s(batch.troubles) if wait_s is None else wait_s
        await self.change(batch, **rows.troubled(batch, message, now_ms() + round(wait_s * 1000)))

    async def end(self, batch: ProviderBatch, job_ids: Sequence[str], ending_of: EndingOf) -> int:
        """Write down what came of these jobs' calls, and have the jobs go on."""
        if not job_ids:
            return 0
        ended = await self.database.write(
            lambda connection: batched_calls.end(connection, self.lazy.open(), batch.id, job_ids, ending_of, now_ms())
        )
        if ended:
            self.resumed()
        return ended

    async def end_all(self, batch: ProviderBatch, ending_of: EndingOf) -> None:
        """The same for all calls of the batch that are still waited for."""
        while True:
            left = await self.database.read(lambda connection: batched_calls.sent_of(connection, batch.id, None, SLICE))
            if not left:
                return
            await self.end(batch, [call.job_id for call in left], ending_of)

    async def put_back_all(self, batch: ProviderBatch) -> None:
        """The provider never had them."""
        while await self.database.write(lambda connection: batched_calls.put_back(connection, batch.id, SLICE * 10)):
            pass
