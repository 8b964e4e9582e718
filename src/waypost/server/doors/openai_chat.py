"""POST /v1/chat/completions."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from waypost.codecs.codec import DecodedRequest
from waypost.codecs.openai_chat import codec
from waypost.server.doors.door import Door


def decode(_request: Request, body: bytes) -> DecodedRequest:
    """Everything stands in the body. Raises InvalidRequest."""
    return codec.decode_request(body)


OPENAI_CHAT: Final = Door(codec, decode)
