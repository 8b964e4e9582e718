"""Bytes on a connection: replies, streams, and the ways a connection can fail. Only this code touches the socket."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from aiohttp import web

from waypost.simulator.dialect import Dialect, WireError, error_for
from waypost.simulator.events import WireEvent, delivered
from waypost.simulator.faults import (
    CutAfter,
    EndAfter,
    ErrorAfter,
    MalformedAfter,
    StallAfter,
    StatusFault,
    StreamFault,
)
from waypost.simulator.script import Delivery

JSON_TYPE = "application/json"
EVENT_STREAM_TYPE = "text/event-stream; charset=utf-8"
SETTLE_S = 0.02
"""How long the peer gets to read what was sent before a reset: some systems drop unread bytes when one comes."""
FLUSH_LIMIT_S = 1.0
_PHRASES = {200: "Welcome", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out"}
_HTML = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr></body></html>\n"


class Line:
    """The connection one request came on, and the reply's own headers."""

    def __init__(self, request: web.Request, headers: Mapping[str, str], closing: asyncio.Event) -> None:
        self._request = request
        self._headers = headers
        self._closing = closing

    def reply(self, status: int, body: bytes, extra: Mapping[str, str] | None = None) -> web.Response:
        """A whole JSON reply."""
        headers = {"content-type": JSON_TYPE, **self._headers, **(extra or {})}
        return web.Response(status=status, body=body, headers=headers)

    async def open(
        self, content_type: str, *, size_bytes: int | None = None, extra: Mapping[str, str] | None = None
    ) -> web.StreamResponse:
        """The head of a reply whose body follows."""
        response = web.StreamResponse(headers={"content-type": content_type, **self._headers, **(extra or {})})
        response.content_length = size_bytes
        await response.prepare(self._request)
        return response

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

    def __init__(self, line: Line, dialect: Dialect, delivery: Delivery, fault: StreamFault | None, request_id: str):
        self._line = line
        self._dialect = dialect
        self._delivery = delivery
        self._fault = fault
        self._request_id = request_id
        self.sent = 0

    async def send(self, response: web.StreamResponse, events: Iterable[WireEvent]) -> bool:
        """True if the fault struck: a stream shorter than the fault's count ends well."""
        struck = False
        for event in events:
            data = delivered(event.data, self._delivery)
            if not struck and self._is_due(event):
                struck = True
                changed = await self._strike(response, data)
                if changed is None:
                    return True
                data = changed
            await asyncio.sleep(event.wait_s)
            await self._write(response, data)
            self.sent += 1
        return struck

    def _is_due(self, event: WireEvent) -> bool:
        match self._fault:
            case None:
                return False
            case CutAfter(count, inside):
                return self.sent >= count and cut_position(event.data, inside) is not None
            case MalformedAfter(count):
                # A ping is what no client reads.
                return self.sent >= count and event.data != self._dialect.ping
            case EndAfter(count) | StallAfter(count) | ErrorAfter(count):
                return self.sent >= count

    async def _strike(self, response: web.StreamResponse, data: bytes) -> bytes | None:
        """The event as it is to be sent instead; None: nothing more is to be sent."""
        match self._fault:
            case CutAfter(_, inside):
                await self._write(response, data[: cut_position(data, inside)])
                await self._line.reset()
            case StallAfter():
                await self._line.hold()
            case ErrorAfter(_, name, message):
                error = error_for(self._dialect, name=name, message=message)
                told = self._dialect.error_event(error, self._request_id)
                await self._write(response, delivered(told, self._delivery))
            case MalformedAfter():
                return halved(data)
        return None

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
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
    head, mark, data = event.partition(b"data: ")
    kept = data.rstrip(b"\r\n")
    half = kept[: len(kept) // 2].decode(errors="ignore").encode()
    return head + mark + half + data[len(kept) :]


def status_reply(line: Line, dialect: Dialect, fault: StatusFault, request_id: str) -> web.Response:
    """The reply a status fault asks for."""
    error = error_for(dialect, status=fault.status, name=fault.error, message=fault.message, code=fault.code)
    extra = retry_after(fault)
    if fault.body == "json":
        return line.reply(fault.status, dialect.error_body(error, request_id), extra)
    page = _HTML.format(f"{fault.status} {_PHRASES.get(fault.status, 'Error')}") if fault.body == "html" else ""
    return line.reply(fault.status, page.encode(), {**extra, "content-type": "text/html"})


def error_reply(line: Line, dialect: Dialect, error: WireError, request_id: str) -> web.Response:
    """An error in the dialect's own body."""
    return line.reply(error.status, dialect.error_body(error, request_id))


def retry_after(fault: StatusFault) -> dict[str, str]:
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
