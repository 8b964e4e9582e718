"""POST /v1/messages."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from waypost.codecs.anthropic_messages import codec
from waypost.codecs.jsonbytes import dump, parse_reply
from waypost.codecs.sse import encode_event
from waypost.doors.beside import ANTHROPIC_OPAQUE, anthropic_fields, without_direct_callers
from waypost.doors.reading import read_written
from waypost.providers.asked import Asked
from waypost.server.doors.door import Door, forwarded_headers
from waypost.server.doors.limits import anthropic_limit_headers

# Source: Anthropic's guide to streaming: "Event streams may also include any number of ping events."
PING: Final = encode_event(b'{"type": "ping"}', event="ping")


FORWARDED: Final = ("anthropic-beta", "anthropic-version")


def read(scope: Scope, body: bytes) -> Asked:
    """Everything stands in the body. Raises InvalidRequest."""
    return read_written(codec, body, forwarded_headers(scope, FORWARDED), without_direct_callers)


def with_request_id(body: bytes, request_id: str) -> bytes:
    """The error with our own id, as the header has it; a provider's leads nowhere for the caller."""
    return dump({**parse_reply(body), "request_id": request_id})[0]


ANTHROPIC_MESSAGES: Final = Door(
    codec,
    read,
    keep_alive=PING,
    request_id_header="request-id",
    with_request_id=with_request_id,
    beside=anthropic_fields,
    parts_beside=ANTHROPIC_OPAQUE,
    limit_headers=anthropic_limit_headers,
)
