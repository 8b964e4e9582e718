"""POST /v1/messages."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from waypost.codecs.anthropic_messages import codec
from waypost.codecs.codec import DecodedRequest
from waypost.codecs.jsonbytes import dump, parse_reply
from waypost.codecs.sse import encode_event
from waypost.server.doors.door import Door

# Source: Anthropic's guide to streaming: "Event streams may also include any number of ping events."
PING: Final = encode_event(b'{"type": "ping"}', event="ping")


def decode(_request: Request, body: bytes) -> DecodedRequest:
    """Everything stands in the body. Raises InvalidRequest."""
    return codec.decode_request(body)


def with_request_id(body: bytes, request_id: str) -> bytes:
    """The error with our own id, as the header has it; a provider's leads nowhere for the caller."""
    return dump({**parse_reply(body), "request_id": request_id})[0]


ANTHROPIC_MESSAGES: Final = Door(
    codec, decode, keep_alive=PING, request_id_header="request-id", with_request_id=with_request_id
)
