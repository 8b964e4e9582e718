"""Opens the sockets to listen on, with errors that say what to do."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Mapping

from waypost.errors import ConfigurationError
from waypost.settings.server import ONLY_LOOPBACK

BACKLOG = 2048
REASONS: Mapping[int, tuple[str, str]] = {
    errno.EADDRINUSE: (
        "is already in use",
        "Stop the program that uses it, or choose another port: server.port, or --port.",
    ),
    errno.EACCES: ("may not be used by this account", "Choose a port above 1023."),
    errno.EADDRNOTAVAIL: ("is not an address of this machine", "Listen on 127.0.0.1."),
}


def listen(host: str, port: int, *, has_keys: bool = False, beside: bool = False) -> list[socket.socket]:
    """One listening socket for each address of `host`, all with one port; 0 lets the system choose it.

    `has_keys`: callers show a key, so that addresses other than loopback may be listened on too. `beside`: others of
    this account may listen at the same port so, and the system shares the connections out (SO_REUSEPORT).
    Raises ConfigurationError: not a loopback address, unknown name, busy port.
    """
    opened: list[socket.socket] = []
    try:
        for family, address in _addresses(host, port, has_keys=has_keys):
            opened.append(_listen_on(family, address, port, beside=beside))
            port = port or opened[0].getsockname()[1]
    except OSError as error:
        for each in opened:
            each.close()
        what, mend = REASONS.get(error.errno or 0, (f"cannot be used: {error.strerror}", ""))
        raise ConfigurationError(f"Port {port} on {host} {what}.", hint=mend) from error
    return opened


def url_of(opened: list[socket.socket]) -> str:
    """The address for a browser."""
    host, port = opened[0].getsockname()[:2]
    return f"http://[{host}]:{port}" if opened[0].family == socket.AF_INET6 else f"http://{host}:{port}"


def _addresses(host: str, port: int, *, has_keys: bool) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise ConfigurationError(f'The host "{host}" is not known.', hint="Listen on 127.0.0.1.") from error
    addresses: list[tuple[socket.AddressFamily, str]] = sorted({(entry[0], str(entry[4][0])) for entry in found})
    for _, address in addresses:
        if not has_keys and not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            raise ConfigurationError(
                f"{ONLY_LOOPBACK}, and {host} is not.",
                hint="Listen on 127.0.0.1, or make a key: waypost keys create --admin",
            )
    return addresses


def _listen_on(family: socket.AddressFamily, address: str, port: int, *, beside: bool) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if beside:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind((address, port))
        opened.listen(BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened
