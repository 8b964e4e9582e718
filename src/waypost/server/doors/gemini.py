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
"""The methods of a conversation, and whether they stream."""
METHODS: Final = (*STREAMED, "countTokens", "embedContent", "batchEmbedContents")
SHOWN: Final = 100


def called(scope: Scope) -> tuple[str, str]:
    """The model and the method that the path names. Raises UnknownPath for a method that is not there."""
    named = scope["path"].partition("/models/")[2]
    match = CALL.fullmatch(named)
    if match is None or match["method"] not in METHODS:
        raise UnknownPath(
            f'There is no method at "models/{named[:SHOWN]}".', hint=f"Methods of a model: {', '.join(METHODS)}."
        )
    return match["model"], match["method"]


def read(scope: Scope, body: bytes) -> Asked:
    """The body, and what the path says. Raises InvalidRequest, and UnknownPath for a method that is not there."""
    model, method = called(scope)
    written = Written(codec.name, body, glance(codec.name, body))
    return Asked(
        model,
        written=written,
        decode=lambda: replace(codec.decode_request(body).request, model=model),
        stream=STREAMED[method],
    )


def wants_events(scope: Scope) -> bool:
    """Is a stream to be sent as server-sent events? If not, as one JSON array. Raises InvalidRequest."""
    alt = parse_qs(scope["query_string"].decode("latin-1")).get("alt", ["json"])
    if alt not in (["json"], ["sse"]):
        raise InvalidRequest(
            "alt must be json or sse.", hint="Add alt=sse to the URL for server-sent events.", param="alt"
        )
    return alt == ["sse"]


GEMINI: Final = Door(codec, read)
