"""Making one connection: name lookup, TCP, a proxy's tunnel and TLS, each failure under its own stage.

Nothing here sets a limit on time or keeps a connection. Invariant: whatever fails or is cancelled on the way, no
socket is left open.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohappyeyeballs

from waypost.transport.address import Address
from waypost.transport.failures import Stage, caught, translate
from waypost.transport.lookup import Lookup, Lookups
from waypost.transport.trust import system_trust
from waypost.transport.tunnel import TunnelRequest

_NEXT_ADDRESS_S = 0.25
"""How long one of a name's addresses is tried alone, as RFC 8305 recommends."""
_PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds of silence before the first probe, seconds between two, and how many may go unanswered (see tcp(7))."""

_Protocol = TypeVar("_Protocol", bound=asyncio.Protocol)


@dataclass(frozen=True, slots=True)
class Dialer:
    """How connections are made: through `proxy`, if any, trusting `trust` (None: the system's authorities).

    Belongs to one event loop.
    """

    proxy: Address | None
    trust: ssl.SSLContext | None
    lookups: Lookup = field(default_factory=Lookups)

    async def dial(self, address: Address, factory: Callable[[], _Protocol]) -> _Protocol:
        """A connection that takes requests for this address. Raises ProviderUnreachable."""
        if self.proxy is None:
            with _stage("connect", address.place):
                return await self._connect(address, factory)
        if address.scheme == "http":
            with _stage("proxy", self.proxy.place):
                return await self._connect(self.proxy, factory)
        return await self._tunnel(self.proxy, address, factory)

    async def _connect(self, address: Address, factory: Callable[[], _Protocol]) -> _Protocol:
        loop = asyncio.get_running_loop()
        found = await self.lookups.addresses(address.host, address.port)
        made = await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=_NEXT_ADDRESS_S, socket_factory=_probed_socket, loop=loop
        )
        try:
            tls, name = (self._tls(), address.host) if address.scheme == "https" else (None, None)
            _transport, protocol = await loop.create_connection(factory, sock=made, ssl=tls, server_hostname=name)
        except BaseException:
            made.close()
            raise
        return protocol

    async def _tunnel(self, proxy: Address, address: Address, factory: Callable[[], _Protocol]) -> _Protocol:
        loop = asyncio.get_running_loop()
        with _stage("proxy", proxy.place):
            request = await self._connect(proxy, lambda: TunnelRequest(loop, address, proxy.authorization))
        try:
            with _stage("tunnel", address.place):
                transport = await request.opened
            with _stage("connect", address.place):
                protocol = factory()
                encrypted = await _encrypted(transport, protocol, self._tls(), address.host)
        except BaseException:
            request.abort()
            raise
        protocol.connection_made(encrypted)
        return protocol

    def _tls(self) -> ssl.SSLContext:
        return self.trust or system_trust()


async def _encrypted(
    transport: asyncio.Transport, protocol: asyncio.Protocol, tls: ssl.SSLContext, name: str
) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    encrypted = await loop.start_tls(transport, protocol, tls, server_hostname=name)
    if encrypted is None:
        # The loop's way to say that the transport was closed meanwhile.
        raise ConnectionResetError
    return encrypted


@contextmanager
def _stage(stage: Stage, place: str) -> Iterator[None]:
    try:
        yield
    except caught(stage) as error:
        raise translate(error, stage, place) from None


def _probed_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that probes a silent peer, so that a path that is gone is noticed before a long answer's deadline."""
    made = socket.socket(*address[:3])
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES.items():
        if hasattr(socket, name):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return made
