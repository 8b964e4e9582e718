"""From a whole answer to its stream: canonical events, each with the time to wait before it, then wire events.

The law of canonical events holds here too: `collect(paced_events(response)) == response`, but for what a dialect
says first about usage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from waypost.chat import (
    Event,
    Finish,
    Opaque,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    Response,
    ResponseStart,
    Text,
    ToolCall,
    Unknown,
    Usage,
    UsageUpdate,
)
from waypost.codecs.codec import StreamEncoder
from waypost.simulator.details import event_with_details
from waypost.simulator.dialect import Dialect, ProviderFields
from waypost.simulator.script import Pacing
from waypost.simulator.tokens import split_tokens


@dataclass(frozen=True, slots=True)
class WireEvent:
    """The bytes of one whole event, and the seconds to wait before it is sent."""

    wait_s: float
    data: bytes


def wire_events(response: Response, encoder: StreamEncoder, pacing: Pacing, dialect: Dialect) -> Iterator[WireEvent]:
    """The answer as the codec writes it, event by event, with the ping once the first part has begun."""
    if dialect.opening:
        yield WireEvent(0.0, dialect.opening)
    owed_s = 0.0
    ping = dialect.ping
    first = First(dialect.first_fields(response), dialect.first_usage(response.usage), dialect.tells_opaque_first)
    for wait_s, event in paced_events(response, pacing, first):
        owed_s += wait_s
        written = [event_with_details(data, response, dialect.details) for data in split_events(encoder.encode(event))]
        if written:
            # The wait is for the last: those before it open the stream.
            yield from (WireEvent(0.0, data) for data in written[:-1])
            yield WireEvent(owed_s, written[-1])
            owed_s = 0.0
        if ping and isinstance(event, PartStart):
            yield WireEvent(0.0, ping)
            ping = b""
    last = split_events(encoder.finish())
    yield from (WireEvent(0.0, event_with_details(data, response, dialect.details)) for data in last)


@dataclass(frozen=True, slots=True)
class First:
    """What is told before its time: fields of the whole answer, usage, and whether what a part carries beside text."""

    fields: ProviderFields = field(default_factory=dict)
    usage: Usage | None = None
    opaque: bool = False


def paced_events(response: Response, pacing: Pacing, first: First | None = None) -> Iterator[tuple[float, Event]]:
    """Every canonical event of the answer with its wait. The first token's wait comes before the first part."""
    first = first or First()
    yield 0.0, ResponseStart(response.id, response.model, response.created, first.fields)
    if first.usage is not None:
        yield 0.0, UsageUpdate(first.usage)
    wait_s = pacing.first_token_s
    for choice in response.choices:
        for index, part in enumerate(choice.parts):
            for event, tokens in _part_events(PartStart(index, part, choice.index), pacing.tokens_per_chunk):
                if isinstance(event, PartStart) and first.opaque:
                    event = PartStart(index, _with_opaque(event.part, part), choice.index)
                yield wait_s + tokens * pacing.token_interval_s, event
                wait_s = 0.0
    yield wait_s, UsageUpdate(response.usage)
    for choice in response.choices:
        yield (
            0.0,
            Finish(choice.reason, choice.raw_reason, choice.stop_sequence, choice.index, response.provider_fields),
        )


def _with_opaque(begun: Part, whole: Part) -> Part:
    known: Any = begun
    told: Part = begun if isinstance(whole, Unknown) else replace(known, opaque=whole.opaque)
    return told


def duration_s(response: Response, pacing: Pacing) -> float:
    """How long the answer takes in all."""
    return sum(wait_s for wait_s, _ in paced_events(response, pacing))


def _part_events(start: PartStart, tokens_per_chunk: int) -> Iterator[tuple[Event, int]]:
    """The events of one part, with the number of tokens in each."""
    text = ""
    opaque: Opaque = {}
    index, part, choice = start.index, start.part, start.choice
    match part:
        case Text() | Reasoning() | Refusal():
            text, opaque, part = part.text, part.opaque, replace(part, text="", opaque={})
        case ToolCall():
            text, opaque, part = part.arguments, part.opaque, replace(part, arguments="", opaque={})
    yield PartStart(index, part, choice), 0
    tokens = split_tokens(text)
    for first in range(0, len(tokens), tokens_per_chunk):
        chunk = tokens[first : first + tokens_per_chunk]
        yield PartDelta(index, "".join(chunk), choice), len(chunk)
    yield PartEnd(index, choice, opaque=opaque), 0


def split_events(data: bytes) -> list[bytes]:
    """The whole events in what a codec wrote."""
    # Its data is JSON without line breaks, so a blank line can only be the end of an event.
    return [event for event in _BLANK_LINE.split(data) if event]


_BLANK_LINE = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)")
