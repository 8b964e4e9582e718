"""POST /v1/responses, for requests that are whole in themselves: what leans on stored answers is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from starlette.types import Scope

from waypost.chat import Json
from waypost.codecs.openai_responses import codec
from waypost.errors import UnsupportedFeature
from waypost.providers.asked import Asked
from waypost.server.doors.beside import responses_fields
from waypost.server.doors.door import Door, read_written

FORWARDED: Final = ("openai-beta",)
STORED: Final = ("previous_response_id", "conversation", "background")
"""Members that lean on what a server keeps between calls."""


def read(scope: Scope, body: bytes) -> Asked:
    """Everything stands in the body. Raises InvalidRequest, and UnsupportedFeature if it needs what is not kept."""
    asked = read_written(codec, scope, body, FORWARDED)
    if asked.written is not None:
        refuse_stored(asked.written.seen.members)
    return asked


def refuse_stored(members: Mapping[str, Json]) -> None:
    """Raises UnsupportedFeature if the body leans on stored answers."""
    field = needs_storage(members)
    if field is not None:
        raise UnsupportedFeature(
            f"{field} needs answers that a server has stored, and none are stored here.",
            hint="Send the whole conversation in input.",
            param=field,
        )


def needs_storage(members: Mapping[str, Json]) -> str | None:
    """What of the body leans on stored answers, None if nothing does."""
    for name in STORED:
        if members.get(name):
            return name
    items = members.get("input")
    listed = items if isinstance(items, list) else []
    referring = any(isinstance(item, dict) and item.get("type") == "item_reference" for item in listed)
    return "item_reference" if referring else None


def error_after(event: bytes, before: bytes) -> bytes:
    """The error event with the number that follows the last one before it."""
    numbers = _NUMBER.findall(before)
    if not numbers:
        return event
    return _NUMBER.sub(b'"sequence_number":%d' % (int(numbers[-1]) + 1), event, count=1)


# Within a JSON string the quotes would be escaped.
_NUMBER: Final = re.compile(rb'"sequence_number":\s*(\d{1,15})')

OPENAI_RESPONSES: Final = Door(codec, read, beside=responses_fields, error_after=error_after)
