"""Takes a batch from its input to its output: adds items while few wait, and writes what is done, in order.

Nothing is held in memory but what is read ahead: where the run stands is in the database and in the output. The
invariant: whenever it is killed, the same command goes on with the next line.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from types import FrameType
from typing import Final, Protocol

from waypost.cli.batch_begin import Begun, InputChanged
from waypost.cli.batch_progress import BatchProgress
from waypost.cli.batch_worker import OwnWorker
from waypost.errors import Conflict
from waypost.jobs import batch_changes, batch_items, batches
from waypost.jobs.batch import LOWER_PRICE, Batch, Counts, Item
from waypost.jobs.job import Job
from waypost.jobs.patience import AWAY
from waypost.ledger.moments import DAY_MS
from waypost.store.database import Database

WINDOW: Final = 2_000
"""Items that are added and not done, at most."""
LARGE_WINDOW: Final = 100_000
"""The same where a provider takes many at once, and a day for them."""
CHUNK: Final = 250
"""Items in one transaction, and lines in one write."""
READ_AHEAD: Final = 4
"""Chunks."""
TICK_S: Final = 0.1
COUNT_S: Final = 0.3
AGAIN_S: Final = 1.0
"""After the database was away."""
HELD_MS: Final = 36_500 * DAY_MS


class Output(Protocol):
    """Where lines go."""

    def write(self, jobs: list[Job]) -> None:
        """Add a line for each."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    counts: Counts
    is_whole: bool


