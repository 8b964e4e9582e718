"""A stream as one JSON array, which is how Google answers streamGenerateContent without alt=sse.

Wraps `send`: what comes as server-sent events goes out as the array's elements, each when it is there. An error that
ends a stream is its last element, as with Google. The invariant: the array is closed exactly when the reply ends.
"""

from __future__ import annotations

from typing import Final

from starlette.types import Message, Send

from waypost.codecs.sse import SseDecoder
from waypost.server.live_reply import ENDS

BETWEEN: Final = b",\r\n"
KEEP_ALIVE: Final = b"\n"
"""What breaks a silence: white space means nothing between elements."""


class JsonArraySend:
    """`send` for one reply."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._events = SseDecoder()
        self._opened = False

    async def __call__(self, message: Message) -> None:
        """Send it, changed where it is the head or a piece of the body."""
        if message["type"] == "http.response.start":
            # A length that was known, as of an answer that is kept, was that of the events.
            headers = [_as_json(header) for header in message["headers"] if header[0].lower() != b"content-length"]
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body":
            message = {**message, "body": self._written(message)}
            # The array's own end comes after the answer's.
            message.pop(ENDS, None)
        await self._send(message)

    def _written(self, message: Message) -> bytes:
        pieces = []
        for event in self._events.feed(message.get("body", b"")):
            pieces.append(BETWEEN if self._opened else b"[")
            pieces.append(event.data)
            self._opened = True
        if not message.get("more_body", False):
            pieces.append(b"]" if self._opened else b"[]")
        return b"".join(pieces) or KEEP_ALIVE


def _as_json(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = header
    return (name, b"application/json; charset=UTF-8") if name.lower() == b"content-type" else (name, value)
