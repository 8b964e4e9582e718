"""One worker process's jobs: takes them while it has room, does them, heeds those that cancel, and hands them over.

Three loops: the queue is looked at several times a second, dead workers every other second, and what must never be the
case twice a minute. The invariant: what this process does in memory is what the database says it does, or is stopped
within a second.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from waypost.jobs import dispatch, progress, recovering, retention
from waypost.jobs.body import JobBody
from waypost.jobs.engine import Engine
from waypost.jobs.holding import Held, Run, RunLost, held_by, put_back, recoveries, take_over
from waypost.jobs.job import CRASHED, JobEnd, JobError
from waypost.jobs.lease import TTL_S, Lease, clock_ms
from waypost.jobs.patience import PatientDatabase
from waypost.jobs.running import Execution
from waypost.ledger.books import now_ms
from waypost.settings import JobSettings
from waypost.store.database import Database
from waypost.store.job_tables import jobs
from waypost.store.lazy import LazyDatabase
from waypost.telemetry.observers import NOBODY, Observers

logger = logging.getLogger("waypost.jobs")
LOOK_S: Final = 0.25
"""How often the queue is looked at: on average a job waits half of it."""
LOOK_FOR_DEAD_S: Final = 1.5
AUDIT_S: Final = 30.0
AGAIN_S: Final = 1.0
"""After what failed."""
Audit: TypeAlias = Callable[[Database], object]
"""Puts right what should not be. In a thread."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """What a worker does its jobs with. `folder` is the data folder; `on_end` is told of each job's end."""

    database: LazyDatabase
    folder: Path
    settings: JobSettings
    bodies: Mapping[str, JobBody]
    on_end: Sequence[progress.OnEnd] = ()
    report: Mapping[str, object] = field(default_factory=dict)
    audits: Sequence[Audit] = ()
    observers: Observers = NOBODY


