"""How a pool of connections is set up: aiohttp's settings, TLS trust, and probes of silent connections.

Nothing here sends anything. A pool belongs to the event loop it was made in.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

from waypost.errors import ConfigurationError
from waypost.transport.deadlines import Limit
from waypost.transport.failures import MAX_HEADER_BYTES, MAX_HEADERS

if TYPE_CHECKING:
    import aiohttp

KEEP_ALIVE_S = 15.0
"""How long an unused connection stays in the pool."""
CLOSE_S = 2.0
"""How long closing a pool waits for the other ends."""
_READ_BUFFER_BYTES = 256 * 1024
_PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds of silence before the first probe, seconds between two, and how many may go unanswered (see tcp(7))."""


class Pool:
    """The connections of one client in one event loop: idle ones in `session`, and those of the open replies."""

    __slots__ = ("responses", "session")

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.responses: set[aiohttp.ClientResponse] = set()

    def end(self, response: aiohttp.ClientResponse) -> None:
        """End its connection at once, unless the whole body has come: then it is back among the idle ones."""
        self.responses.discard(response)
        connection = response.connection
        transport = connection.transport if connection is not None else None
        response.close()
        if transport is not None:
            # close() alone would first flush what the peer does not take, and wait for its farewell in TLS.
            transport.abort()

    async def close(self) -> None:
        """End every connection. Readers of a body get an error."""
        # aiohttp would close the sockets of the open replies and leave their readers waiting.
        for response in list(self.responses):
            self.end(response)
        # A peer that has stopped reading could hold up the end of its connection for ever.
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self.session.close()


def new_session(tls: ssl.SSLContext | bool, proxy: str | None) -> aiohttp.ClientSession:
    """A pool for the running loop: no cookies, no decompression, nothing taken from the environment."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0, ssl=tls, keepalive_timeout=KEEP_ALIVE_S, socket_factory=_probed_socket)
    return aiohttp.ClientSession(
        connector=connector,
        headers={"User-Agent": f"waypost/{_version()}", "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        # Time is kept by ExchangeClock alone, so that every limit has one owner and one kind of error.
        timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
        trace_configs=[_sending_trace()],
        auto_decompress=False,
        trust_env=False,
        proxy=proxy,
        read_bufsize=_READ_BUFFER_BYTES,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        max_headers=MAX_HEADERS,
    )


Pools: TypeAlias = dict[asyncio.AbstractEventLoop, Pool]


def drop_ended_loops(pools: Pools) -> None:
    """Forget the pools of closed loops, whose connections ended with them."""
    for loop in [loop for loop in pools if loop.is_closed()]:
        pool = pools.pop(loop)
        if pool.session.connector is not None:
            # On a closed loop this only marks the pool as closed, which takes no more than one step.
            next(pool.session.connector.close().__await__(), None)


def trusting(ca_file: Path) -> ssl.SSLContext:
    """The system's authorities and those of a PEM file. Raises ConfigurationError, naming the file."""
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=ca_file)
    except OSError as error:
        reason = "it holds no PEM certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigurationError(
            f"The file of trusted authorities {ca_file} cannot be used: {reason}.",
            hint="ca_file must name a readable file of PEM certificates.",
        ) from error
    return context


def _sending_trace() -> aiohttp.TraceConfig:
    """Tells an exchange's Limit that the connection is there and that the request is being sent."""
    import aiohttp

    async def headers_sent(_session: aiohttp.ClientSession, context: SimpleNamespace, _sent: Any) -> None:
        limit: Limit = context.trace_request_ctx
        limit.enter("first_byte")

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(headers_sent)
    return trace


def _probed_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that probes a silent peer, so that a path that is gone is noticed before a long answer's deadline."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES.items():
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("waypost")
    except PackageNotFoundError:
        return "0"
