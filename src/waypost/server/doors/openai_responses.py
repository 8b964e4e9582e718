"""POST /v1/responses as a door."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from waypost.doors.responses import FORWARDED, RESPONSES, read_responses
from waypost.providers.asked import Asked
from waypost.server.application import served_in
from waypost.server.doors.door import Door, forwarded_headers
from waypost.server.doors.limits import openai_limit_headers


def read(scope: Scope, body: bytes) -> Asked:
    """Everything stands in the body. Raises InvalidRequest, and UnsupportedFeature if it needs what is not kept."""
    stores = served_in(scope).stores.responses is not None
    return read_responses(body, forwarded_headers(scope, FORWARDED), stores=stores)


OPENAI_RESPONSES: Final = Door(
    RESPONSES.codec,
    read,
    beside=RESPONSES.beside,
    limit_headers=openai_limit_headers,
    error_after=RESPONSES.error_after,
)
