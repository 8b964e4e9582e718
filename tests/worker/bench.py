"""A worker's parts without its engine and its loops, in this process: each step is made when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from waypost.jobs import dispatch, provider_batches
from waypost.jobs.batch import Batch
from waypost.jobs.provider_batches import ProviderBatch
from waypost.jobs.running import Execution
from waypost.ledger.books import now_ms
from waypost.settings import Settings
from waypost.worker.app import WorkerApplication, build_worker
from waypost.worker.batch_place import BatchPlace, Timing
from waypost.worker.batch_sending import BatchSending
from waypost.worker.batch_watching import BatchWatching
from waypost.worker.bodies import bodies
from waypost.worker.hooks import hooks

QUICK: Final = Timing(first_look_s=0.01, longest_look_s=0.01, surely_made_s=0.3)
PATIENCE_S: Final = 20.0


class Bench:
    """One worker's. `name` is who it is to others."""

    def __init__(self, application: WorkerApplication, timing: Timing, name: str) -> None:
        self.application = application
        self.database = application.calls.database
        self.name = name
        folder = application.settings.data_dir / "batches"
        gateway, calls, lazy = application.gateway, application.calls, application.database
        self.place = BatchPlace(gateway, self.database, lazy, calls, folder, name, lambda: None, timing)
        self.sending = BatchSending(self.place)
        self.watching = BatchWatching(self.place, self.sending)

    async def work(self) -> int:
        """Do all jobs that are in the queue; how many there were."""
        runs = await self.database.write(lambda connection: dispatch.claim(connection, self.name, 1000, now_ms()))
        does, ends = bodies(self.application), hooks(self.application)
        for run in runs:
            await Execution(self.database, run, 7, ends).work(does)
        return len(runs)

    async def send(self) -> bool:
        """Send what is ready. False: nothing is."""
        group = await self.sending.next_group(set())
        if group is not None:
            await self.sending.gather(group)
        return group is not None

    async def look(self) -> None:
        """See to the batches that are due."""
        for batch in await self.database.read(lambda connection: provider_batches.due(connection, now_ms(), 10)):
            await self.watching.see_to(batch)

    async def at_providers(self, batch: Batch) -> list[ProviderBatch]:
        """What of it went to providers."""
        return await self.database.read(lambda connection: provider_batches.of_batch(connection, batch.id))

    async def until_over(self, batch: Batch) -> None:
        """All of it, to its end."""
        from waypost.jobs import batches

        async with asyncio.timeout(PATIENCE_S):
            while not (await self.database.read(lambda connection: batches.find(connection, None, batch.id))).has_ended:
                await self.work()
                await self.send()
                await self.look()
                await asyncio.sleep(0.01)

    async def until_let_go(self, batch: Batch) -> None:
        """Until no provider has anything of it any more."""
        async with asyncio.timeout(PATIENCE_S):
            while any(each.state in provider_batches.LIVE for each in await self.at_providers(batch)):
                await self.look()
                await asyncio.sleep(0.01)


@asynccontextmanager
async def bench(
    settings: Mapping[str, Any], folder: Path, name: str = "bench", **timing: float
) -> AsyncIterator[Bench]:
    """A worker's parts with these settings."""
    application = build_worker(Settings.model_validate({"data_dir": str(folder / "data"), **settings}))
    if application.ledger is not None:
        await application.ledger.start()
    try:
        yield Bench(application, replace(QUICK, **timing), name)
    finally:
        await application.close()
