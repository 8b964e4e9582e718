"""One conversation through a door: read, ask the gateway, write the answer, whole or as a stream.

The invariant: the dialect's terminal event is written only after the provider's. A stream that breaks ends with the
dialect's own error and nothing after it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from waypost.chat import Failed, Finish
from waypost.codecs.codec import DecodedRequest
from waypost.errors import IncompleteStream, ProviderError
from waypost.gateway.gateway import Gateway, Served
from waypost.server.application import lifecycle_of, served_by
from waypost.server.body import off_loop_if_large
from waypost.server.call_record import note_answer
from waypost.server.disconnect import CallerGone, while_connected
from waypost.server.doors.door import Door
from waypost.server.doors.errors import told_error
from waypost.server.doors.headers import reply_headers
from waypost.server.lifecycle import Lifecycle
from waypost.server.live_reply import KEEP_ALIVE_S, LiveReply, Wire
from waypost.server.middleware.access_log import NO_REPLY
from waypost.server.middleware.request_id import request_id_of

logger = logging.getLogger("waypost.server")


def endpoint(door: Door) -> Callable[[Request], Awaitable[Response]]:
    """The handler of a door's path."""

    async def call(request: Request) -> Response:
        body = await request.body()
        decoded = await off_loop_if_large(len(body), lambda: door.decode(request, body))
        gateway, lifecycle = served_by(request).gateway, lifecycle_of(request)
        if decoded.stream:
            return DoorStream(door, gateway, decoded, lifecycle)
        try:
            served = await while_connected(gateway.generate(decoded.request), request.receive, lifecycle)
        except CallerGone:
            return Response(status_code=NO_REPLY)
        return _whole(door, served, request_id_of(request.scope))

    return call


def _whole(door: Door, served: Served, request_id: str) -> Response:
    note_answer(served.provider, served.model, served.attempts)
    encoded = door.codec.encode_response(replace(served.response, model=served.model))
    headers = reply_headers(door, served, encoded.losses, request_id)
    return Response(encoded.body, media_type="application/json", headers={"cache-control": "no-store", **headers})


class DoorStream(LiveReply):
    """An answer as this dialect's server-sent events."""

    def __init__(
        self,
        door: Door,
        gateway: Gateway,
        decoded: DecodedRequest,
        lifecycle: Lifecycle,
        *,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        super().__init__(lifecycle, keep_alive=door.keep_alive, keep_alive_s=keep_alive_s)
        self._door = door
        self._gateway = gateway
        self._request = decoded.request
        self._encoder = door.codec.stream_encoder(include_usage=decoded.include_usage)
        self._request_id = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Raises what went wrong before the first bytes."""
        self._request_id = request_id_of(scope)
        await super().__call__(scope, receive, send)

    async def answer(self, wire: Wire) -> None:
        """Ask the gateway and write what comes. Raises IncompleteStream if the last event is no Finish."""
        encoder = self._encoder
        async with self._gateway.stream(self._request) as served:
            note_answer(served.provider, served.model, served.attempts)
            finished = False
            async for event in served.events:
                if event is served.start:
                    event = replace(served.start, model=served.model)
                elif isinstance(event, Failed):
                    raise event.error
                finished = isinstance(event, Finish)
                written = encoder.encode(event)
                if written and not wire.started:
                    headers = reply_headers(self._door, served, encoder.losses, self._request_id)
                    wire.headers += [(name.encode(), value.encode()) for name, value in headers.items()]
                await wire.send(written)
            if not finished:
                raise IncompleteStream("The stream ended before the provider said that it was finished.")
            await wire.send(encoder.finish(), last=True)
        if encoder.losses:
            # Most of these are found after the headers were sent.
            logger.info("not carried over to the caller: %s", "; ".join(loss.what for loss in encoder.losses))

    def broken(self, error: Exception, scope: Scope) -> bytes:
        """The dialect's error event."""
        told = told_error(error, request_id_of(scope))
        # Decoders promise a ProviderError in Failed; encoders write any error of ours, such as the shutdown's.
        return self._encoder.encode(Failed(cast("ProviderError", told)))
