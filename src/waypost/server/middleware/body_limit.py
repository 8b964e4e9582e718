"""Bounds a request's body in size and in time: by Content-Length before it is read, and while it is read."""

from __future__ import annotations

import asyncio
import time

from starlette.types import Message, Receive, Scope

from waypost.errors import BodyTooLarge, InvalidRequest
from waypost.server.application import ServedApplication
from waypost.server.disconnect import Connection, connection_of
from waypost.server.middleware.headers import header_value

IDLE_S = 30.0
"""Longest silence within a body."""
TOTAL_S = 300.0
"""Longest time for a whole body: the default limit of 20 MiB then needs 0.6 Mbit/s."""


class BodyLimit:
    """413 `body_too_large` naming the limit; 400 if the body stops coming."""

    def __init__(self, served: ServedApplication, idle_s: float = IDLE_S, total_s: float = TOTAL_S) -> None:
        self._served = served
        self._idle_s = idle_s
        self._total_s = total_s

    def admit(self, scope: Scope, receive: Receive) -> Receive | BodyTooLarge:
        """`receive` that raises BodyTooLarge or InvalidRequest; or at once why the body will not be read."""
        limit = self._served.settings.server.max_body_bytes
        declared = header_value(scope, b"content-length") or ""
        says_length = declared.isascii() and declared.isdigit()
        if says_length and int(declared[:19]) > limit:
            # Not read first: a caller that waits for "100 Continue" never sends it.
            return _too_large(limit)
        connection = connection_of(scope)
        if says_length and connection is not None and not connection.more_body:
            # All of it has come, and is as long as it says: there is nothing to count and nothing to wait for.
            return receive
        bounded = _Bounded(receive, limit, self._idle_s, self._total_s)
        bounded.connection = connection
        return bounded


class _Bounded:
    """`receive` that raises BodyTooLarge or InvalidRequest; after the body it is the server's own."""

    def __init__(self, receive: Receive, limit: int, idle_s: float, total_s: float) -> None:
        self._receive = receive
        self._limit = limit
        self._idle_s = idle_s
        self._total_s = total_s
        self._ends_at = time.monotonic() + total_s
        self._size_bytes = 0
        self._complete = False
        self.connection: Connection | None = None
        """The request's, where the server is ours: it knows whether the body has come."""

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        if self.connection is not None and not self.connection.more_body:
            # All of it has come: there is nothing to wait for.
            return self._counted(await self._receive())
        left_s = self._ends_at - time.monotonic()
        try:
            async with asyncio.timeout(min(self._idle_s, left_s)):
                message = await self._receive()
        except TimeoutError as error:
            raise (self._slow() if left_s < self._idle_s else self._silent()) from error
        return self._counted(message)

    def _counted(self, message: Message) -> Message:
        if message["type"] == "http.request":
            self._size_bytes += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        if self._size_bytes > self._limit:
            raise _too_large(self._limit)
        return message

    def _silent(self) -> InvalidRequest:
        return InvalidRequest(
            f"The rest of the body did not come within {self._idle_s:g} s.",
            hint="Send as many bytes as Content-Length says.",
        )

    def _slow(self) -> InvalidRequest:
        return InvalidRequest(
            f"The body was not complete within {self._total_s:g} s.", hint="Send it faster, or send less."
        )


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The request's body is over the limit of {limit} bytes.",
        hint="Send less, or raise server.max_body_bytes.",
    )
