"""Keeps web pages out: the simulator shows what it was asked, and a browser reaches loopback for any page.

So the Host must be a loopback name or the one listened on (a page that made its own name point here, DNS rebinding,
has another), and a request that a page sent must come from a page of this very address.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

_HOST: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
"""Source: RFC 9110, 7.2: Host = uri-host [ ":" port ]."""
_SHOWN_CHARACTERS: Final = 100


def is_loopback(name: str) -> bool:
    """Is this host name, or address (in a URL's brackets or without), this machine's own?"""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def refusal(request: web.Request, bound_host: str) -> str | None:
    """Why the request is refused, and what would be accepted; None: it is not."""
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1:
        return f"The request has {len(hosts) or 'no'} Host headers; one is needed."
    host = hosts[0].lower()
    found = _HOST.fullmatch(host)
    name = found["name"] if found else ""
    if not is_loopback(name) and name.strip("[]") != bound_host.lower():
        return (
            f'The simulator does not answer to the host "{hosts[0][:_SHOWN_CHARACTERS]}". Use 127.0.0.1 or localhost.'
        )
    for origin in request.headers.getall("Origin", []):
        if not _is_own(origin.lower(), host):
            return (
                f'Pages of "{origin[:_SHOWN_CHARACTERS]}" may not use the simulator: it shows what it was asked. '
                "Call it from a program, not from a web page."
            )
    return None


def _is_own(origin: str, host: str) -> bool:
    try:
        address = urlsplit(origin)
    except ValueError:
        return False
    return address.scheme == "http" and address.netloc == host
