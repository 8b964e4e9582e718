"""POST /v1/responses, as it is read and told. What is stored of it is `going_on`'s and `keeping`'s."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from waypost.chat import Json, Opaque, Part
from waypost.codecs.codec import Codec
from waypost.codecs.openai_responses import codec
from waypost.codecs.openai_responses.continuing import REFERENCE, items_of, refers
from waypost.doors.beside import ProviderFields, responses_fields
from waypost.doors.reading import read_written
from waypost.errors import UnsupportedFeature
from waypost.ledger.stored_responses import PREVIOUS
from waypost.providers.asked import Asked

FORWARDED: Final = ("openai-beta",)
"""Headers that providers may see."""
NOT_HERE: Final[Mapping[str, str]] = {
    "conversation": "Go on from an answer with previous_response_id, or send the whole conversation in input.",
}
"""Members of OpenAI's that are kept nowhere here, and what to do instead."""


def read_responses(body: bytes, headers: Mapping[str, str], *, stores: bool) -> Asked:
    """Everything stands in the body. `stores`: are answers stored here?

    Raises InvalidRequest, and UnsupportedFeature if it needs what is not kept.
    """
    asked = read_written(codec, body, headers)
    if asked.written is not None:
        refuse_unkept(asked.written.seen.members, stores=stores)
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


@dataclass(frozen=True, slots=True)
class ResponsesDialect:
    """See `writing.Dialect`."""

    codec: Codec = codec
    beside: Callable[[Asked], ProviderFields] = responses_fields
    parts_beside: Mapping[type[Part], Opaque] = field(default_factory=dict, hash=False)
    error_after: Callable[[bytes, bytes], bytes] = error_after


RESPONSES: Final = ResponsesDialect()
