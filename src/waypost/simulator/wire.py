"""Bytes on a connection: replies, streams, and the ways a connection can fail. Only this code touches the socket."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from aiohttp import web

from waypost.simulator.dialect import Broken, Dialect, Head, WireError, error_for
from waypost.simulator.events import WireEvent
from waypost.simulator.faults import (
    CutAfter,
    EndAfter,
    ErrorAfter,
    HugeAfter,
    MalformedAfter,
    NamedError,
    StallAfter,
    StatusFault,
    StreamFault,
)
from waypost.simulator.framing import EVENT_STREAM, Framing
from waypost.simulator.script import Delivery

SETTLE_S = 0.02
"""How long the peer gets to read what was sent before a reset: some systems drop unread bytes when one comes."""
FLUSH_LIMIT_S = 1.0
_PHRASES = {200: "Welcome", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out"}
_HTML = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr></body></html>\n"


class Line(ABC):
    """How a reply goes out, and the manners of it. `head` is what its headers tell."""

    def __init__(self, dialect: Dialect, head: Head, closing: asyncio.Event) -> None:
        self.dialect = dialect
        self.head = head
        self.framing: Framing = EVENT_STREAM
        self.content_type: str | None = None
        """Told in place of the true one, if set."""
        self._closing = closing

    def reply(
        self, status: int, body: bytes, extra: Mapping[str, str] | None = None, *, content_type: str | None = None
    ) -> web.Response:
        """A whole reply, of JSON if nothing else is said."""
        headers = self._headers(content_type or self.dialect.json_type, extra)
        return web.Response(status=status, body=body, headers=headers)

    def refuse(self, error: WireError, extra: Mapping[str, str] | None = None) -> web.Response:
        """An error in the dialect's own body."""
        body = self.dialect.error_body(error, self.head.request_id)
        return self.reply(error.status, self.framing.error_body(body), extra)

    def _headers(self, content_type: str, extra: Mapping[str, str] | None) -> dict[str, str]:
        told = self.content_type or content_type
        return {"content-type": told, **self.dialect.headers(self.head), **(extra or {})}

    @abstractmethod
    async def open(self, content_type: str, *, size_bytes: int | None = None) -> web.StreamResponse:
        """The head of a reply whose body follows."""

    @abstractmethod
    async def break_off(
        self, start: bytes, end: Callable[[], Awaitable[None]], *, content_type: str, size_bytes: int
    ) -> web.StreamResponse:
        """The start of a body of that size, and then one of the ends below."""

    @abstractmethod
    async def reset(self) -> None:
        """End the connection with a TCP reset (RST), after what was written has been read."""

    @abstractmethod
    async def hang_up(self) -> None:
        """End the connection with a normal close (FIN), though the reply is not over."""

    @abstractmethod
    async def hold(self) -> None:
        """Say nothing until the peer leaves (which cancels the caller) or the simulator closes."""


class SocketLine(Line):
    """The connection that a request came on."""

    def __init__(self, request: web.Request, dialect: Dialect, head: Head, closing: asyncio.Event) -> None:
        super().__init__(dialect, head, closing)
        self._request = request

    async def open(self, content_type: str, *, size_bytes: int | None = None) -> web.StreamResponse:
        """The head of a reply whose body follows."""
        extra = {"cache-control": "no-cache"} if size_bytes is None else None
        response = web.StreamResponse(headers=self._headers(content_type, extra))
        response.content_length = size_bytes
        await response.prepare(self._request)
        return response

    async def break_off(
        self, start: bytes, end: Callable[[], Awaitable[None]], *, content_type: str, size_bytes: int
    ) -> web.StreamResponse:
        """The start of a body of that size, and then one of the ends below."""
        reply = await self.open(content_type, size_bytes=size_bytes)
        await reply.write(start)
        await end()
        return reply

    async def reset(self) -> None:
        """End the connection with a TCP reset (RST), after what was written has been read."""
        transport = self._request.transport
        if transport is None:
            return
        await self._flush(transport)
        if (connection := transport.get_extra_info("socket")) is not None:
            # A linger time of 0 makes the close a reset. Source: socket(7), SO_LINGER.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    async def hang_up(self) -> None:
        """End the connection with a normal close (FIN), though the reply is not over."""
        if (transport := self._request.transport) is not None:
            await self._flush(transport)
            transport.close()

    async def hold(self) -> None:
        """Say nothing until the peer leaves (which cancels the caller) or the simulator closes."""
        await self._closing.wait()
        if (transport := self._request.transport) is not None:
            transport.abort()

    async def _flush(self, transport: asyncio.Transport) -> None:
        waited_s = 0.0
        while transport.get_write_buffer_size() and waited_s < FLUSH_LIMIT_S:
            await asyncio.sleep(SETTLE_S)
            waited_s += SETTLE_S
        await asyncio.sleep(SETTLE_S)


