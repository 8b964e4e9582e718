"""One request and its reply on uvicorn's connection: as uvicorn's own, with one write for a reply's head and body.

It is also the ASGI extension by which the application learns at once that the caller has gone (see `disconnect`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from waypost.server.disconnect import CONNECTION

# RFC 9110, 5.5: a field value holds no control characters but the tab; a name is a token.
_UNSOUND: Final = bytes({*range(32), 127} - {9})
_BODYLESS: Final = frozenset({204, 304})


class _Done:
    """To be awaited where there is nothing to wait for."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


_DONE: Final = _Done()


class Cycle(RequestResponseCycle):
    """Takes ASGI's messages. The head waits for the first bytes of the body, at most until the loop's next turn."""

    on_disconnect: Callable[[], None] | None = None
    _head: bytes = b""

    async def run_asgi(self, app: Any) -> None:
        """Have the application answer.

        After that the scope leads here no more: the two would be a cycle, which keeps the request and all that it
        leads to until the collector looks at what is old, and that is seldom.
        """
        try:
            await super().run_asgi(app)
        finally:
            (self.scope.get("extensions") or {}).pop(CONNECTION, None)

    def disconnect(self) -> None:
        """The connection was lost."""
        if self.on_disconnect is not None:
            self.on_disconnect()

    async def receive(self) -> Any:
        """The next message of the request; at once if its whole body has come and was not given yet."""
        if self.more_body or not self.body or self.disconnected or self.response_complete:
            return await super().receive()
        body, self.body = bytes(self.body), bytearray()
        self.message_event.clear()
        return {"type": "http.request", "body": body, "more_body": False}

    def send(self, message: Any) -> Awaitable[None]:  # type: ignore[override]
        """Send one message of the reply. No coroutine unless there is something to wait for."""
        if self.disconnected:
            return _DONE
        if self.flow.write_paused:
            return self._send_later(message)
        if message["type"] == "http.response.body":
            self._body(message.get("body", b""), last=not message.get("more_body", False))
        elif message["type"] == "http.response.start":
            self._start(message)
        else:
            raise RuntimeError(f"an HTTP reply takes no message {message['type']!r}")
        return _DONE

    def pass_on(self, body: bytes) -> bool:
        """Send some of the reply's body at once. False: it is not the time for it, and nothing was sent."""
        if self.disconnected or self.flow.write_paused or self.response_complete or not self.response_started:
            return False
        self._body(body, last=False)
        return True

    async def _send_later(self, message: Any) -> None:
        await self.flow.drain()
        await self.send(message)

    def _start(self, message: Any) -> None:
        if self.response_started:
            raise RuntimeError("a reply is started once")
        self.response_started = True
        self.waiting_for_100_continue = False
        status: int = message["status"]
        headers = [*self.default_headers, *message.get("headers", ())]
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        closes = False
        for name, value in headers:
            lowered = name.lower()
            if lowered == b"content-length":
                self.chunked_encoding = False
                self.expected_content_length = int(value)
            elif lowered == b"connection" and b"close" in value.lower():
                self.keep_alive, closes = False, True
        fields = b"".join(lines)
        # Each line ends with two control characters, and there are no others.
        if len(fields) - len(fields.translate(None, _UNSOUND)) != 2 * len(lines):
            raise RuntimeError("a header of the reply holds a control character")
        own = b""
        if not self.keep_alive and not closes:
            own = b"connection: close\r\n"
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in _BODYLESS:
            self.chunked_encoding = True
            own += b"transfer-encoding: chunked\r\n"
        self._head = b"".join((STATUS_LINE[status], fields, own, b"\r\n"))
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        if self._head and not self.disconnected and not self.transport.is_closing():
            head, self._head = self._head, b""
            self.transport.write(head)

    def _body(self, body: bytes, *, last: bool) -> None:
        if self.response_complete or not self.response_started:
            raise RuntimeError("a body comes after its start, and not after its end")
        head, self._head = self._head, b""
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            body = b""
        elif self.chunked_encoding:
            end = b"0\r\n\r\n" if last else b""
            body = b"".join((b"%x\r\n" % len(body), body, b"\r\n", end)) if body else end
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("the body is longer than Content-Length says")
        if head or body:
            self.transport.write(head + body)
        if last:
            self._end()

    def _end(self) -> None:
        if self.expected_content_length:
            raise RuntimeError("the body is shorter than Content-Length says")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
