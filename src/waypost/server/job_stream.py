"""The stream of a background answer, as a reply: what was told, then what comes. The reader may leave and come back.

What an event looks like is the grammar's; see `doors.background_responses` and `generate_background`. The invariant: an
end is told only after the job's.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Protocol

from starlette.types import Receive, Scope, Send

from waypost.jobs.job import Job
from waypost.jobs.reading import Cut, Ended, Restarted, StreamReading, Told
from waypost.server.lifecycle import Lifecycle
from waypost.server.live_reply import COMMENT, KEEP_ALIVE_S, LiveReply, Wire
from waypost.server.middleware.request_id import request_id_of


class StreamGrammar(Protocol):
    """How one endpoint tells such streams."""

    goes_on: bool
    """Can a stream begin anew within itself?"""

    def prelude(self, numbers: range) -> bytes:
        """Those of the events before the first round's own."""

    def told(self, told: Told) -> bytes:
        """Events."""

    def restarted(self, number: int) -> bytes:
        """What was told before is void."""

    def cut(self, number: int, request_id: str) -> bytes:
        """No more events are kept; the job goes on."""

    async def ended(self, number: int, job: Job, request_id: str) -> bytes:
        """How it ended; nothing for a reader who knows."""

    def broken(self, error: Exception, request_id: str) -> bytes:
        """The reading broke, not the stream."""


class JobStreamReply(LiveReply):
    """See the module."""

    def __init__(
        self,
        reading: StreamReading,
        grammar: StreamGrammar,
        lifecycle: Lifecycle,
        *,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        super().__init__(lifecycle, keep_alive_s=keep_alive_s)
        self._reading = reading
        self._grammar = grammar
        self._request_id = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises what went wrong before the first bytes."""
        self._request_id = request_id_of(scope)
        await super().__call__(scope, receive, send)

    async def answer(self, wire: Wire) -> None:
        """Tell what there is, then what comes."""
        grammar = self._grammar
        restarted = await self._reading.start()
        if restarted is not None:
            await wire.send(grammar.restarted(restarted.number), last=not grammar.goes_on)
            if not grammar.goes_on:
                return
        await wire.send(grammar.prelude(self._reading.unknown_prelude) or COMMENT)
        async with aclosing(self._reading.pieces()) as pieces:
            async for piece in pieces:
                match piece:
                    case Told():
                        await wire.send(grammar.told(piece))
                    case Restarted():
                        await wire.send(grammar.restarted(piece.number), last=not grammar.goes_on)
                        if not grammar.goes_on:
                            return
                    case Cut():
                        await wire.send(grammar.cut(piece.number, self._request_id), last=True)
                    case Ended():
                        told = await grammar.ended(piece.number, piece.job, self._request_id)
                        await wire.send(told, last=True)

    def broken(self, error: Exception, scope: Scope) -> bytes:
        """An error that is none of the stream's events."""
        return self._grammar.broken(error, request_id_of(scope))
