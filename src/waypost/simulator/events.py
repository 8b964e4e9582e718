"""From a whole answer to its stream: canonical events, each with the time to wait before it, then wire events.

The law of canonical events holds here too: `collect(paced_events(response)) == response`, but for what a dialect
says first about usage.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

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
    Usage,
    UsageUpdate,
)
from waypost.codecs.codec import StreamEncoder
from waypost.simulator.script import Delivery, Pacing
from waypost.simulator.tokens import split_tokens


@dataclass(frozen=True, slots=True)
class WireEvent:
    """The bytes of one whole event, and the seconds to wait before it is sent."""

    wait_s: float
    data: bytes


def wire_events(
    response: Response, encoder: StreamEncoder, pacing: Pacing, *, first_usage: Usage | None, ping: bytes
) -> Iterator[WireEvent]:
    """The answer as the codec writes it, event by event, with the ping once the first part has begun."""
    owed_s = 0.0
    for wait_s, event in paced_events(response, pacing, first_usage=first_usage):
        owed_s += wait_s
        if written := split_events(encoder.encode(event)):
            # The wait is for the last: those before it open the stream.
            yield from (WireEvent(0.0, data) for data in written[:-1])
            yield WireEvent(owed_s, written[-1])
            owed_s = 0.0
        if ping and isinstance(event, PartStart):
            yield WireEvent(0.0, ping)
            ping = b""
    yield from (WireEvent(0.0, data) for data in split_events(encoder.finish()))


def paced_events(
    response: Response, pacing: Pacing, *, first_usage: Usage | None = None
) -> Iterator[tuple[float, Event]]:
    """Every canonical event of the answer with its wait. The first token's wait comes before the first part."""
    yield 0.0, ResponseStart(response.id, response.model, response.created, response.provider_fields)
    if first_usage is not None:
        yield 0.0, UsageUpdate(first_usage)
    wait_s = pacing.first_token_s
    for choice in response.choices:
        for index, part in enumerate(choice.parts):
            for event, tokens in _part_events(index, part, choice.index, pacing.tokens_per_chunk):
                yield wait_s + tokens * pacing.token_interval_s, event
                wait_s = 0.0
    yield wait_s, UsageUpdate(response.usage)
    for choice in response.choices:
        yield 0.0, Finish(choice.reason, choice.raw_reason, choice.stop_sequence, choice.index)


def duration_s(response: Response, pacing: Pacing) -> float:
    """How long the answer takes in all."""
    return sum(wait_s for wait_s, _ in paced_events(response, pacing))


def delivered(event: bytes, delivery: Delivery) -> bytes:
    """The event's bytes as they are to lie on the wire."""
    if delivery.comments:
        event = b": simulated\n\n" + event
    return event.replace(b"\n", b"\r\n") if delivery.line_end == "crlf" else event


def _part_events(index: int, part: Part, choice: int, tokens_per_chunk: int) -> Iterator[tuple[Event, int]]:
    """The events of one part, with the number of tokens in each."""
    text = ""
    opaque: Opaque = {}
    match part:
        case Text() | Reasoning() | Refusal():
            text, opaque, part = part.text, part.opaque, replace(part, text="", opaque={})
        case ToolCall():
            text, opaque, part = part.arguments, part.opaque, replace(part, arguments="", opaque={})
    yield PartStart(index, part, choice), 0
    tokens = split_tokens(text)
    for start in range(0, len(tokens), tokens_per_chunk):
        chunk = tokens[start : start + tokens_per_chunk]
        yield PartDelta(index, "".join(chunk), choice), len(chunk)
    yield PartEnd(index, choice, opaque=opaque), 0


def split_events(data: bytes) -> list[bytes]:
    """The whole events in what a codec wrote."""
    # Its data is JSON without line breaks, so a blank line can only be the end of an event.
    return [event + b"\n\n" for event in data.split(b"\n\n") if event]
