"""How a body tells its answer: in groups of events to whoever reads, and in the job's end what there is of it.

Shared by all types of job that stream. The invariant: all that was told is written before the job's end is.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from typing import Any

from waypost.errors import AllTargetsFailed, WaypostError
from waypost.jobs.body import JobContext
from waypost.jobs.job import JobEnd, JobError
from waypost.jobs.patience import PatientDatabase
from waypost.jobs.stream import Event, last_group, next_round
from waypost.worker.groups import GroupWriter


class Telling(ABC):
    """One answer of one job. `begin_round` before the first `tell`; without it nobody reads what is told."""

    def __init__(self, context: JobContext, *, prelude: int) -> None:
        self.context = context
        self.round = 1
        self._prelude = prelude
        self._groups: GroupWriter | None = None

    async def begin_round(self, database: PatientDatabase, most_bytes: int) -> None:
        """From now on, what is told is written down: after all that was told before."""
        job_id = self.context.job.id
        last = await database.read(lambda connection: last_group(connection, job_id))
        beginning = next_round(last, self._prelude)
        self.round = beginning.round
        self._groups = GroupWriter(self.context.event, beginning, most_bytes)

    async def tell(self, events: Sequence[tuple[Event, int]]) -> None:
        """Events, each with its size in bytes."""
        if self._groups is not None and events:
            await self._groups.add(events)

    async def flush(self) -> None:
        """Write what is not written yet."""
        if self._groups is not None:
            await self._groups.close()

    @abstractmethod
    def broken(self, status: str, error: WaypostError | None) -> Any:
        """The job's result, if it ends without a whole answer."""

    @abstractmethod
    async def whole(self, done: Any) -> Any:
        """The job's result, by what its step gave."""

    async def end(self, step: Awaitable[Any]) -> JobEnd:
        """How the job ends, by how its step does. Cancelled, or failed with an error of ours: with what there is."""
        try:
            done = await step
        except asyncio.CancelledError:
            # Where it is the worker that ends, another one begins anew, and nobody heeds this.
            await self.flush()
            return JobEnd("cancelled", self.broken("cancelled", None))
        except WaypostError as error:
            told = error.common or error if isinstance(error, AllTargetsFailed) else error
            await self.flush()
            return JobEnd("failed", self.broken("failed", told), JobError(told.code, told.message, told.hint))
        return JobEnd("succeeded", await self.whole(done))
