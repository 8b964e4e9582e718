"""The events of a stream one by one, without their numbers, as who keeps them for later readers wants them.

The numbers are given anew where the events are told: those of a provider begin again with each call of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from waypost.chat import Json
from waypost.codecs.jsonbytes import dump, parse_reply
from waypost.codecs.sse import SseDecoder, encode_event

NUMBER: Final = "sequence_number"
Members = dict[str, Any]


def events_in(decoder: SseDecoder, raw: bytes) -> Sequence[tuple[str, Members]]:
    """The events that these bytes complete: their types and members. Raises JsonError, MalformedResponse."""
    return [_event(event.event, event.data) for event in decoder.feed(raw)]


def _event(kind: str, data: bytes) -> tuple[str, Members]:
    value = parse_reply(data)
    members = {name: member for name, member in value.items() if name != NUMBER} if isinstance(value, dict) else {}
    told = members.get("type")
    return kind or (told if isinstance(told, str) else ""), members


def numbered(kind: str, members: Mapping[str, Json], number: int) -> bytes:
    """The event as it is told."""
    return encode_event(dump({"type": kind, NUMBER: number, **members})[0], event=kind)
