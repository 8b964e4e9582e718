"""The reply that tells an answer as server-sent events while it is written.

One task pulls events from the provider and sends them on; there is no queue between the two, so a slow reader slows
the provider down. Until the first content arrives nothing is sent, and an error is an ordinary HTTP error; after
that a stream that breaks ends with `event: error`, never with `done`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from waypost.chat import PartStart, ResponseStart, UsageUpdate
from waypost.codecs.sse import encode_comment, encode_event
from waypost.errors import WaypostError
from waypost.server.disconnect import CallerGone, while_connected
from waypost.server.envelope import envelope
from waypost.server.jsonwire import json_bytes
from waypost.server.lifecycle import Lifecycle
from waypost.server.middleware.request_id import request_id_of
from waypost.server.service import AIService, open_stream
from waypost.server.telling import Telling, Told

logger = logging.getLogger("waypost.server")
KEEP_ALIVE_S = 15.0
"""Longest silence on the wire: proxies give up on quiet connections, often after 30 or 60 s."""


class EventStream(Response):
    """Runs the call itself when the server asks for the reply: one owner opens and closes the provider's stream."""

    media_type = "text/event-stream"

    def __init__(
        self,
        service: AIService,
        prompt: str,
        arguments: Mapping[str, Any],
        lifecycle: Lifecycle,
        *,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        # Not the parent's __init__, which would render a body and its length.
        self.status_code = 200
        self.background = None
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no"})
        self._service = service
        self._prompt = prompt
        self._arguments = arguments
        self._lifecycle = lifecycle
        self._keep_alive_s = keep_alive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises what went wrong before the first content."""
        wire = _Wire(send, self.raw_headers, self._keep_alive_s)
        beat = asyncio.create_task(wire.keep_alive())
        try:
            await while_connected(self._answer(wire), receive, self._lifecycle)
        except CallerGone:
            return
        except Exception as error:
            if not wire.started:
                raise
            if not isinstance(error, WaypostError):
                logger.exception("the stream of request %s broke", request_id_of(scope))
            await wire.send((Told("error", envelope(error, request_id_of(scope))),), last=True)
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)

    async def _answer(self, wire: _Wire) -> None:
        async with open_stream(self._service, self._prompt, self._arguments) as stream:
            telling = Telling(stream)
            wire.id = telling.id
            held: list[Told] = []
            async for event in stream:
                held.extend(telling.tell(event))
                # `start` alone waits, because the provider may still fail without having said anything.
                if len(held) > 1 or wire.started or not isinstance(event, ResponseStart | PartStart | UsageUpdate):
                    await wire.send(held)
                    held.clear()
            await wire.send((*held, telling.done()), last=True)


class _Wire:
    """The caller's side: numbers the events, starts the reply with the first, breaks long silences."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]], keep_alive_s: float) -> None:
        self.started = False
        self.id = ""
        self._send = send
        self._headers = headers
        self._keep_alive_s = keep_alive_s
        self._sequence = 0
        self._ended = False
        self._sent_at = time.monotonic()
        # Two tasks write: the answer and the keep-alive.
        self._lock = asyncio.Lock()

    async def send(self, told: tuple[Told, ...] | list[Told], *, last: bool = False) -> None:
        """Send events in one write; the last ends the reply."""
        if not told:
            return
        async with self._lock:
            if not self.started:
                self.started = True
                await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})
            body = b"".join(self._encode(event) for event in told)
            self._ended = last
            self._sent_at = time.monotonic()
            await self._send({"type": "http.response.body", "body": body, "more_body": not last})

    async def keep_alive(self) -> None:
        """Send a comment whenever the wire was silent for too long, until cancelled."""
        while True:
            await asyncio.sleep(self._sent_at + self._keep_alive_s - time.monotonic())
            async with self._lock:
                if time.monotonic() - self._sent_at < self._keep_alive_s:
                    continue
                self._sent_at = time.monotonic()
                if self.started and not self._ended:
                    await self._send({"type": "http.response.body", "body": encode_comment(), "more_body": True})

    def _encode(self, told: Told) -> bytes:
        encoded = encode_event(json_bytes(told.data), event=told.event, id=f"{self.id}.{self._sequence}")
        self._sequence += 1
        return encoded
