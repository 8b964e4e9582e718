"""One conversation through a door: read, ask the gateway, write the answer, whole or as a stream.

The invariant: the dialect's terminal event is written only after the provider's. A stream that breaks ends with the
dialect's own error and nothing after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from waypost.doors.beside import beside, response_beside
from waypost.doors.signatures import Signatures, signatures_for
from waypost.doors.writing import Writing
from waypost.gateway.gateway import Gateway
from waypost.gateway.served import Served, ServedStream
from waypost.providers.asked import Asked
from waypost.server.application import lifecycle_in, served_in
from waypost.server.body import LARGE_BYTES, read_whole
from waypost.server.callers import caller_of
from waypost.server.disconnect import CallerGone, connection_of, while_connected
from waypost.server.doors.door import Door
from waypost.server.doors.errors import told_error
from waypost.server.doors.headers import reply_headers
from waypost.server.doors.kept import cache_of, through_cache
from waypost.server.lifecycle import Lifecycle
from waypost.server.live_reply import KEEP_ALIVE_S, LiveReply, Wire
from waypost.server.middleware.request_id import request_id_of

_OF_WHOLE_ANSWERS: Final = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
logger = logging.getLogger("waypost.server")


class DoorCall:
    """The ASGI application at a door's path."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises what went wrong before the first bytes of the answer."""
        door = self._door
        try:
            body = await read_whole(receive)
        except ClientDisconnect:
            return
        if len(body) < LARGE_BYTES:
            asked = door.read(scope, body)
        else:
            asked = await asyncio.to_thread(door.read, scope, body)
        await self.answer(asked, scope, receive, send)

    async def answer(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose body has been read. Raises as a call does."""
        door = self._door
        caller_of(scope).demand(asked.model)
        cache = cache_of(scope, asked)
        if cache is None:
            await self._answer(asked, scope, receive, send)
        else:
            await through_cache(cache, door, asked, scope, send, lambda send: self._answer(asked, scope, receive, send))

    async def _answer(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> bool:
        """Ask the gateway and send what it answers. True if the provider finished and all was sent."""
        door, gateway, lifecycle = self._door, served_in(scope).gateway, lifecycle_in(scope)
        signatures = signatures_for(served_in(scope).stores.signatures, caller_of(scope).name, asked)
        if asked.stream:
            stream = DoorStream(door, gateway, asked, lifecycle, signatures=signatures)
            await stream(scope, receive, send)
            return stream.complete
        try:
            served = await while_connected(gateway.generate(asked), receive, lifecycle, connection_of(scope))
        except CallerGone:
            return False
        if signatures is not None and served.answer.body is None:
            signatures.keep(served.response)
        headers, content = whole_answer(door, served, asked, request_id_of(scope))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})
        return True


def whole_answer(door: Door, served: Served, asked: Asked, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the body of a whole answer: the provider's own body where it is in this dialect."""
    content = served.answer.body
    if content is not None:
        headers = {**served.headers, **reply_headers(door, served, (), request_id)}
    else:
        response = response_beside(served.response, door.parts_beside)
        fields = beside(response.provider_fields, door.beside(asked))
        encoded = door.codec.encode_response(replace(response, model=served.model, provider_fields=fields))
        content = encoded.body
        headers = dict(reply_headers(door, served, encoded.losses, request_id))
    return [*raw_headers(headers), *_OF_WHOLE_ANSWERS, (b"content-length", b"%d" % len(content))], content


def raw_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """As ASGI wants them."""
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]


class DoorStream(LiveReply):
    """An answer as this dialect's server-sent events."""

    def __init__(
        self,
        door: Door,
        gateway: Gateway,
        asked: Asked,
        lifecycle: Lifecycle,
        *,
        signatures: Signatures | None = None,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        super().__init__(lifecycle, keep_alive=door.keep_alive, keep_alive_s=keep_alive_s)
        self.complete = False
        """Has the provider finished, and was all of it sent?"""
        self._door = door
        self._gateway = gateway
        self._asked = asked
        self._writing = Writing(door, asked, signatures)
        self._request_id = ""
        self._held = b""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Send it. Raises what went wrong before the first bytes."""
        self._request_id = request_id_of(scope)
        return super().__call__(scope, receive, send)

    async def answer(self, wire: Wire) -> None:
        """Ask the gateway and write what comes. Raises IncompleteStream if the last event is no Finish."""
        writing = self._writing
        async with self._gateway.stream(self._asked) as served:
            writing.served = served
            passes_on = False
            async for batch in served:
                written = writing.write(batch)
                if batch.raw is None and writing.finished:
                    # Told together with the stream's end, which most often has come already.
                    self._held += written
                    continue
                if written and not wire.started:
                    wire.headers += self._told_by(served, passed=batch.raw is not None)
                await wire.send(self._taken() + written if self._held else written, ends=batch.ends)
                if writing.passed and not passes_on and wire.passes_on:
                    passes_on = True
                    served.pass_on_by(lambda raw: self._pass_on(raw, wire))
            end = self._taken() + writing.end()
            if not wire.started:
                wire.headers += self._told_by(served, passed=writing.passed)
            await wire.send(end, last=True)
        self.complete = True
        if writing.losses:
            # Most of these are found after the headers were sent.
            logger.info("not carried over to the caller: %s", "; ".join(loss.what for loss in writing.losses))

    def _pass_on(self, raw: bytes, wire: Wire) -> bool:
        """See `PassesOn`."""
        sent = wire.pass_on(raw)
        if sent:
            self._writing.note_passed(raw)
        return sent

    def broken(self, error: Exception, scope: Scope) -> bytes:
        """The dialect's error event."""
        event = self._writing.broken(told_error(error, request_id_of(scope)))
        return self._taken() + event

    def _taken(self) -> bytes:
        """What was held back, once."""
        held, self._held = self._held, b""
        return held

    def _told_by(self, served: ServedStream, *, passed: bool) -> list[tuple[bytes, bytes]]:
        own = reply_headers(self._door, served, self._writing.losses, self._request_id)
        return raw_headers({**served.headers, **own} if passed else own)
