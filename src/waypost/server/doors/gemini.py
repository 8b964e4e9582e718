"""POST /v1beta/models/{model}:generateContent and :streamGenerateContent. Model and method stand in the path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from starlette.requests import Request

from waypost.codecs.codec import DecodedRequest
from waypost.codecs.gemini import codec
from waypost.errors import InvalidRequest, UnknownPath
from waypost.server.doors.door import Door

# A model's name may hold a colon itself: the method follows the last one.
CALL: Final = re.compile(r"(?P<model>.+):(?P<method>[A-Za-z]+)")
STREAMED: Final[Mapping[str, bool]] = {"generateContent": False, "streamGenerateContent": True}
"""The methods there are, and whether they stream."""
SHOWN: Final = 100


def decode(request: Request, body: bytes) -> DecodedRequest:
    """The body, and what the path says. Raises InvalidRequest, and UnknownPath for a method that is not there."""
    called = request.path_params["call"]
    match = CALL.fullmatch(called)
    streamed = STREAMED.get(match["method"]) if match else None
    if match is None or streamed is None:
        raise UnknownPath(
            f'There is no method at "models/{called[:SHOWN]}".', hint=f"Methods of a model: {', '.join(STREAMED)}."
        )
    if streamed and request.query_params.get("alt") != "sse":
        raise InvalidRequest(
            "Streams are server-sent events here, not a JSON array.", hint="Add alt=sse to the URL.", param="alt"
        )
    decoded = codec.decode_request(body)
    return replace(decoded, request=replace(decoded.request, model=match["model"]), stream=streamed)


GEMINI: Final = Door(codec, decode)
