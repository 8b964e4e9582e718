"""What makes one dialect's front door, as a value. The mechanism that all of them share is in `serve`.

A door decides nothing about models: it reads a request in its wire format and writes the answer in the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from starlette.types import Scope

from waypost.chat import Opaque, Part
from waypost.codecs.codec import Codec
from waypost.doors.beside import ProviderFields, nothing
from waypost.providers.asked import Asked
from waypost.server.doors.limits import LimitHeaders, no_limit_headers
from waypost.server.live_reply import COMMENT
from waypost.server.middleware.headers import header_value


def _as_it_is(body: bytes, _request_id: str) -> bytes:
    return body


def _unrelated(event: bytes, _before: bytes) -> bytes:
    return event


@dataclass(frozen=True, slots=True)
class Door:
    """One dialect. `read` gets the body and, for what stands in the URL, the scope of the request it came with."""

    codec: Codec
    read: Callable[[Scope, bytes], Asked]
    keep_alive: bytes = COMMENT
    """What breaks a stream's silence without meaning anything to this dialect's clients."""
    request_id_header: str = "x-request-id"
    """Where this dialect's clients look for the request's id."""
    with_request_id: Callable[[bytes, str], bytes] = _as_it_is
    """Writes the request's id into the body of an error, where the dialect has a place for it."""
    beside: Callable[[Asked], ProviderFields] = nothing
    """What an answer in this format says besides, by the request; see `beside`."""
    parts_beside: Mapping[type[Part], Opaque] = field(default_factory=dict, hash=False)
    """The same for the parts of an answer, by their kind."""
    limit_headers: LimitHeaders = no_limit_headers
    """How a reply's headers tell the limits of the caller's key."""
    error_after: Callable[[bytes, bytes], bytes] = _unrelated
    """A stream's error event as it is after a provider's own bytes that our encoder has not seen."""


def forwarded_headers(scope: Scope, names: tuple[str, ...]) -> dict[str, str]:
    """Those of the request's headers that the format's providers may see."""
    return {name: value for name in names if (value := header_value(scope, name.encode())) is not None}
