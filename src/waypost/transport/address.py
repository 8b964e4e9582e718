"""Where a URL points: whom to connect to, what the request line says, and how messages name the place.

Addresses are parsed once and kept, because a provider has few. Invariant: no text made here for messages holds
credentials, a path or a query.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, TypeAlias
from urllib.parse import SplitResult, quote, unquote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_VISIBLE = re.compile(r"[!-~]*")
_KEPT_IN_TARGET = "!#$%&'()*+,/:;=?@[]~"
"""What percent-encoding leaves as it is: reserved characters, and "%", since what is encoded already stays so."""

Scheme: TypeAlias = Literal["http", "https"]


@dataclass(frozen=True, slots=True, eq=False)
class Address:
    """One URL, taken apart. `target` is path and query; `authorization` is made of the URL's credentials, if any.

    Compared by identity, which is what `address_of` keeps.
    """

    scheme: Scheme
    host: str
    port: int
    place: str
    origin: str
    authority: str
    target: str = field(repr=False)
    authorization: str | None = field(repr=False)

    @property
    def absolute(self) -> str:
        """The whole address without credentials, as a proxy wants it."""
        return f"{self.scheme}://{self.authority}{self.target}"


@lru_cache(maxsize=1024)
def address_of(url: str) -> Address:
    """Raises ValueError if the URL is no address to which HTTP can be sent."""
    if any(ord(character) < 32 or ord(character) == 127 for character in url):
        raise ValueError
    parts = urlsplit(url)
    scheme: Scheme = "https" if parts.scheme == "https" else "http"
    if parts.scheme != scheme or not parts.hostname:
        raise ValueError
    host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode("ascii")
    default_port = _DEFAULT_PORTS[scheme]
    port = default_port if parts.port is None else parts.port
    return Address(
        scheme=scheme,
        host=host,
        port=port,
        place=join_place(host, port),
        origin=f"{scheme}://{join_place(host, port)}",
        authority=join_place(host, None if port == default_port else port),
        target=_target(parts),
        authorization=_basic(parts),
    )


@lru_cache(maxsize=1024)
def place_of(url: str) -> str:
    """Host and port of a URL, for messages, even if the URL is none: no credentials, no path, no query."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        host, port = None, None
    return join_place(host, port) if host else "the provider's address"


def join_place(host: str, port: int | None) -> str:
    """`host:port`, with the brackets that an IPv6 address needs."""
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


def _target(parts: SplitResult) -> str:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return target if _VISIBLE.fullmatch(target) else quote(target, safe=_KEPT_IN_TARGET)


def _basic(parts: SplitResult) -> str | None:
    if parts.username is None and parts.password is None:
        return None
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {b64encode(pair.encode()).decode()}"