class Stopping:
    """Counts how often somebody wants the run to end: the first time what runs may end, the second it stops."""

    def __init__(self) -> None:
        self.times = 0
        self.woken = threading.Event()

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """SIGINT and SIGTERM mean that, for the block. In the main thread."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.times += 1
        self.woken.set()


class Reader:
    """Reads ahead in a thread, which may wait for its input as long as that takes."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._chunks: queue.Queue[list[Item] | BaseException | None] = queue.Queue(READ_AHEAD)
        threading.Thread(target=self._read, args=(iter(items),), name="input", daemon=True).start()
        self.is_over = False

    def next(self) -> list[Item]:
        """The next items, none if there are none now: see `is_over`. Raises what reading raised."""
        try:
            chunk = self._chunks.get_nowait()
        except queue.Empty:
            return []
        if isinstance(chunk, BaseException):
            raise chunk
        self.is_over = chunk is None
        return chunk or []

    def _read(self, items: Iterator[Item]) -> None:
        try:
            while chunk := list(islice(items, CHUNK)):
                self._chunks.put(chunk)
            self._chunks.put(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            self._chunks.put(error)


class Runner:
    """One run. Blocks; call `run` in the main thread."""

    def __init__(
        self, database: Database, begun: Begun, reader: Reader, output: Output, worker: OwnWorker, days: int
    ) -> None:
        self._database = database
        self._batch: Batch = begun.batch
        self._reader = reader
        self._output = output
        self._worker = worker
        self._days = days
        self._progress = BatchProgress()
        self._written = begun.written
        self._read = 0
        self._waiting: list[Item] = []
        """Items that were read, and could not be added yet."""
        self._is_read = False
        self._counts = Counts()
        self._count_at_s = float("-inf")
        self._is_held = False
        self._window = LARGE_WINDOW if begun.batch.asked.request.get(LOWER_PRICE) else WINDOW

    @property
    def progress(self) -> BatchProgress:
        """Where it is shown."""
        return self._progress

    def run(self, stopping: Stopping) -> Outcome:
        """All of it. Raises InputChanged, UnreadableInput, NoWorker."""
        while True:
            try:
                was_busy = self._turn(stopping)
                if self._is_over(stopping):
                    self._count()
                    return Outcome(self._counts, is_whole=self._is_whole)
            except AWAY as error:
                self._progress.note(f"the database is away: {str(error).partition(chr(10))[0]}")
                was_busy = False
                time.sleep(AGAIN_S)
            if not was_busy:
                stopping.woken.wait(TICK_S)
                stopping.woken.clear()

    @property
    def _is_whole(self) -> bool:
        return self._is_read and self._batch.total is not None and self._written >= self._batch.total

    def _is_over(self, stopping: Stopping) -> bool:
        if self._is_whole or stopping.times > 1:
            return True
        return self._is_held and not self._counts.running and not self._ended()

    def _turn(self, stopping: Stopping) -> bool:
        """A little of everything. True: there is more to do at once."""
        if time.monotonic() >= self._count_at_s:
            self._count()
        if stopping.times and not self._is_held:
            self._hold()
        added = not stopping.times and not self._is_read and self._add()
        written = self._write()
        if self._counts.unfinished and not self._is_held and self._worker.ensure(self._database):
            self._progress.note(f"no worker is running, so this run has one of its own (log: {self._worker.log})")
        self._progress.show(self._counts, self._batch.total, self._read)
        return added or written

    def _count(self) -> None:
        began_s = time.monotonic()
        with self._database.read() as connection:
            self._counts = batches.counts(connection, self._batch.id)
        # Of a million items it takes a while.
        self._count_at_s = time.monotonic() + max(COUNT_S, 10 * (time.monotonic() - began_s))

    def _hold(self) -> None:
        """Nobody begins what waits; what runs comes to its end."""
        self._progress.note("Letting running items end; interrupt again to stop at once.")
        if self._counts.waiting:
            self._progress.note(f"The provider goes on with {self._counts.waiting:,} items.")
        batch_changes.hold(self._database, self._batch.id, _now_ms() + HELD_MS)
        self._is_held = True
        self._count()

    def _add(self) -> bool:
        """The next items, if there is room for them."""
        if self._counts.unfinished >= self._window:
            return False
        self._waiting = self._waiting or self._reader.next()
        if self._waiting:
            self._add_these(self._waiting)
            self._read += len(self._waiting)
            self._waiting = []
            return True
        if self._reader.is_over:
            self._close()
        return False

    def _add_these(self, items: list[Item]) -> None:
        try:
            if self._batch.state == "open":
                with self._database.write() as connection:
                    added = batch_items.add(connection, self._database, self._batch, items, _now_ms(), self._days)
                # Counted again soon; until then they count as waiting.
                self._counts = _with_queued(self._counts, added.new)
            else:
                with self._database.read() as connection:
                    batch_items.check(connection, self._batch, items)
        except batch_items.ItemChanged as error:
            raise _changed(f"Item {error.index} (counted from 0) is not what it was") from error
        except Conflict:
            # Somebody cancelled the batch meanwhile.
            self._look_again()
            if self._batch.state == "open":
                raise
            self._is_read = True

    def _close(self) -> None:
        if self._batch.state == "open":
            with self._database.write() as connection:
                self._batch = batch_changes.close(connection, None, self._batch.id, _now_ms(), self._days)
        if self._batch.cancel_requested_at_ms is None and self._batch.total != self._read:
            raise _changed(f"There are {self._read} items, and there were {self._batch.total}")
        self._is_read = True

    def _look_again(self) -> None:
        with self._database.read() as connection:
            self._batch = batches.find(connection, None, self._batch.id)

    def _ended(self) -> list[Job]:
        with self._database.read() as connection:
            return batch_items.ended_from(connection, self._batch.id, self._written, CHUNK)

    def _write(self) -> bool:
        ended = self._ended()
        if ended:
            self._output.write(ended)
            self._written += len(ended)
        return len(ended) == CHUNK


def _with_queued(counts: Counts, more: int) -> Counts:
    values = {name: getattr(counts, name) for name in Counts.__dataclass_fields__}
    return Counts(**{**values, "queued": counts.queued + more})


def _changed(what: str) -> InputChanged:
    return InputChanged(
        f"The input has changed since this run was begun: {what}.",
        hint="Restore it, name another output file, or begin anew with --restart, which replaces the results.",
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
