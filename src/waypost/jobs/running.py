"""Does one job: begins it, runs its body, and writes down how it ended. It knows no engine and no queue.

The invariant: a body runs in at most one process that can write anything down, and a job whose body was interrupted by
the worker's own end stays as it is, for another worker to go on with.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection

from waypost.errors import WaypostError
from waypost.jobs import progress
from waypost.jobs.body import LONGEST_STEP_NAME, JobBody, StepDone, collect_lost
from waypost.jobs.costs import total
from waypost.jobs.facts import StepEnding, job_facts, step_facts
from waypost.jobs.holding import Run, RunLost, job_of, put_back
from waypost.jobs.job import Cost, Input, Job, JobEnd, JobError
from waypost.jobs.patience import PatientDatabase
from waypost.jobs.rows import input_of
from waypost.ledger.books import now_ms
from waypost.ledger.moments import DAY_MS
from waypost.telemetry.observers import NOBODY, Observers

logger = logging.getLogger("waypost.jobs")
STOP_AGAIN_S: Final = 1.5
PROGRESS_S: Final = 0.3
"""How often at most a job's progress is written down."""
MISTAKE: Final = JobEnd("failed", error=JobError(WaypostError.code, "The job failed by an error of this server's."))


class Execution:
    """One run of one job in this process. Implements JobContext.

    `work` is called once, in a task. Then `cancel` ends it for its caller, `interrupt` for the worker's own sake.
    """

    def __init__(
        self,
        database: PatientDatabase,
        run: Run,
        days: int,
        on_end: Sequence[progress.OnEnd],
        observers: Observers = NOBODY,
    ) -> None:
        self.run = run
        self._observers = observers
        self._database = database
        self._days = days
        self._on_end = on_end
        self._job: Job | None = None
        self._body: asyncio.Task[JobEnd] | None = None
        self._is_cancelled = False
        self._stopped_at_s = float("-inf")
        self.has_begun = False
        self.is_interrupted = False
        self._steps_stop = asyncio.Event()
        self._steps = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._said: tuple[int, int | None] | None = None
        self._written: tuple[int, int | None] | None = None
        self._teller: asyncio.Task[None] | None = None

    @property
    def job(self) -> Job:
        """See JobContext."""
        if self._job is None:
            raise TypeError("the job has not begun")
        return self._job

    async def work(self, bodies: Mapping[str, JobBody]) -> None:
        """Do the job. Returns when its end is written down, or when it is not this worker's any more."""
        self.has_begun = True
        try:
            self._job = await self._database.read(lambda connection: job_of(connection, self.run))
            if self._job.cancel_requested_at_ms is not None:
                self._is_cancelled = True
            await self.end(await self._end_of(bodies))
        except RunLost:
            logger.warning("job %s is not this worker's any more", self.run.job_id)
        except Exception:
            # What is wrong would be wrong again the next time.
            logger.exception("job %s failed by a mistake of the code's", self.run.job_id)
            await self.end(MISTAKE)
        finally:
            if self._teller is not None:
                self._teller.cancel()

    def cancel(self) -> None:
        """Its caller wants it to end: calls under way stop at once."""
        self._is_cancelled = True
        self._stop_body()

    def interrupt(self) -> None:
        """It is to stop here, and to be gone on with by another worker: nothing is written down."""
        self.is_interrupted = True
        self._stop_body()

    async def settle(self) -> None:
        """Begin no further step, and wait for those under way to end."""
        self._steps_stop.set()
        await self._idle.wait()

    def _stop_body(self) -> None:
        # Not at each look: what a body does at its end may take a moment.
        now_s = time.monotonic()
        if self._body is not None and now_s - self._stopped_at_s >= STOP_AGAIN_S:
            self._stopped_at_s = now_s
            self._body.cancel()

    async def _end_of(self, bodies: Mapping[str, JobBody]) -> JobEnd:
        body = bodies.get(self.job.type)
        if self.is_interrupted:
            raise asyncio.CancelledError
        if self._is_cancelled:
            return JobEnd("cancelled")
        if body is None:
            # Left by a worker of a newer version: others of that will take it.
            await self._database.write(lambda connection: put_back(connection, self.run, now_ms()))
            raise RunLost(self.run.job_id)
        self._body = asyncio.ensure_future(body.run(self))
        try:
            await asyncio.wait({self._body})
        except asyncio.CancelledError:
            self._body.cancel()
            await asyncio.wait({self._body})
            raise
        return self._told(self._body)

    def _told(self, body: asyncio.Task[JobEnd]) -> JobEnd:
        """How the body ended. Raises RunLost, and CancelledError for one that was interrupted."""
        if self.is_interrupted:
            raise asyncio.CancelledError
        if body.cancelled() or self._is_cancelled:
            return _cancelled(body)
        error = body.exception()
        if error is None:
            return body.result()
        if isinstance(error, RunLost):
            raise error
        if isinstance(error, WaypostError):
            return JobEnd("failed", error=JobError(error.code, error.message, error.hint))
        logger.error("job %s failed by a mistake of the code's", self.run.job_id, exc_info=error)
        return MISTAKE

    async def end(self, end: JobEnd) -> None:
        """The job ends so. Raises RunLost."""
        said, expires_at_ms = self._said, now_ms() + self._days * DAY_MS
        if self._teller is not None:
            self._teller.cancel()

        def write(connection: Connection) -> Job:
            if said is not None and said != self._written:
                progress.note_progress(connection, self.run, *said, now_ms())
            return progress.finish(connection, self.run, end, now_ms(), expires_at_ms, self._on_end)

        job = await self._database.write(write)
        if self._observers.any:
            self._observers.job_ended(job_facts(job))

    async def input(self) -> Input | None:
        """See JobContext."""
        return await self._database.read(lambda connection: input_of(connection, self.run.job_id))

    async def step(self, name: str, work: Callable[[], Awaitable[StepDone]]) -> Any:
        """See JobContext."""
        if not 0 < len(name) <= LONGEST_STEP_NAME:
            raise ValueError(f"a step's name has 1 to {LONGEST_STEP_NAME} characters")
        if self._steps_stop.is_set():
            # The worker ends: the job is gone on with elsewhere, from here.
            await asyncio.get_running_loop().create_future()
        self._steps += 1
        self._idle.clear()
        try:
            return await self._step(name, work)
        finally:
            self._steps -= 1
            if not self._steps:
                self._idle.set()

    async def _step(self, name: str, work: Callable[[], Awaitable[StepDone]]) -> Any:
        run, database = self.run, self._database
        before = await database.write(lambda connection: progress.begin_step(connection, run, name, now_ms()))
        if before is not None:
            return before.value
        lost, began_ms = collect_lost(), now_ms()
        try:
            done = await work()
        except BaseException as error:
            # One that the worker's own end interrupted stays begun: it may have cost something, and is done again.
            if not self.is_interrupted:
                await self._leave(name, lost)
            self._tell_step(name, began_ms, error, total(lost))
            raise
        await database.write(lambda connection: progress.end_step(connection, run, name, done, now_ms(), lost))
        self._tell_step(name, began_ms, None, total([*lost, done.cost]), done.request_id or "")
        return done.result

    def _tell_step(
        self, name: str, began_ms: int, error: BaseException | None, cost: Cost, request_id: str = ""
    ) -> None:
        if self._observers.any:
            ending = StepEnding(began_ms, now_ms(), error, cost, request_id, self.is_interrupted)
            self._observers.step_ended(step_facts(self.job, name, ending))

    async def _leave(self, name: str, lost: list[Any]) -> None:
        leaving = self._database.write(lambda connection: progress.leave_step(connection, self.run, name, lost))
        with suppress(RunLost):
            await asyncio.shield(leaving)

    async def progress(self, done: int, total: int | None) -> None:
        """See JobContext."""
        self._said = (done, total)
        if self._teller is None or self._teller.done():
            self._teller = asyncio.ensure_future(self._tell())

    async def _tell(self) -> None:
        """Write the last progress that was said, until there is no newer one."""
        while self._said is not None and self._said != self._written:
            said = self._said
            with suppress(RunLost):
                await self._database.write(partial(self._note, said))
            self._written = said
            await asyncio.sleep(PROGRESS_S)

    def _note(self, said: tuple[int, int | None], connection: Connection) -> None:
        progress.note_progress(connection, self.run, *said, now_ms())

    async def event(self, name: str, data: Mapping[str, Any]) -> None:
        """See JobContext."""
        await self._database.write(lambda connection: progress.note_event(connection, self.run, name, data, now_ms()))


def _cancelled(body: asyncio.Task[JobEnd]) -> JobEnd:
    """A body that heeds its cancelling may give what it has."""
    if body.cancelled() or body.exception() is not None or body.result().state != "cancelled":
        return JobEnd("cancelled")
    return body.result()
