"""POST /v1beta/models/{model}:generateContent and :streamGenerateContent. Model and method stand in the path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qs

from starlette.types import Scope

from waypost.codecs.gemini import codec
from waypost.codecs.passing import glance
from waypost.errors import InvalidRequest, UnknownPath
from waypost.providers.asked import Asked, Written
from waypost.server.doors.door import Door

# A model's name may hold a colon itself: the method follows the last one.
CALL: Final = re.compile(r"(?P<model>.+):(?P<method>[A-Za-z]+)")
STREAMED: Final[Mapping[str, bool]] = {"generateContent": False, "streamGenerateContent": True}
"""The methods there are, and whether they stream."""
SHOWN: Final = 100


def read(scope: Scope, body: bytes) -> Asked:
    """The body, and what the path says. Raises InvalidRequest, and UnknownPath for a method that is not there."""
    called = scope["path"].partition("/models/")[2]
    match = CALL.fullmatch(called)
    streamed = STREAMED.get(match["method"]) if match else None
    if match is None or streamed is None:
        raise UnknownPath(
            f'There is no method at "models/{called[:SHOWN]}".', hint=f"Methods of a model: {', '.join(STREAMED)}."
        )
    if streamed and parse_qs(scope["query_string"].decode("latin-1")).get("alt") != ["sse"]:
        raise InvalidRequest(
            "Streams are server-sent events here, not a JSON array.", hint="Add alt=sse to the URL.", param="alt"
        )
    model = match["model"]
    written = Written(codec.name, body, glance(codec.name, body))
    return Asked(
        model,
        written=written,
        decode=lambda: replace(codec.decode_request(body).request, model=model),
        stream=streamed,
    )


GEMINI: Final = Door(codec, read)
