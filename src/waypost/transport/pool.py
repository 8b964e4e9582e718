"""The connections of one client in one event loop: those that rest, and those in an exchange.

There is no limit on their number: the provider's own is the limit. Invariant: a connection that rests here has
nothing unread and nothing unsent, and the most recently used one is taken first.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TypeAlias

from waypost.errors import ProviderUnreachable
from waypost.transport.address import Address
from waypost.transport.connection import Connection
from waypost.transport.dialing import Dialer

CLOSE_S = 2.0
"""How long closing a pool waits for the transports to end."""
_ANY = "the proxy"


class Pool:
    """Gives connections, and takes them back."""

    __slots__ = ("_all", "_closed", "_dialer", "_loop", "_resting", "_vanished", "time")

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._loop = asyncio.get_running_loop()
        self.time = self._loop.time
        self._closed = False
        self._all: set[Connection] = set()
        self._resting: dict[str, dict[Connection, None]] = {}
        self._vanished: asyncio.Future[None] | None = None

    def rested(self, address: Address) -> Connection | None:
        """A connection that was used before, if one is left."""
        resting = self._resting.get(self._key(address))
        while resting:
            connection, _ = resting.popitem()
            if connection.alive:
                return connection
        return None

    async def dial(self, address: Address) -> Connection:
        """A new connection. Raises ProviderUnreachable."""
        key = self._key(address)
        connection = await self._dialer.dial(address, lambda: Connection(self._loop, key, self._forget))
        if self._closed:
            connection.abort()
            raise closed_error(address.place)
        if not connection.lost:
            self._all.add(connection)
        return connection

    def release(self, connection: Connection) -> None:
        """Let it rest if its exchange came to a clean end, else end it at once."""
        if not self._closed and connection.rest():
            self._resting.setdefault(connection.key, {})[connection] = None
        else:
            connection.abort()

    async def close(self) -> None:
        """End every connection. Readers of a body get an error."""
        self._closed = True
        for connection in list(self._all):
            connection.break_off()
        if self._all:
            self._vanished = self._loop.create_future()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._vanished

    def _forget(self, connection: Connection) -> None:
        self._all.discard(connection)
        resting = self._resting.get(connection.key)
        if resting is not None:
            resting.pop(connection, None)
            if not resting:
                del self._resting[connection.key]
        if not self._all and self._vanished is not None and not self._vanished.done():
            self._vanished.set_result(None)

    def _key(self, address: Address) -> str:
        # A proxy takes plain requests for any place on one connection.
        return _ANY if self._dialer.proxy is not None and address.scheme == "http" else address.origin


def closed_error(place: str) -> ProviderUnreachable:
    """Of a request after `HttpClient.close`."""
    return ProviderUnreachable(f"The client of {place} was closed.", hint="Ask a provider that is still open.")


Pools: TypeAlias = dict[asyncio.AbstractEventLoop, Pool]


def drop_ended_loops(pools: Pools) -> None:
    """Forget the pools of closed loops, whose connections ended with them."""
    for loop in [loop for loop in pools if loop.is_closed()]:
        del pools[loop]
