"""What makes one dialect's front door, as a value. The mechanism that all of them share is in `serve`.

A door decides nothing about models: it reads a request in its wire format and writes the answer in the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from waypost.codecs.codec import Codec, DecodedRequest
from waypost.server.live_reply import COMMENT


def _as_it_is(body: bytes, _request_id: str) -> bytes:
    return body


@dataclass(frozen=True, slots=True)
class Door:
    """One dialect. `decode` gets the body and, for what stands in the URL, the request it came with."""

    codec: Codec
    decode: Callable[[Request, bytes], DecodedRequest]
    keep_alive: bytes = COMMENT
    """What breaks a stream's silence without meaning anything to this dialect's clients."""
    request_id_header: str = "x-request-id"
    """Where this dialect's clients look for the request's id."""
    with_request_id: Callable[[bytes, str], bytes] = _as_it_is
    """Writes the request's id into the body of an error, where the dialect has a place for it."""
