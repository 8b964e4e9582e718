"""One conversation through a door: read, ask the gateway, write the answer, whole or as a stream.

The invariant: the dialect's terminal event is written only after the provider's. A stream that breaks ends with the
dialect's own error and nothing after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from waypost.chat import Failed, Finish, PartStart, ResponseStart
from waypost.errors import IncompleteStream, ProviderError
from waypost.gateway.gateway import Gateway
from waypost.gateway.served import Served, ServedStream
from waypost.providers.answers import Batch
from waypost.providers.asked import Asked
from waypost.server.application import lifecycle_in, served_in
from waypost.server.body import LARGE_BYTES, read_whole
from waypost.server.callers import caller_of
from waypost.server.disconnect import CallerGone, connection_of, while_connected
from waypost.server.doors.beside import beside, part_beside, response_beside
from waypost.server.doors.door import Door
from waypost.server.doors.errors import told_error
from waypost.server.doors.headers import reply_headers
from waypost.server.doors.kept import cache_of, through_cache
from waypost.server.doors.signatures import Signatures, signatures_for
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
        signatures = signatures_for(scope, asked)
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
        self._signatures = signatures
        self._door = door
        self._gateway = gateway
        self._asked = asked
        include_usage = asked.written is None or asked.written.seen.include_usage
        self._encoder = door.codec.stream_encoder(include_usage=include_usage)
        self._request_id = ""
        self._served: ServedStream | None = None
        self._passed = True
        """Have all bytes so far been the provider's own?"""
        self._unseen = b""
        """The last of them, which the encoder has not seen."""
        self._finished = False
        self._held = b""

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Send it. Raises what went wrong before the first bytes."""
        self._request_id = request_id_of(scope)
        return super().__call__(scope, receive, send)

    async def answer(self, wire: Wire) -> None:
        """Ask the gateway and write what comes. Raises IncompleteStream if the last event is no Finish."""
        async with self._gateway.stream(self._asked) as served:
            self._served = served
            passes_on = False
            async for batch in served:
                if batch.raw is not None:
                    written = self._unseen = batch.raw
                else:
                    written = self._translated(batch, served)
                    if self._finished:
                        # Told together with the stream's end, which most often has come already.
                        self._held += written
                        continue
                if written and not wire.started:
                    wire.headers += self._told_by(served, passed=batch.raw is not None)
                await wire.send(self._taken() + written if self._held else written, ends=batch.ends)
                if self._passed and not passes_on and wire.passes_on:
                    passes_on = True
                    served.pass_on_by(lambda raw: self._pass_on(raw, wire))
            end = self._taken()
            if not self._passed:
                if not self._finished:
                    raise IncompleteStream("The stream ended before the provider said that it was finished.")
                end += self._encoder.finish()
            if not wire.started:
                wire.headers += self._told_by(served, passed=self._passed)
            await wire.send(end, last=True)
        self.complete = True
        if self._encoder.losses:
            # Most of these are found after the headers were sent.
            logger.info("not carried over to the caller: %s", "; ".join(loss.what for loss in self._encoder.losses))

    def _pass_on(self, raw: bytes, wire: Wire) -> bool:
        """See `PassesOn`."""
        sent = wire.pass_on(raw)
        if sent:
            self._unseen = raw
        return sent

    def broken(self, error: Exception, scope: Scope) -> bytes:
        """The dialect's error event."""
        told = told_error(error, request_id_of(scope))
        self._catch_up()
        # Decoders promise a ProviderError in Failed; encoders write any error of ours, such as the shutdown's.
        event = self._encoder.encode(Failed(cast("ProviderError", told)))
        return self._taken() + (self._door.error_after(event, self._unseen) if self._unseen else event)

    def _taken(self) -> bytes:
        """What was held back, once."""
        held, self._held = self._held, b""
        return held

    def _translated(self, batch: Batch, served: ServedStream) -> bytes:
        self._catch_up()
        written = []
        for event in batch.events:
            if isinstance(event, ResponseStart):
                fields = beside(event.provider_fields, self._door.beside(self._asked))
                event = replace(event, model=served.model, provider_fields=fields)
            self._finished = isinstance(event, Finish)
            if self._signatures is not None:
                self._signatures.see(event)
            if type(event) is PartStart and self._door.parts_beside:
                event = replace(event, part=part_beside(event.part, self._door.parts_beside))
            written.append(self._encoder.encode(event))
        return b"".join(written)

    def _catch_up(self) -> None:
        """From here on we write ourselves: if it was the provider's own bytes before, the encoder must know them."""
        if self._passed and self._served is not None:
            for event in self._served.sent_events():
                self._encoder.encode(event)
                self._unseen = b""
        self._passed = False

    def _told_by(self, served: ServedStream, *, passed: bool) -> list[tuple[bytes, bytes]]:
        own = reply_headers(self._door, served, self._encoder.losses, self._request_id)
        return raw_headers({**served.headers, **own} if passed else own)
