"""The events of a stream one by one, without their numbers, as who keeps them for later readers wants them.

The numbers are given anew where the events are told: those of the provider would begin again with each run of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from waypost.chat import Json
from waypost.codecs.jsonbytes import dump
from waypost.codecs.openai_responses.retelling import members_of
from waypost.codecs.sse import SseDecoder, encode_event

NUMBER: Final = "sequence_number"
EventBody = tuple[str, bytes]
"""An event's type, and its members as a JSON object."""


def events_in(decoder: SseDecoder, raw: bytes) -> Sequence[EventBody]:
    """The events that these bytes complete."""
    return [_event(event.event, event.data) for event in decoder.feed(raw)]


def _event(kind: str, data: bytes) -> EventBody:
    members = members_of(data)
    members.pop(NUMBER, None)
    if not kind:
        told = msgspec.json.decode(members["type"]) if "type" in members else ""
        kind = told if isinstance(told, str) else ""
    return kind, msgspec.json.encode(members)


def event_body(kind: str, **members: Json) -> EventBody:
    """An event of our own."""
    return kind, dump({"type": kind, **members})[0]


def numbered(event: EventBody, number: int) -> bytes:
    """The event as it is told."""
    kind, body = event
    return encode_event(body.rstrip()[:-1] + b',"%s":%d}' % (NUMBER.encode(), number), event=kind)
