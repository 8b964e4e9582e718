"""POST /v1/responses, for requests that are whole in themselves: what leans on stored answers is refused."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from waypost.codecs.codec import DecodedRequest
from waypost.codecs.openai_responses import codec, needs_storage
from waypost.errors import UnsupportedFeature
from waypost.server.doors.door import Door


def decode(_request: Request, body: bytes) -> DecodedRequest:
    """Everything stands in the body. Raises InvalidRequest, and UnsupportedFeature if it needs what is not kept."""
    decoded = codec.decode_request(body)
    field = needs_storage(decoded.request)
    if field is not None:
        raise UnsupportedFeature(
            f"{field} needs answers that a server has stored, and none are stored here.",
            hint="Send the whole conversation in input.",
            param=field,
        )
    return decoded


OPENAI_RESPONSES: Final = Door(codec, decode)