class JobWorker:
    """One process's, in one event loop: `start`, then `stop`."""

    def __init__(self, place: Workplace, *, audit_s: float = AUDIT_S) -> None:
        self._place = place
        self._audit_s = audit_s
        self._database = PatientDatabase(place.database)
        self.lease = Lease(place.database, place.folder, place.report)
        self._engine: Engine | None = None
        self._executions: dict[str, Execution] = {}
        """Runs that are this process's, by job: those taken and not begun yet among them."""
        self._works: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._missing: dict[Run, float] = {}
        self._alone = asyncio.Lock()
        self._woken = asyncio.Event()
        self._is_ending = False

    @property
    def running(self) -> int:
        """How many jobs are under way here."""
        return len(self._executions)

    async def start(self) -> None:
        """Begin to take jobs. Waits until the database is there."""
        while True:
            try:
                await self._database.once(self.lease.start)
                break
            except SQLAlchemyError as error:
                await self._rest(error, "the worker waits for the database")
        for turn, interval_s in (
            (self._look, LOOK_S),
            (self._look_for_dead, LOOK_FOR_DEAD_S),
            (self._audit, self._audit_s),
        ):
            self._loops.append(asyncio.create_task(self._repeat(turn, interval_s)))

    def wake(self) -> None:
        """There may be a job: look now."""
        self._woken.set()

    async def stop(self, grace: Coroutine[Any, Any, None]) -> None:
        """Take no more jobs, let steps under way end until `grace` is over, and leave the rest to others."""
        self._is_ending = True
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        left = [*self._executions.values()]
        await _first_of(asyncio.gather(*(each.settle() for each in left)), asyncio.ensure_future(grace))
        for each in left:
            each.interrupt()
        if self._works:
            await asyncio.wait(self._works, timeout=TTL_S)
        if self._engine is not None:
            await self._engine.close()
        leaves_work = bool(self._executions)
        await asyncio.to_thread(lambda: self.lease.stop(leaves_work=leaves_work))
        self._database.close()

    async def _repeat(self, turn: Callable[[], Awaitable[None]], interval_s: float) -> None:
        while True:
            try:
                await turn()
            except SQLAlchemyError as error:
                await self._rest(error, "a look at the jobs failed")
            except Exception:
                # Without its loops a worker would hold jobs that nobody does.
                logger.exception("a look at the jobs failed by a mistake of the code's")
                await asyncio.sleep(AGAIN_S)
            if turn == self._look:
                self._woken.clear()
                with_wake = asyncio.ensure_future(self._woken.wait())
                await asyncio.wait({with_wake}, timeout=interval_s)
                with_wake.cancel()
            else:
                await asyncio.sleep(interval_s)

    async def _rest(self, error: Exception, what: str) -> None:
        logger.error("%s: %s", what, str(error).partition("\n")[0])
        await asyncio.sleep(AGAIN_S)

    async def _look(self) -> None:
        """What is new of the jobs that are done here, and those that wait."""
        before = [*self._executions.values()]
        seen = await self._database.read(self._seen)
        self._heed({each.run: each for each in seen.held}, before)
        free = self._place.settings.concurrency - len(self._executions)
        if seen.is_anything_waiting and free > 0 and self.lease.is_held:
            own, types = self.lease.executor_id, self._place.bodies
            runs = await self._database.write(lambda connection: dispatch.claim(connection, own, free, now_ms(), types))
            for run in runs:
                self._executions[run.job_id] = self._execution(run)
                self._begin(run)
        self.lease.report["running"] = len(self._executions)

    def _seen(self, connection: Connection) -> _Seen:
        held = held_by(connection, [self.lease.executor_id]) if self._executions or self._missing else []
        may_begin = dispatch.may_begin(now_ms(), self._place.bodies)
        waiting = connection.execute(select(jobs.c.id).where(*may_begin).limit(1)).first()
        return _Seen(held, waiting is not None)

    def _heed(self, held: Mapping[Run, Held], own: Sequence[Execution]) -> None:
        """End what its caller does not want any more, and what is another worker's by now."""
        for execution in own:
            found = held.get(execution.run)
            if found is None:
                execution.interrupt()
            elif found.is_cancelled:
                execution.cancel()

    def _execution(self, run: Run) -> Execution:
        place = self._place
        return Execution(self._database, run, place.settings.days, place.on_end, place.observers)

    def _begin(self, run: Run) -> None:
        task = asyncio.create_task(self._hand_to_engine(run))
        self._works.add(task)
        task.add_done_callback(self._works.discard)

    async def _hand_to_engine(self, run: Run) -> None:
        while True:
            try:
                engine = await self._launched()
                await engine.begin(run.job_id, run.number)
            except Exception as error:  # noqa: BLE001 - whatever it is, the job is this worker's until it is begun
                await self._rest(error, "the engine does not begin a job")
            else:
                return

    async def _launched(self) -> Engine:
        if self._engine is None:
            url = self._place.database.url
            self._engine = Engine(url, self._place.folder, self.lease.executor_id, self._do)
        await self._engine.launch()
        return self._engine

    async def _do(self, job_id: str, number: int) -> None:
        """One run, for the engine: one that was taken here, or one that a dead worker left."""
        task = asyncio.current_task()
        if task is not None:
            self._works.add(task)
            task.add_done_callback(self._works.discard)
        run = Run(job_id, number, self.lease.executor_id)
        execution = self._executions.get(job_id)
        if execution is not None and execution.run == run and not execution.has_begun:
            await self._work(execution)
        elif not self._is_ending:
            await self._go_on(run)

    async def _go_on(self, run: Run) -> None:
        before = await self._database.read(lambda connection: recoveries(connection, run))
        async with self._alone if before >= recovering.RUNNING_ALONE_FROM else nullcontext():
            try:
                times = await self._database.write(lambda connection: self._take_over(connection, run))
            except RunLost:
                return
            logger.warning("job %s is gone on with: its worker is dead", run.job_id)
            execution = self._execution(run)
            self._executions[run.job_id] = execution
            if times > recovering.MOST_RECOVERIES:
                await self._give_up(execution)
            else:
                await self._work(execution)

    def _take_over(self, connection: Connection, run: Run) -> int:
        live_after_ms = clock_ms(connection) - round(TTL_S * 1000)
        return take_over(connection, run, now_ms(), live_after_ms)

    async def _work(self, execution: Execution) -> None:
        try:
            await execution.work(self._place.bodies)
        finally:
            # What the worker's own end interrupted stays, so that it is known to be left.
            if not (self._is_ending and execution.is_interrupted):
                self._forget(execution)
                self.wake()

    async def _give_up(self, execution: Execution) -> None:
        error = JobError(
            CRASHED,
            f"The worker process died {recovering.MOST_RECOVERIES + 1} times while it did this job.",
            "Its log says how; retry the job when that is mended.",
        )
        try:
            await execution.end(JobEnd("failed", error=error))
        finally:
            self._forget(execution)

    def _forget(self, execution: Execution) -> None:
        if self._executions.get(execution.run.job_id) is execution:
            del self._executions[execution.run.job_id]

    async def _look_for_dead(self) -> None:
        database = self._place.database
        left = await self._database.insist(lambda: recovering.look(database.open(), self.lease))
        if not left:
            return
        if any(each.runs for each in left):
            engine = await self._launched()
            await self._database.insist(lambda: recovering.give_away(database.open(), engine, left, self.lease))
        else:
            await self._database.insist(lambda: recovering.forget_all(database.open(), left, self.lease))

    async def _audit(self) -> None:
        """What should not be, and what has had its time."""
        await self._audit_own()
        for audit in self._place.audits:
            await self._database.insist(partial(self._audited, audit))
        if self._engine is not None and self._engine.is_launched:
            engine, database = self._engine, self._place.database
            await self._database.insist(lambda: recovering.recover_unknown(database.open(), engine))
            await self._database.insist(lambda: retention.retire(database.open(), engine, self.lease.executor_id))

    def _audited(self, audit: Audit) -> None:
        audit(self._place.database.open())

    async def _audit_own(self) -> None:
        """What is this process's by the database, and not done here, goes into the queue again: the second time."""
        held = await self._database.read(lambda connection: held_by(connection, [self.lease.executor_id]))
        now_s = time.monotonic()
        missing = {each.run for each in held if each.run.job_id not in self._executions}
        self._missing = {run: self._missing.get(run, now_s) for run in missing}
        for run, since_s in self._missing.items():
            if now_s - since_s >= self._audit_s / 2:
                logger.error("job %s was this worker's, and it did not do it", run.job_id)
                await self._database.write(partial(_put_back, run))


def _put_back(run: Run, connection: Connection) -> bool:
    return put_back(connection, run, now_ms())


async def _first_of(*waiting: asyncio.Future[Any]) -> None:
    """Wait until one of them is over, and end the others."""
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()


@dataclass(frozen=True, slots=True)
class _Seen:
    """One look at the database."""

    held: Sequence[Held]
    is_anything_waiting: bool