class StreamSender:
    """Sends a stream's events, until its end or its fault. `sent` counts the whole events so far."""

    def __init__(self, line: Line, delivery: Delivery, fault: StreamFault | None) -> None:
        self._line = line
        self._delivery = delivery
        self._fault = fault
        self._held = bytearray()
        self._held_events = 0
        self._first = b""
        self.sent = 0

    async def send(self, response: web.StreamResponse, events: Iterable[WireEvent]) -> bool:
        """True if the fault struck: a stream shorter than the fault's count ends well."""
        struck = False
        for event in events:
            data = event.data
            if not struck and self._is_due(event):
                struck = True
                changed = await self._strike(response, data)
                if changed is None:
                    return True
                data = changed
            await asyncio.sleep(event.wait_s)
            await self._write(response, self._framed(data))
            self._first = self._first or data
            self.sent += 1
        await self._write(response, self._line.framing.closing(self.sent), flush=True)
        return struck

    def _framed(self, event: bytes) -> bytes:
        return self._line.framing.frame(event, self.sent, self._delivery)

    def _is_due(self, event: WireEvent) -> bool:
        match self._fault:
            case None:
                return False
            case CutAfter(count, inside):
                return self.sent >= count and cut_position(event.data, inside) is not None
            case MalformedAfter(count) | HugeAfter(count):
                # A ping is what no client reads.
                return self.sent >= count and event.data != self._line.dialect.ping and b"{" in event.data
            case EndAfter(count) | StallAfter(count) | ErrorAfter(count):
                return self.sent >= count

    async def _strike(self, response: web.StreamResponse, event: bytes) -> bytes | None:
        """The event as it is to be sent instead; None: nothing more is to be sent."""
        match self._fault:
            case CutAfter(_, inside):
                data = self._framed(event)
                await self._write(response, data[: cut_position(data, inside)], flush=True)
                await self._line.reset()
            case EndAfter():
                await self._write(response, b"", flush=True)
            case StallAfter():
                await self._write(response, b"", flush=True)
                await self._line.hold()
            case ErrorAfter(_, name, message, in_response):
                error = error_for(self._line.dialect, name=name, message=message)
                broken = Broken(self._line.head.request_id, self.sent, self._first, in_response)
                told = self._line.dialect.error_event(error, broken)
                closing = self._line.framing.closing(self.sent + 1)
                await self._write(response, self._framed(told) + closing, flush=True)
            case MalformedAfter():
                return halved(event)
            case HugeAfter(_, size_bytes):
                return padded(event, size_bytes)
        return None

    async def _write(self, response: web.StreamResponse, data: bytes, *, flush: bool = False) -> None:
        """Write what is held and this; or hold it, if more events are to go with it."""
        self._held += data
        self._held_events += 1
        if self._held_events < self._delivery.events_per_write and not flush:
            return
        data = bytes(self._held)
        self._held.clear()
        self._held_events = 0
        size = self._delivery.write_bytes or len(data)
        for start in range(0, len(data), max(size, 1)):
            await response.write(data[start : start + size])


def cut_position(event: bytes, inside: str) -> int | None:
    """Where to cut the event; None if it holds no place of that kind."""
    if inside == "boundary":
        return 0
    if inside == "event":
        return len(event) // 2
    # The first byte of a character of several is the last that is sent.
    return next((position + 1 for position, byte in enumerate(event) if byte >= 0x80), None)


def halved(event: bytes) -> bytes:
    """The event with half its data, so that it is an event still but no JSON."""
    start = event.index(b"{")
    kept = event[start:].rstrip()
    half = kept[: len(kept) // 2].decode(errors="ignore").encode()
    return event[:start] + half + event[start + len(kept) :]


def padded(event: bytes, size_bytes: int) -> bytes:
    """The event with one more member, which makes it that long; OpenAI pads its events under this name too."""
    head, brace, data = event.partition(b"{")
    missing = max(0, size_bytes - len(event) - len(_PADDING % b""))
    return head + brace + _PADDING % (b"x" * missing) + data


_PADDING = b'"obfuscation":"%s",'


def fault_reply(line: Line, fault: StatusFault | NamedError) -> web.Response:
    """The error reply that a fault asks for."""
    if isinstance(fault, NamedError):
        error = error_for(line.dialect, name=fault.named_error, message=fault.message)
        body = "json"
    else:
        error = error_for(line.dialect, status=fault.status, name=fault.error, message=fault.message, code=fault.code)
        body = fault.body
    extra = retry_after(fault)
    line.head = replace(line.head, is_limited=error.status == 429, retry_after_s=fault.retry_after_s)
    if body == "json":
        return line.refuse(replace(error, retry_after_s=fault.retry_after_s), extra)
    page = _HTML.format(f"{error.status} {_PHRASES.get(error.status, 'Error')}") if body == "html" else ""
    return line.reply(error.status, page.encode(), {**extra, "content-type": "text/html"})


def retry_after(fault: StatusFault | NamedError) -> dict[str, str]:
    """The header that asks to wait. Source: RFC 9110, 10.2.3; `retry-after-ms` is OpenAI's and Azure's own."""
    if fault.retry_after_s is None:
        return {}
    if fault.retry_after_form == "milliseconds":
        return {"retry-after-ms": str(round(fault.retry_after_s * 1000))}
    seconds = math.ceil(fault.retry_after_s)
    if fault.retry_after_form == "seconds":
        return {"retry-after": str(seconds)}
    # A date has no fraction: rounded up, so that it is never too early.
    then = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds + 1)
    return {"retry-after": format_datetime(then, usegmt=True)}
