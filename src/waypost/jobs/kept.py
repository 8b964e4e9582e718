"""Jobs as a server reaches them: in threads, so that its event loop never waits for the database.

What is done to them is in `rows`, `listing` and `numbers`. The invariant: a job that was taken on is in the database
with its content before its caller is told so; one that was not is not there at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from waypost.errors import TooManyJobs
from waypost.gateway.call_record import current_record
from waypost.jobs.kept_batches import KeptBatches
from waypost.jobs.told import Content, Step, WholeJob
from waypost.jobs.watch import JobWatch
from waypost.ledger.threads import DatabaseThreads
from waypost.settings import JobSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.jobs.job import Input, Job, JobEvent, NewJob
    from waypost.jobs.listing import JobFilters, JobPage
    from waypost.jobs.rows import Created
    from waypost.store.database import Database

DAY_MS: Final = 86_400_000
MOST_STEPS: Final = 1_000
"""That are told of one job."""
COUNTED_SHARE: Final = 8
MOST_UNCOUNTED: Final = 1_000
"""Jobs that are taken on until those that wait are counted again."""
RETRY_AFTER_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who changes a job that need not be his own; it is written down that he did."""

    actor: str


Whose: TypeAlias = str | Administrator
"""The id of the project whose job it is, or who may change any project's."""


def _traced(new: NewJob) -> NewJob:
    """The job, which says which request of a trace asks for it."""
    record = current_record()
    if record is None or record.trace is None:
        return new
    return replace(new, traceparent=record.trace.span.context.traceparent)


