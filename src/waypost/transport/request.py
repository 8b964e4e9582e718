"""A request as bytes: its head, checked so that no value can add a line, and how its body is framed.

Invariant: what is written here says exactly one length of the body, and that length is ours: a header of the caller
can neither contradict it nor begin a second request.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TypeAlias

from waypost.transport.address import Address

Body: TypeAlias = bytes | AsyncIterator[bytes]
"""A request's body: whole, or piece by piece. Pieces are sent chunked, unless the headers say a content-length."""

_LINES = re.compile(r"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [^\r\n\x00]*\r\n)*")
_METHOD = re.compile(r"[A-Z]+")
_FRAMING = frozenset({"connection", "content-length", "proxy-authorization", "te", "trailer", "transfer-encoding"})
"""Names that are the connection's business. Of a caller only a content-length is heard, and only for pieces."""
_DEFAULT_NAMES = frozenset({"host", "user-agent", "accept", "accept-encoding"})
"""What a caller may give instead of ours."""
_HAVE_BODIES = frozenset({"POST", "PUT", "PATCH"})


@dataclass(slots=True)
class Request:
    """What to send. `length_bytes` is that of the body; None: it goes in chunks."""

    method: str
    head: bytes = field(repr=False)
    body: Body | None = field(repr=False)
    length_bytes: int | None


def request_to(
    address: Address, method: str, headers: Mapping[str, str], body: Body | None, *, proxy: Address | None
) -> Request:
    """`proxy` is the one that takes this request itself, which those in a tunnel do not concern.

    Raises ValueError if a header, the method or the framing asked for is not valid HTTP.
    """
    opening = _opening(method, address, proxy)
    given = _given(tuple(headers.items()))
    if address.authorization is not None and "authorization" in given.names:
        raise ValueError
    if given.names.isdisjoint(_DEFAULT_NAMES):
        first = opening.whole
    else:
        first = "".join([line for name, line in opening.lines if name not in given.names])
    length_bytes, framing = _framed(method, headers, given.names & _FRAMING, body)
    return Request(method, f"{first}{given.lines}{framing}\r\n".encode(), body, length_bytes)


@dataclass(frozen=True, slots=True)
class _Given:
    """A caller's headers: their names in lower case, and the lines of those that are not about framing."""

    names: frozenset[str]
    lines: str = field(repr=False)


@lru_cache(maxsize=1024)
def _given(headers: tuple[tuple[str, str], ...]) -> _Given:
    """Checked, and remembered: a provider is sent the same headers again and again."""
    names = frozenset(name.lower() for name, _ in headers)
    own = "".join([f"{name}: {value}\r\n" for name, value in headers if name.lower() not in _FRAMING])
    # As many lines as headers: a value may hold none of its own.
    framed = sum(name.lower() in _FRAMING for name, _ in headers)
    if not _LINES.fullmatch(own) or own.count("\n") != len(headers) - framed:
        raise ValueError
    return _Given(names, own)


@dataclass(frozen=True, slots=True)
class _Opening:
    """The request line and the default headers, each under its name, and all of them as one text."""

    lines: tuple[tuple[str, str], ...]
    whole: str


@lru_cache(maxsize=1024)
def _opening(method: str, address: Address, proxy: Address | None) -> _Opening:
    if not _METHOD.fullmatch(method):
        raise ValueError
    lines = [("", f"{method} {address.target if proxy is None else address.absolute} HTTP/1.1\r\n")]
    values = {
        "host": address.authority,
        "user-agent": _user_agent(),
        "accept": "*/*",
        # A compressed stream could not be cut into events as it comes.
        "accept-encoding": "identity",
        "authorization": address.authorization,
        "proxy-authorization": proxy.authorization if proxy is not None else None,
    }
    lines += [(name, f"{name}: {value}\r\n") for name, value in values.items() if value is not None]
    return _Opening(tuple(lines), "".join([line for _, line in lines]))


def _framed(
    method: str, headers: Mapping[str, str], names: frozenset[str], body: Body | None
) -> tuple[int | None, str]:
    if body is None:
        return 0, "content-length: 0\r\n" if method in _HAVE_BODIES else ""
    if isinstance(body, bytes):
        return len(body), f"content-length: {len(body)}\r\n"
    if "content-length" not in names:
        return None, "transfer-encoding: chunked\r\n"
    declared = next(value for name, value in headers.items() if name.lower() == "content-length").strip()
    if not declared.isascii() or not declared.isdigit():
        raise ValueError
    return int(declared), f"content-length: {int(declared)}\r\n"


@cache
def _user_agent() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"waypost/{version('waypost')}"
    except PackageNotFoundError:
        return "waypost/0"
