"""A worker's sign of life: a row that it renews every other second, by the database's clock, from a thread of its own.

Who has given none for `TTL_S` is dead for all others. Beside the row there is a file that the system unlocks when the
process dies: on the same machine its death is known at once. The invariant: an executor's name is never used twice.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import Connection, delete, insert, select, text, update

from waypost.jobs.patience import AWAY
from waypost.ledger.journal.locks import HeldFile, take
from waypost.store.job_tables import executors
from waypost.store.lazy import LazyDatabase

BEAT_S: Final = 1.5
TTL_S: Final = 5.0
FOLDER: Final = "workers"
"""In the data folder: one locked file for each worker of this machine."""
_CLOCK: Final = {
    True: text("SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"),
    False: text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"),
}
logger = logging.getLogger("waypost.jobs")


def new_executor_id() -> str:
    """A name for this process that no other one ever had, nor will have."""
    return f"{socket.gethostname()[:64]}-{os.getpid()}-{uuid4().hex[:12]}"


def clock_ms(connection: Connection) -> int:
    """The database's own time, in Unix ms: the same for all that share it."""
    is_sqlite = connection.dialect.name == "sqlite"
    return int(connection.execute(_CLOCK[is_sqlite]).scalar_one())


@dataclass(frozen=True, slots=True)
class Executor:
    """A worker process, by its row. Times are Unix ms."""

    id: str
    host: str
    pid: int
    started_at_ms: int
    beat_at_ms: int
    report: Mapping[str, Any] | None

    def is_alive(self, at_ms: int) -> bool:
        """Has it given a sign of life in time?"""
        return self.beat_at_ms >= at_ms - TTL_S * 1000


def all_executors(connection: Connection) -> Sequence[Executor]:
    """Those that have not been cleared away yet, the dead among them."""
    columns = [executors.c[name] for name in Executor.__dataclass_fields__]
    return [Executor(*row) for row in connection.execute(select(*columns).order_by(executors.c.started_at_ms))]


def alive_executors(connection: Connection) -> Sequence[Executor]:
    """The workers that are alive now."""
    at_ms = clock_ms(connection)
    return [each for each in all_executors(connection) if each.is_alive(at_ms)]


class Lease:
    """This process's. `report` is what others may read of it. `folder` is the data folder."""

    def __init__(
        self,
        database: LazyDatabase,
        folder: Path,
        report: Mapping[str, Any],
        *,
        beat_s: float = BEAT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.executor_id = new_executor_id()
        self.report = dict(report)
        self._database = database
        self._folder = folder / FOLDER
        self._beat_s = beat_s
        self._clock = clock
        self._file: HeldFile | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._held_since: float | None = None
        self._beaten_at: float | None = None

    @property
    def is_held(self) -> bool:
        """Do others see this process alive?"""
        return self._beaten_at is not None and self._clock() - self._beaten_at < TTL_S

    @property
    def held_s(self) -> float:
        """For how long without a break: others have had as long to give their own signs of life."""
        return self._clock() - self._held_since if self.is_held and self._held_since is not None else 0.0

    def start(self) -> None:
        """Give the first sign of life, then go on in a thread. Blocks. Raises DatabaseError, OSError."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = take(self._path(self.executor_id), create=True)
        self._beat()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def is_surely_dead(self, executor_id: str) -> bool:
        """Does this machine know that the process is dead, whatever the lease says?"""
        try:
            held = take(self._path(executor_id), create=False)
        except FileNotFoundError:
            # Of another machine, or cleared away already: only its lease can tell.
            return False
        if held is not None:
            held.release()
        return held is not None

    def clear_away(self, executor_id: str) -> None:
        """A dead process has left nothing: forget it."""
        self._path(executor_id).unlink(missing_ok=True)

    def stop(self, *, leaves_work: bool) -> None:
        """The process ends: others may take over at once what is still its own. Blocks."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        own = executors.c.id == self.executor_id
        try:
            with self._database.open().write() as connection:
                if leaves_work:
                    connection.execute(update(executors).where(own).values(beat_at_ms=0))
                else:
                    connection.execute(delete(executors).where(own))
        except AWAY:
            logger.warning("the database is away: others learn of this worker's end when its lease is over")
        if self._file is not None:
            self._file.release()
        if not leaves_work:
            self.clear_away(self.executor_id)

    def _path(self, executor_id: str) -> Path:
        return self._folder / f"{executor_id}.lock"

    def _keep(self) -> None:
        while not self._stop.wait(self._beat_s):
            try:
                self._beat()
            except AWAY:
                # Whoever waits for the database says so; here it only counts that no sign was given.
                self._held_since = None

    def _beat(self) -> None:
        began = self._clock()
        with self._database.open().write() as connection:
            at_ms = clock_ms(connection)
            own = update(executors).where(executors.c.id == self.executor_id)
            if connection.execute(own.values(beat_at_ms=at_ms, report=self.report)).rowcount != 1:
                connection.execute(insert(executors).values(**self._row(at_ms)))
        # From before the transaction: others count from within it.
        if not self.is_held:
            self._held_since = None
        self._beaten_at = began
        self._held_since = began if self._held_since is None else self._held_since

    def _row(self, at_ms: int) -> dict[str, Any]:
        return {
            "id": self.executor_id,
            "host": socket.gethostname()[:128],
            "pid": os.getpid(),
            "started_at_ms": at_ms,
            "beat_at_ms": at_ms,
            "report": self.report,
        }
