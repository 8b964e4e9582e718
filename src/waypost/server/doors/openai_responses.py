"""POST /v1/responses, as it is read and told. What is stored of it is `going_on`'s and `keeping`'s."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from starlette.types import Scope

from waypost.chat import Json
from waypost.codecs.openai_responses import codec
from waypost.codecs.openai_responses.continuing import REFERENCE, items_of, refers
from waypost.errors import UnsupportedFeature
from waypost.ledger.stored_responses import PREVIOUS
from waypost.providers.asked import Asked
from waypost.server.application import served_in
from waypost.server.doors.beside import responses_fields
from waypost.server.doors.door import Door, read_written
from waypost.server.doors.limits import openai_limit_headers

FORWARDED: Final = ("openai-beta",)
NOT_HERE: Final[Mapping[str, str]] = {
    "conversation": "Go on from an answer with previous_response_id, or send the whole conversation in input.",
    "background": "Leave it out: the answer comes with the reply, whole or as a stream.",
}
"""Members of OpenAI's that are kept nowhere here, and what to do instead."""


def read(scope: Scope, body: bytes) -> Asked:
    """Everything stands in the body. Raises InvalidRequest, and UnsupportedFeature if it needs what is not kept."""
    asked = read_written(codec, scope, body, FORWARDED)
    if asked.written is not None:
        refuse_unkept(asked.written.seen.members, stores=served_in(scope).stores.responses is not None)
    return asked


def refuse_unkept(members: Mapping[str, Json], *, stores: bool) -> None:
    """Raises UnsupportedFeature if the body leans on what is not kept. `stores`: are answers stored here?"""
    for name, hint in NOT_HERE.items():
        if members.get(name):
            raise UnsupportedFeature(f"{name} is not stored or run here.", hint=hint, param=name)
    field = needs_storage(members)
    if field is not None and not stores:
        raise UnsupportedFeature(
            f"{field} needs answers that a server has stored, and none are stored here.",
            hint="Send the whole conversation in input.",
            param=field,
        )


def needs_storage(members: Mapping[str, Json]) -> str | None:
    """What of the body leans on stored answers, None if nothing does."""
    if members.get(PREVIOUS):
        return PREVIOUS
    return REFERENCE if references_items(members) else None


def references_items(members: Mapping[str, Json]) -> bool:
    """Is an item only named in the input?"""
    return any(map(refers, items_of(members.get("input"))))


def error_after(event: bytes, before: bytes) -> bytes:
    """The error event with the number that follows the last one before it."""
    numbers = _NUMBER.findall(before)
    if not numbers:
        return event
    return _NUMBER.sub(b'"sequence_number":%d' % (int(numbers[-1]) + 1), event, count=1)


# Within a JSON string the quotes would be escaped.
_NUMBER: Final = re.compile(rb'"sequence_number":\s*(\d{1,15})')

OPENAI_RESPONSES: Final = Door(
    codec, read, beside=responses_fields, limit_headers=openai_limit_headers, error_after=error_after
)
