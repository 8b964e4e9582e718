"""A reply that is sent while it is made: what every stream here has in common, whatever its events look like.

One task pulls events from the provider and sends them on; there is no queue between the two, so a slow reader slows
the provider down. Until the first bytes go out an error is an ordinary HTTP error; after that the reply ends with
whatever `broken` says, never as if it were finished. A caller who leaves cancels the work.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from waypost.codecs.sse import encode_comment
from waypost.errors import WaypostError
from waypost.gateway.call_record import note_failure
from waypost.server.disconnect import CallerGone, connection_of, pass_on_of, while_connected
from waypost.server.lifecycle import Lifecycle
from waypost.server.middleware.request_id import request_id_of

logger = logging.getLogger("waypost.server")
KEEP_ALIVE_S = 15.0
"""Longest silence on the wire: proxies give up on quiet connections, often after 30 or 60 s."""
COMMENT = encode_comment()
ENDS = "waypost.ends"
"""In a message that is not the last one: with it the answer is whole, and nothing of it comes any more."""
HEADERS: Mapping[str, str] = {"cache-control": "no-store", "x-accel-buffering": "no"}


class Wire:
    """The caller's side: starts the reply with the first bytes and breaks long silences after them."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]], keep_alive: bytes, keep_alive_s: float) -> None:
        self.started = False
        self.headers = headers
        """Those of the reply; they may grow until it has started."""
        self._send = send
        self._pass_on = pass_on_of(send)
        self._keep_alive = keep_alive
        self._keep_alive_s = keep_alive_s
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._timer = self._loop.call_later(keep_alive_s, self._look)
        self._beats: set[asyncio.Task[None]] = set()

    async def send(self, body: bytes, *, last: bool = False, ends: bool = False) -> None:
        """Send whole events in one write; the last ends the reply. `ends`: the answer is whole with them."""
        if body or last:
            self._sent_at = self._loop.time()
            if not self.started:
                self.started = True
                await self._send({"type": "http.response.start", "status": 200, "headers": self.headers})
            self._ended = last
            message: Message = {"type": "http.response.body", "body": body, "more_body": not last}
            if ends:
                message[ENDS] = True
            await self._send(message)

    @property
    def passes_on(self) -> bool:
        """Can `pass_on` ever send anything?"""
        return self._pass_on is not None

    def pass_on(self, body: bytes) -> bool:
        """Send whole events in the middle of a reply at once. False: it cannot be done now."""
        if self._ended or self._pass_on is None or not self._pass_on(body):
            return False
        self._sent_at = self._loop.time()
        return True

    def close(self) -> None:
        """Nothing more is sent."""
        self._ended = True
        self._timer.cancel()
        for beat in self._beats:
            beat.cancel()

    def _look(self) -> None:
        """Has the wire been silent for too long? One timer looks again when that may be so, however much is sent."""
        if self._ended:
            return
        silent_s = self._loop.time() - self._sent_at
        if silent_s >= self._keep_alive_s:
            silent_s = 0.0
            if self.started:
                beat = self._loop.create_task(self._beat())
                self._beats.add(beat)
                beat.add_done_callback(self._beats.discard)
        self._timer = self._loop.call_later(self._keep_alive_s - silent_s, self._look)

    async def _beat(self) -> None:
        """Something without meaning. Whole messages may come between those of the answer."""
        if not self._ended:
            self._sent_at = self._loop.time()
            await self._send({"type": "http.response.body", "body": self._keep_alive, "more_body": True})


class LiveReply(Response, ABC):
    """Makes its answer itself when the server asks for the reply: one owner opens and closes the provider's stream."""

    media_type = "text/event-stream"

    def __init__(
        self, lifecycle: Lifecycle, *, keep_alive: bytes = COMMENT, keep_alive_s: float = KEEP_ALIVE_S
    ) -> None:
        # Not the parent's __init__, which would render a body and its length.
        self.status_code = 200
        self.background = None
        self.init_headers(HEADERS)
        self._lifecycle = lifecycle
        self._keep_alive = keep_alive
        self._keep_alive_s = keep_alive_s

    @abstractmethod
    async def answer(self, wire: Wire) -> None:
        """Send all of it; the last write says that it is the last."""

    @abstractmethod
    def broken(self, error: Exception, scope: Scope) -> bytes:
        """How a reply ends that has begun and cannot be finished."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises what went wrong before the first bytes."""
        wire = Wire(send, [*self.raw_headers], self._keep_alive, self._keep_alive_s)
        try:
            await while_connected(self.answer(wire), receive, self._lifecycle, connection_of(scope))
        except CallerGone:
            return
        except Exception as error:
            if not wire.started:
                raise
            note_failure(error)
            if not isinstance(error, WaypostError):
                logger.exception("the stream of request %s broke", request_id_of(scope))
            await wire.send(self.broken(error, scope), last=True)
        finally:
            wire.close()