class KeptJobs:
    """Those of all projects; `project_id` None is for administrators. `clock`: Unix seconds."""

    def __init__(
        self,
        threads: DatabaseThreads,
        settings: JobSettings,
        watch: JobWatch | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.watch = watch or JobWatch(threads)
        self.settings = settings
        self.batches = KeptBatches(threads, settings, clock=clock)
        self._threads = threads
        self._clock = clock
        self._uncounted: dict[str, int] = {}

    @property
    def now_ms(self) -> int:
        """Unix milliseconds."""
        return int(self._clock() * 1000)

    async def create(self, new: NewJob) -> Created:
        """Take a job on, or give the one that came before with its idempotency key.

        Raises IdempotencyConflict, TooManyJobs, DatabaseUnavailable; then nothing is there of it.
        """
        now_ms = self.now_ms
        new = _traced(new)
        is_full = await self._is_full(new.project_id)

        def create(connection: Connection, database: Database) -> Created:
            from waypost.jobs import rows

            created = rows.create(connection, database, new, now_ms)
            if created.is_new and is_full:
                raise TooManyJobs(
                    f"{self.settings.max_queued} jobs of this project are waiting, which is the most that may.",
                    retry_after_s=RETRY_AFTER_S,
                )
            return created

        return await self._threads.write(create)

    async def find(self, project_id: str | None, job_id: str) -> Job:
        """The job. Raises UnknownJob, DatabaseUnavailable."""

        def find(connection: Connection, _: Database) -> Job:
            from waypost.jobs import rows

            return rows.find(connection, project_id, job_id)

        return await self._threads.read(find)

    async def content(self, job_id: str) -> Input | None:
        """What it is about, if there is such a thing. Raises DatabaseUnavailable."""

        def content(connection: Connection, _: Database) -> Input | None:
            from waypost.jobs import rows

            return rows.input_of(connection, job_id)

        return await self._threads.read(content)

    async def whole(self, project_id: str | None, job_id: str) -> WholeJob:
        """The job with what belongs to it. Raises UnknownJob, DatabaseUnavailable."""
        return await self._threads.read(lambda connection, _: whole_job(connection, project_id, job_id))

    async def page(self, filters: JobFilters, limit: int, cursor: str | None) -> JobPage:
        """One page of a list. Raises UnusableField, DatabaseUnavailable."""

        def page(connection: Connection, _: Database) -> JobPage:
            from waypost.jobs.listing import list_jobs

            return list_jobs(connection, filters, limit=limit, cursor=cursor)

        return await self._threads.read(page)

    async def events(self, job_id: str, after: int) -> Sequence[JobEvent]:
        """Those there are after the one with this number. Raises DatabaseUnavailable."""

        def events(connection: Connection, _: Database) -> Sequence[JobEvent]:
            from waypost.jobs.events import events_after

            return events_after(connection, job_id, after)

        return await self._threads.read(events)

    async def cancel(self, whose: Whose, job_id: str) -> Job:
        """Ask for its end. Raises UnknownJob, JobHasEnded, DatabaseUnavailable."""
        now_ms = self.now_ms
        expires_at_ms = now_ms + self.settings.days * DAY_MS

        def cancel(connection: Connection, _: Database) -> Job:
            from waypost.jobs import audited, rows

            if isinstance(whose, Administrator):
                return audited.cancel(connection, whose.actor, job_id, now_ms, expires_at_ms)
            return rows.cancel(connection, whose, job_id, now_ms, expires_at_ms)

        return await self._threads.write(cancel)

    async def retry(self, whose: Whose, job_id: str) -> Job:
        """Have it done again. Raises UnknownJob, JobNotEnded, JobHasEnded, DatabaseUnavailable."""
        now_ms = self.now_ms

        def retry(connection: Connection, _: Database) -> Job:
            from waypost.jobs import audited, rows

            if isinstance(whose, Administrator):
                return audited.retry(connection, whose.actor, job_id, now_ms)
            return rows.retry(connection, whose, job_id, now_ms)

        return await self._threads.write(retry)

    async def remove(self, whose: Whose, job_id: str) -> None:
        """Delete it. Raises UnknownJob, JobNotEnded, DatabaseUnavailable."""
        now_ms = self.now_ms

        def remove(connection: Connection, _: Database) -> None:
            from waypost.jobs import audited, rows

            if isinstance(whose, Administrator):
                audited.remove(connection, whose.actor, job_id, now_ms)
            else:
                rows.remove(connection, whose, job_id)

        await self._threads.write(remove)

    async def numbers(self) -> dict[str, Any]:
        """How all jobs stand. Raises DatabaseUnavailable."""
        now_ms = self.now_ms

        def count(connection: Connection, _: Database) -> dict[str, Any]:
            from waypost.jobs.numbers import job_numbers

            return job_numbers(connection, now_ms)

        return await self._threads.read(count)

    async def _is_full(self, project_id: str) -> bool:
        """Do as many wait as may? Where there is much room, they are not counted for each job that comes."""
        left = self._uncounted.get(project_id, 0)
        if left > 0:
            self._uncounted[project_id] = left - 1
            return False
        most = self.settings.max_queued

        def count(connection: Connection, _: Database) -> int:
            from waypost.jobs import rows

            return rows.count_queued(connection, project_id, most)

        room = most - await self._threads.read(count)
        if len(self._uncounted) > MOST_UNCOUNTED:
            self._uncounted.clear()
        self._uncounted[project_id] = min(MOST_UNCOUNTED, room // COUNTED_SHARE) if room > MOST_UNCOUNTED else 0
        return room <= 0


def whole_job(connection: Connection, project_id: str | None, job_id: str) -> WholeJob:
    """The job with what belongs to it, in a thread. Raises UnknownJob."""
    from sqlalchemy import func, select

    from waypost.jobs import rows
    from waypost.store.job_tables import job_inputs, job_steps

    job = rows.find(connection, project_id, job_id)
    size = func.length(job_inputs.c.data)
    content = connection.execute(
        select(job_inputs.c.name, job_inputs.c.media_type, size).where(job_inputs.c.job_id == job_id)
    ).first()
    columns = [job_steps.c[name] for name in Step.__dataclass_fields__]
    steps = select(*columns).where(job_steps.c.job_id == job_id).order_by(job_steps.c.begun_at_ms, job_steps.c.name)
    return WholeJob(
        job,
        None if content is None else Content(*content),
        [Step(*row) for row in connection.execute(steps.limit(MOST_STEPS))],
    )
