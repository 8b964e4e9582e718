"""Asking an HTTP proxy for a tunnel: one CONNECT request and the head of its reply. Source: RFC 9110, 9.3.6."""

from __future__ import annotations

import asyncio
import re
from typing import cast

from waypost.transport.address import Address, join_place
from waypost.transport.failures import MAX_HEADER_BYTES, ConnectionEnded, TunnelRefused

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r?\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")


class TunnelRequest(asyncio.Protocol):
    """`opened` gives the transport as soon as the proxy has agreed; whoever waits for it ends the connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: Address, authorization: str | None) -> None:
        self.opened: asyncio.Future[asyncio.Transport] = loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._head = b""
        place = join_place(address.host, address.port)
        credentials = "" if authorization is None else f"proxy-authorization: {authorization}\r\n"
        self._request = f"CONNECT {place} HTTP/1.1\r\nhost: {place}\r\n{credentials}\r\n".encode()

    def abort(self) -> None:
        """End the connection at once, and whatever was built on it."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Asyncio's protocol."""
        self._head += data
        status_line = _STATUS_LINE.match(self._head)
        end = _HEAD_END.search(self._head)
        if end is None and len(self._head) <= MAX_HEADER_BYTES:
            return
        status = int(status_line[1]) if status_line is not None else None
        # Nobody may speak in the tunnel before we have: what follows the head is not the provider's.
        agreed = status is not None and 200 <= status < 300 and end is not None and end.end() == len(self._head)
        if self.opened.done() or self._transport is None:
            return
        if agreed:
            self.opened.set_result(self._transport)
        else:
            self.opened.set_exception(TunnelRefused(status))

    def connection_lost(self, error: Exception | None) -> None:
        """Asyncio's protocol."""
        if not self.opened.done():
            self.opened.set_exception(error if isinstance(error, OSError) else ConnectionEnded())
