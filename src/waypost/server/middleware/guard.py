"""Keeps other people's web pages out, on every route.

Without keys the server trusts whoever reaches its loopback address, and a browser reaches it for any page. So the
Host must be a loopback name (a page that made its own name point here, DNS rebinding, has another), and a request
sent by a page must come from this server's own pages or from a site in `cors_origins`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import Scope

from waypost.errors import OriginRefused
from waypost.server.application import ServedApplication
from waypost.server.middleware.headers import header_value, header_values

# RFC 9110, 7.2: Host = uri-host [ ":" port ].
HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
# Test clients call the application without a socket, and then the scope's server is the name from the URL:
# "testserver" in Starlette's TestClient, "test" in FastAPI's guide to asynchronous tests. A real socket reports
# a numeric address or a path there, so no caller over a network can pass as one of these.
IN_PROCESS = frozenset({"testserver", "test"})
SHOWN = 100


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the settings let in besides loopback."""

    hosts: frozenset[str]
    origins: frozenset[str]


class Guard:
    """Refuses with 403 `origin_refused`."""

    def __init__(self, served: ServedApplication) -> None:
        self._served = served

    def refusal(self, scope: Scope) -> OriginRefused | None:
        """None: the request may come in."""
        if not self._served.callers.open_to_all:
            # A page of another site has no key, and names of the outside world are expected.
            return None
        settings = self._served.settings.server
        allowed = Allowed(frozenset(settings.allowed_hosts), frozenset(settings.cors_origins))
        try:
            check(scope, allowed)
        except OriginRefused as error:
            return error
        return None


def check(scope: Scope, allowed: Allowed) -> None:
    """Raises OriginRefused, saying which header it was and what would be accepted."""
    host = _checked_host(scope, allowed)
    origins = header_values(scope, b"origin")
    if len(origins) > 1:
        raise OriginRefused("The request has more than one Origin header.", param="Origin")
    if origins:
        _check_origin(origins[0], host, allowed)
    elif scope["method"] == "POST" and header_value(scope, b"sec-fetch-site") == "cross-site":
        raise OriginRefused(
            "The browser says that a page of another site sent this request, and not which one.",
            hint="Call this server from a site in server.cors_origins.",
            param="Sec-Fetch-Site",
        )


def _checked_host(scope: Scope, allowed: Allowed) -> str:
    hosts = header_values(scope, b"host")
    if len(hosts) != 1:
        raise OriginRefused(f"The request has {len(hosts) or 'no'} Host headers; one is needed.", param="Host")
    host = hosts[0].lower()
    match = HOST.fullmatch(host)
    name = match["name"].rstrip(".") if match else ""
    server = (scope.get("server") or ("", None))[0]
    named = name in allowed.hosts or (name in IN_PROCESS and server == name)
    if not named and not is_loopback(name):
        raise OriginRefused(
            f'This server does not answer to the host "{hosts[0][:SHOWN]}".',
            hint="Use localhost or 127.0.0.1, or add the name to server.allowed_hosts.",
            param="Host",
        )
    if not named and _is_foreign_address(server):
        raise OriginRefused(
            f"Without keys this server answers on loopback only, and this request came in on {server}.",
            hint="Listen on 127.0.0.1.",
            param="Host",
        )
    return host


def _check_origin(origin: str, host: str, allowed: Allowed) -> None:
    lowered = origin.lower()
    address = urlsplit(lowered)
    own = address.scheme in ("http", "https") and address.netloc == host
    if not own and lowered not in allowed.origins:
        raise OriginRefused(
            f'Pages of "{origin[:SHOWN]}" may not use this server.',
            hint="Add the site to server.cors_origins if you trust it.",
            param="Origin",
        )


@lru_cache(maxsize=256)
def is_loopback(name: str) -> bool:
    """Is this host name, or address as a URL writes it, this machine's own?"""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _is_foreign_address(server: str) -> bool:
    """Is it the address of a network card? A path (Unix socket) or a test client's name is not."""
    try:
        return not ipaddress.ip_address(server).is_loopback
    except ValueError:
        return False
