"""Reads the stream that a job tells, from any process: what was told, then what comes, up to the job's end.

It knows rows and numbers, not what an event says in any grammar. The invariant: a reader gets the events of one round
after the one it names, in order and without a gap, or is told why not.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from waypost.errors import InvalidRequest, ServerBusy
from waypost.jobs.stream import STREAM, Event, Group, group_of, last_group

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.jobs.job import Job, JobEvent
    from waypost.jobs.kept import KeptJobs
    from waypost.ledger.threads import DatabaseThreads
    from waypost.store.database import Database

ENDS = frozenset({"succeeded", "failed", "cancelled"})
BEGUN_AGAIN = "queued"
LOOK_S = 0.5
"""How soon a reader sees that its server shuts down."""


@dataclass(frozen=True, slots=True)
class Told:
    """Events, the first of which has this number."""

    number: int
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Restarted:
    """The answer has begun anew: what was told before is void. What comes has greater numbers."""

    number: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The stream is longer than what is kept of it. The job goes on."""

    number: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The job has ended; how it did has this number."""

    number: int
    job: Job


Piece: TypeAlias = Told | Restarted | Cut | Ended


class StreamReading:
    """One reader's way through one job's stream. `prelude`: how many events stand before the first round's own.

    `after` is the number of the last event that the reader has; None: it begins with the newest round. `shuts_down`:
    does the server that reads for it end? The job goes on then, and can be read from another.
    """

    def __init__(
        self,
        jobs: KeptJobs,
        threads: DatabaseThreads,
        job_id: str,
        *,
        prelude: int = 0,
        after: int | None = None,
        shuts_down: Callable[[], bool] = lambda: False,
    ) -> None:
        self._shuts_down = shuts_down
        self._jobs = jobs
        self._threads = threads
        self._job_id = job_id
        self._prelude = prelude
        self._after = after
        self._round = 1
        self._next = prelude
        """The number of what the round tells next."""
        self._row = 0
        self._is_over = False
        """Is the last row that says anything about it the job's end?"""
        self._is_cut = False

    @property
    def unknown_prelude(self) -> range:
        """After `start`: the numbers of the events before the first round's own that the reader has not."""
        return range(0 if self._after is None else self._after + 1, self._prelude if self._round == 1 else 0)

    async def start(self) -> Restarted | None:
        """Find the place. Restarted: the reader's last event is of a void round; the newest one is told then.

        Raises InvalidRequest if there is no such event, DatabaseUnavailable.
        """
        last = await self._threads.read(self._last)
        if last is not None:
            self._round, self._next = last.round, last.begin
            if self._after is not None and self._after > last.next + last.is_cut:
                raise InvalidRequest("There is no event of that number.", hint="Name the last one that came.")
        if self._after is None or self._round == 1 or self._after >= self._next - 1:
            return None
        self._after = None
        return Restarted(self._next - 1)

    async def pieces(self) -> AsyncGenerator[Piece]:
        """What there is, then what comes. After Restarted the new round is told. Ends after Cut and Ended.

        Raises UnknownJob if the job is deleted meanwhile, DatabaseUnavailable, ServerBusy at the server's end.
        """
        rows = await self._jobs.events(self._job_id, self._row)
        while True:
            for row in rows:
                for piece in self._read(row):
                    yield piece
                if self._is_cut:
                    return
            if self._is_over and not rows:
                job = await self._jobs.find(None, self._job_id)
                if job.has_ended:
                    yield Ended(self._next, job)
                    return
            if self._shuts_down() and not self._is_over:
                raise ServerBusy("The server is stopped; the answer goes on.", hint="Read on from another one.")
            rows = await self._more(waits=not self._is_over)

    async def _more(self, *, waits: bool) -> Sequence[JobEvent]:
        if not waits:
            # Until there is no row any more: a job that was done again has ended before.
            return await self._jobs.events(self._job_id, self._row)
        return await self._jobs.watch.wait(self._job_id, self._row, LOOK_S)

    def _read(self, row: JobEvent) -> Sequence[Piece]:
        self._row = row.number
        if row.name in ENDS:
            self._is_over = True
        elif row.name == BEGUN_AGAIN:
            self._is_over = False
        elif row.name == STREAM:
            return self._group(group_of(row.data))
        return ()

    def _group(self, group: Group) -> Sequence[Piece]:
        pieces: list[Piece] = []
        if group.round < self._round:
            return pieces
        if group.round > self._round:
            self._round, self._after = group.round, None
            pieces.append(Restarted(group.begin - 1))
        known = 0 if self._after is None else max(0, self._after + 1 - group.first)
        if group.events[known:]:
            pieces.append(Told(group.first + known, group.events[known:]))
        self._next = group.next
        if group.is_cut:
            pieces.append(Cut(self._next))
            self._is_cut = True
        return pieces

    def _last(self, connection: Connection, _: Database) -> Group | None:
        return last_group(connection, self._job_id)
