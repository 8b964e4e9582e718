"""Batches as a server reaches them: in threads, so that its event loop never waits for the database.

What takes many rows is done in slices, so that no request holds up others; if the server dies in the middle, a worker's
next look goes on. The invariant: what a caller was told is in the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from waypost.errors import TooManyJobs
from waypost.ledger.threads import DatabaseThreads
from waypost.settings import JobSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.jobs.batch import Batch, BatchState, Counts, Item, NewBatch
    from waypost.jobs.batch_items import Added
    from waypost.jobs.batches import CreatedBatch
    from waypost.jobs.job import Job
    from waypost.jobs.provider_batches import ProviderBatch
    from waypost.store.database import Database

RETRY_AFTER_S: Final = 10.0


class KeptBatches:
    """Those of all projects; `project_id` None is for administrators. `clock`: Unix seconds.

    All raise DatabaseUnavailable, and UnknownBatch where a batch is named.
    """

    def __init__(
        self, threads: DatabaseThreads, settings: JobSettings, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self._threads = threads
        self._clock = clock

    async def create(self, new: NewBatch) -> CreatedBatch:
        """Open a batch, or give the one that came before with its idempotency key. Raises IdempotencyConflict."""

        def create(connection: Connection, database: Database) -> CreatedBatch:
            from waypost.jobs import batches

            return batches.create(connection, database, new, self._now_ms)

        return await self._threads.write(create)

    async def demand_room(self, project_id: str) -> None:
        """Raises TooManyJobs while as many of the project's jobs wait as may."""
        most = self.settings.max_queued

        def count(connection: Connection, _: Database) -> int:
            from waypost.jobs import rows

            return rows.count_queued(connection, project_id, most)

        if await self._threads.read(count) >= most:
            raise TooManyJobs(
                f"{most} jobs of this project are waiting, which is the most that may.", retry_after_s=RETRY_AFTER_S
            )

    async def next_index(self, batch: Batch) -> int:
        """The place after the last item. Raises Conflict if it is closed."""

        def count(connection: Connection, _: Database) -> int:
            from waypost.jobs import batch_items

            return batch_items.next_index(connection, batch)

        return await self._threads.write(count)

    async def add(self, batch: Batch, items: Sequence[Item]) -> Added:
        """Add items, each in its place. Raises ItemChanged, and Conflict if it is closed."""

        def add(connection: Connection, database: Database) -> Added:
            from waypost.jobs import batch_items

            return batch_items.add(connection, database, batch, items, self._now_ms, self.settings.days)

        return await self._threads.write(add)

    async def close(self, project_id: str | None, batch_id: str) -> Batch:
        """Nothing more is added."""

        def close(connection: Connection, _: Database) -> Batch:
            from waypost.jobs import batch_changes

            return batch_changes.close(connection, project_id, batch_id, self._now_ms, self.settings.days)

        return await self._threads.write(close)

    async def find(self, project_id: str | None, batch_id: str) -> tuple[Batch, Counts]:
        """The batch, and how its items stand."""

        def find(connection: Connection, _: Database) -> tuple[Batch, Counts]:
            from waypost.jobs import batches

            return batches.find(connection, project_id, batch_id), batches.counts(connection, batch_id)

        return await self._threads.read(find)

    async def at_providers(self, batch_id: str) -> list[ProviderBatch]:
        """The batches at providers that its items went into."""

        def read(connection: Connection, _: Database) -> list[ProviderBatch]:
            from waypost.jobs import provider_batches

            return provider_batches.of_batch(connection, batch_id)

        return await self._threads.read(read)

    async def page(
        self, project_id: str | None, *, state: BatchState | None, limit: int, after: str | None
    ) -> list[tuple[Batch, Counts]]:
        """The newest first."""

        def page(connection: Connection, _: Database) -> list[tuple[Batch, Counts]]:
            from waypost.jobs import batches

            found = batches.page(connection, project_id, state=state, limit=limit, after=after)
            return [(each, batches.counts(connection, each.id)) for each in found]

        return await self._threads.read(page)

    async def ended_from(self, batch_id: str, index: int, limit: int) -> list[Job]:
        """The items from that place on, up to the first that has not ended."""

        def read(connection: Connection, _: Database) -> list[Job]:
            from waypost.jobs import batch_items

            return batch_items.ended_from(connection, batch_id, index, limit)

        return await self._threads.read(read)

    async def cancel(self, project_id: str | None, batch_id: str) -> None:
        """Ask for its end. Raises JobHasEnded."""

        def ask(connection: Connection, _: Database) -> bool:
            from waypost.jobs import batch_changes

            return not batch_changes.ask_for_end(connection, project_id, batch_id, self._now_ms).has_ended

        def cancel(connection: Connection, _: Database) -> bool:
            from waypost.jobs import batch_changes

            return batch_changes.cancel_some(connection, batch_id, self._now_ms, self.settings.days)

        more = await self._threads.write(ask)
        while more:
            more = await self._threads.write(cancel)
        await self._finish(batch_id)

    async def retry(self, project_id: str | None, batch_id: str) -> int:
        """Do anew what failed or was cancelled; gives how many items. Raises JobNotEnded."""

        def demand(connection: Connection, _: Database) -> None:
            from waypost.jobs import batch_changes

            batch_changes.demand_not_ending(connection, project_id, batch_id)

        def retry(connection: Connection, _: Database) -> tuple[int, int]:
            from waypost.jobs import batch_changes

            return batch_changes.retry_some(connection, batch_id, self._now_ms)

        await self._threads.read(demand)
        done, found = 0, 1
        while found:
            found, changed = await self._threads.write(retry)
            done += changed
        await self._finish(batch_id)
        return done

    async def remove(self, project_id: str | None, batch_id: str) -> None:
        """Delete it with all of its items. Raises JobNotEnded."""

        def demand(connection: Connection, _: Database) -> None:
            from waypost.jobs import batch_changes

            batch_changes.demand_ended(connection, project_id, batch_id)

        def remove(connection: Connection, _: Database) -> bool:
            from waypost.jobs import batch_changes

            return batch_changes.remove_some(connection, batch_id)

        await self._threads.read(demand)
        while await self._threads.write(remove):
            pass

    async def _finish(self, batch_id: str) -> None:
        def finish(connection: Connection, _: Database) -> bool:
            from waypost.jobs import batch_changes

            return batch_changes.finish_if_done(connection, batch_id, self._now_ms, self.settings.days)

        await self._threads.write(finish)

    @property
    def _now_ms(self) -> int:
        return int(self._clock() * 1000)
