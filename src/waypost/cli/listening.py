"""Looking whether one may listen on an address, before anything slow is done: a busy port is said at once."""

from __future__ import annotations

import errno
import socket

from waypost.cli.exit_codes import AddressUnavailable

PORTS_TRIED = 50


def check_address(host: str, port: int, command: str) -> None:
    """Raises AddressUnavailable if one cannot listen there now. `command` is what the mend tells to run."""
    try:
        _try(host, port)
    except OSError as error:
        raise _refusal(error, host, port, command) from error


def is_free(host: str, port: int) -> bool:
    """Could one listen there now?"""
    try:
        _try(host, port)
    except OSError:
        return False
    return True


def free_port_after(host: str, port: int) -> int | None:
    """The next port that is free."""
    candidates = range(port + 1, min(port + 1 + PORTS_TRIED, 65536))
    return next((candidate for candidate in candidates if is_free(host, candidate)), None)


def _try(host: str, port: int) -> None:
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        with socket.socket(family, kind, protocol) as probe:
            # As the server will do it: connections of one that has just ended are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
            # Two sockets may be bound to one port with SO_REUSEADDR; only one of them may listen.
            probe.listen(1)


def _refusal(error: OSError, host: str, port: int, command: str) -> AddressUnavailable:
    if error.errno == errno.EADDRINUSE:
        other = free_port_after(host, port)
        choice = f" or choose another port: {command} --port {other}" if other else "."
        return AddressUnavailable(f"Port {port} on {host} is in use.", hint=f"Stop that program{choice}")
    if isinstance(error, PermissionError):
        return AddressUnavailable(
            f"Port {port} on {host} may not be used by this user.", hint=f"Choose one over 1023: {command} --port 8000"
        )
    if isinstance(error, socket.gaierror):
        return AddressUnavailable(f'The host name "{host}" is not known.', hint=f"Try: {command} --host 127.0.0.1")
    return AddressUnavailable(
        f"Port {port} on {host} cannot be listened on: {error.strerror}.", hint=f"Try: {command} --host 127.0.0.1"
    )
