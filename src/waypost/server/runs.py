"""Calls for resumable streams: each runs in a task of its own, writes into its buffer, and needs no caller to go on.

A run ends with its answer, with an error, at the end of the shutdown's grace time, or when it is told to stop: by its
buffer when nobody has read it for too long, or by a caller. The invariant: the last event of a buffer that ended is
`done` or `error`; a run that was stopped leaves its buffer without either, and marked as stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.types import Message

from waypost.doors.telling import Told
from waypost.errors import WaypostError
from waypost.gateway.call_record import note_failure
from waypost.gateway.resume import StreamWriter
from waypost.gateway.story import Outcome
from waypost.server.disconnect import CallerGone, while_connected
from waypost.server.generations import Generations
from waypost.server.lifecycle import Lifecycle
from waypost.server.stream import Call, encode_told, error_event

logger = logging.getLogger("waypost.server")
RESPONSE_ID: Final = "x-waypost-response-id"
"""The header that tells a resumable stream's id."""


class Stop:
    """Stands where a caller's connection would: only `now` ends what hangs on it."""

    def __init__(self) -> None:
        self.disconnected = False
        self.on_disconnect: Callable[[], None] | None = None
        self.more_body = False

    def now(self) -> None:
        """End it. Before its beginning, too."""
        self.disconnected = True
        if self.on_disconnect is not None:
            self.on_disconnect()


@dataclass(frozen=True, slots=True)
class Origin:
    """The request that began a run. `settle` has its story end as the run did, with all that the run used.

    None: the request's own reply tells how it ended.
    """

    request_id: str
    settle: Callable[[Outcome | None], None]


class Run:
    """One call that is told to a buffer."""

    def __init__(self, call: Call, writer: StreamWriter, stop: Stop, lifecycle: Lifecycle, origin: Origin) -> None:
        self.stop = stop
        self._call = call
        self._writer = writer
        self._lifecycle = lifecycle
        self._origin = origin
        self._begun = asyncio.Event()
        self._written = False
        self._error: Exception | None = None

    async def begun(self) -> None:
        """Returns with the first events, or with the end. Raises what went wrong before the first."""
        await self._begun.wait()
        if self._error is not None:
            raise self._error

    async def work(self) -> None:
        """All of it. Raises nothing: what goes wrong is an event, or `begun` tells it."""
        outcome: Outcome = "caller_left"
        with self._writer:
            try:
                await while_connected(self._call.tell(self._take), _nobody, self._lifecycle, self.stop)
            except CallerGone:
                pass
            except Exception as error:
                outcome = "failed"
                if self._written and not isinstance(error, WaypostError):
                    logger.exception("the stream of request %s broke", self._origin.request_id)
                self._broke(error)
            else:
                outcome = "answered"
                self._writer.end("finished")
            finally:
                self._begun.set()
        self._origin.settle(outcome if self._written else None)

    async def _take(self, told: Sequence[Told]) -> None:
        self._write(told)
        self._begun.set()
        if told[-1].event != "done":
            await self._writer.ready()

    def _write(self, told: Sequence[Told]) -> None:
        self._written = True
        for each in told:
            self._writer.append(encode_told(each, self._writer.next_id))

    def _broke(self, error: Exception) -> None:
        if not self._written:
            self._error = error
            return
        note_failure(error)
        self._write((error_event(error, self._origin.request_id),))
        self._writer.end("failed")


class Runs:
    """The runs of one server."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self._tasks: dict[asyncio.Task[None], Stop] = {}

    def start(self, run: Run) -> None:
        """Let it work."""
        task = asyncio.create_task(self._work(run))
        self._tasks[task] = run.stop
        task.add_done_callback(self._tasks.pop)

    async def _work(self, run: Run) -> None:
        """A run uses what a reload may replace, for longer than its request."""
        with self._generations.held():
            await run.work()

    async def close(self) -> None:
        """Stop all, and wait until they have let go of their providers."""
        running = [task for task in self._tasks if not task.done()]
        for task in running:
            self._tasks[task].now()
        await asyncio.gather(*running, return_exceptions=True)


async def _nobody() -> Message:
    raise AssertionError("a run has no caller to receive from")
