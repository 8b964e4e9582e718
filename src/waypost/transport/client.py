"""One provider's HTTP client: one pool of connections, no cookies, no redirects, no decompression, nothing repeated.

It sends once: retries belong to the gateway. Closing a reply ends its connection for good, unless the body was read
to its end, in which case the connection goes back to the pool.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from functools import partial
from pathlib import Path
from types import TracebackType

from waypost.errors import ConfigurationError, MalformedResponse
from waypost.transport.address import Address, address_of, place_of
from waypost.transport.connection import Connection
from waypost.transport.deadlines import Deadlines, deadline_error
from waypost.transport.dialing import Dialer
from waypost.transport.failures import translate
from waypost.transport.lookup import Lookup, Lookups
from waypost.transport.pool import Pool, Pools, closed_error, drop_ended_loops
from waypost.transport.reply import Reply
from waypost.transport.request import Body, Request, request_to
from waypost.transport.trust import trust_with

DEFAULT_MAX_REPLY_BYTES = 64 * 1024 * 1024
_DEFAULT_DEADLINES = Deadlines()
_PLAIN_CODINGS = frozenset({"", "identity", "chunked"})


class HttpClient:
    """Sends requests to one provider. May be used from several event loops; each has a pool of its own.

    `max_reply_bytes` bounds `Reply.read`. `proxy` is the URL of an HTTP proxy, with credentials if it wants them;
    without it none is used, whatever the environment says. `ca_file` is a PEM file of authorities to trust besides
    the system's. `lookup` makes, for each event loop, what says where names lead. `any_coding`: a reply in a coding
    that was not asked for is taken all the same, as its bytes. Raises ConfigurationError if `proxy` or `ca_file` cannot
    be used.
    """

    def __init__(
        self,
        *,
        max_reply_bytes: int = DEFAULT_MAX_REPLY_BYTES,
        proxy: str | None = None,
        ca_file: Path | None = None,
        lookup: Callable[[], Lookup] = Lookups,
        any_coding: bool = False,
    ) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._proxy = None if proxy is None else _proxy_at(proxy)
        self._trust = None if ca_file is None else trust_with(ca_file)
        self._lookup = lookup
        self._any_coding = any_coding
        self._pools: Pools = {}
        self._closed = False
        weakref.finalize(self, drop_ended_loops, self._pools)

    async def open(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: Body | None = None,
        deadlines: Deadlines = _DEFAULT_DEADLINES,
    ) -> Reply:
        """Send one request and give its reply, whatever its status, as soon as the headers have come.

        The caller closes the reply. An iterator as body is closed when it is done with, and what it raises is raised
        here or by the reply. A pooled connection that the server closed before it read the request raises
        ProviderConnectionLost, which is retryable: for POST nobody but the caller may decide to send again.
        Raises ProviderUnreachable, ProviderConnectionLost, ProviderTimeout, MalformedResponse.
        """
        address, request = self._written(method, url, headers, body)
        pool = self._pool(address.place)
        now = pool.time()
        total_at = float("inf") if deadlines.total_s is None else now + deadlines.total_s
        if total_at <= now:
            raise deadline_error("total", deadlines.total_s, address.place)
        connection = pool.rested(address) or await _dialled(pool, address, deadlines, total_at)
        try:
            connection.begin(request, deadlines, address.place, total_at)
            while not connection.incoming.head_done:
                connection.raise_error()
                await connection.wait("first_byte", deadlines.first_byte_s)
            connection.head_taken()
            reply = Reply(
                connection,
                pool.release,
                place=address.place,
                idle_s=deadlines.idle_s,
                max_bytes=self._max_reply_bytes,
            )
            if not self._any_coding:
                _refuse_compressed(reply, address.place)
        except BaseException:
            connection.abort()
            raise
        return reply

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: Body | None = None,
        deadlines: Deadlines = _DEFAULT_DEADLINES,
    ) -> _Exchange:
        """`open` as a block that closes the reply: `async with client.send(…) as reply`."""
        return _Exchange(partial(self.open, method, url, headers=headers, body=body, deadlines=deadlines))

    async def close(self) -> None:
        """End all connections of this loop; exchanges in flight break. Nothing can be sent afterwards."""
        self._closed = True
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        drop_ended_loops(self._pools)
        if pool is not None:
            await pool.close()

    def _written(self, method: str, url: str, headers: Mapping[str, str], body: Body | None) -> tuple[Address, Request]:
        try:
            address = address_of(url)
            proxy = self._proxy if address.scheme == "http" else None
            return address, request_to(address, method, headers, body, proxy=proxy)
        except ValueError as error:
            raise translate(error, "request", place_of(url)) from None

    def _pool(self, place: str) -> Pool:
        if self._closed:
            raise closed_error(place)
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            drop_ended_loops(self._pools)
            pool = self._pools[loop] = Pool(Dialer(self._proxy, self._trust, self._lookup()))
        return pool


class _Exchange:
    """A class rather than a generator with a decorator: it is entered for every request."""

    __slots__ = ("_opening", "_reply")

    def __init__(self, opening: Callable[[], Awaitable[Reply]]) -> None:
        self._opening = opening

    async def __aenter__(self) -> Reply:
        self._reply = await self._opening()
        return self._reply

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reply.close()


async def _dialled(pool: Pool, address: Address, deadlines: Deadlines, total_at: float) -> Connection:
    connect_s = deadlines.connect_s
    connect_at = float("inf") if connect_s is None else pool.time() + connect_s
    at = min(connect_at, total_at)
    limit = asyncio.timeout_at(None if at == float("inf") else at)
    try:
        async with limit:
            # In a context of its own: a connection outlives the request that opened it, and would keep all that
            # the request's context leads to.
            return await asyncio.get_running_loop().create_task(pool.dial(address), context=Context())
    except TimeoutError:
        if at == total_at:
            raise deadline_error("total", deadlines.total_s, address.place) from None
        raise deadline_error("connect", connect_s, address.place) from None


def _proxy_at(url: str) -> Address:
    try:
        return address_of(url)
    except ValueError:
        raise ConfigurationError(
            "The address of the proxy is not a URL of the form http://host:port.",
            hint="proxy may hold a user name and a password: http://user:password@host:port.",
        ) from None


def _refuse_compressed(reply: Reply, place: str) -> None:
    # An error's body is passed on as it is: its status says enough.
    if reply.status >= 400:
        return
    for name in ("content-encoding", "transfer-encoding"):
        encoding = reply.headers.get(name, "").strip().lower()
        if encoding not in _PLAIN_CODINGS:
            raise MalformedResponse(f"The reply of {place} is compressed ({encoding[:40]!r}), which was not asked for.")
