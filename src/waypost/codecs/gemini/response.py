"""Whole answers, both ways, and what streams write alike.

A whole answer is read as a stream of one chunk, so that both always say the same. What a candidate tells beside its
content (grounding, citations, safety ratings) is kept in `provider_fields["google"]["candidates[0]"]`, what the counts
leave out in `…["usageMetadata"]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from waypost.chat import Choice, Collector, Json, Part, Reasoning, Refusal, Response, Text
from waypost.codecs.codec import Encoded
from waypost.codecs.gemini.errors import error_of, is_error
from waypost.codecs.gemini.logprobs import encode_logprobs
from waypost.codecs.gemini.parts import Encoding, encode_part
from waypost.codecs.gemini.reasons import wire_reason
from waypost.codecs.gemini.stream_decoder import GeminiStreamDecoder
from waypost.codecs.gemini.usage import encode_usage
from waypost.codecs.gemini.wire import Losses, Members, own
from waypost.codecs.jsonbytes import JsonError, dump, parse_reply
from waypost.codecs.reading import WireError, an_object
from waypost.errors import MalformedResponse

USAGE: Final = "usageMetadata"
FEEDBACK: Final = "promptFeedback"
BORDER: Final = "Borders between texts are not told in this format: neighbours are read as one."


def decode_response(body: bytes) -> Response:
    """Raises MalformedResponse; the typed ProviderError if the body is an error after all."""
    try:
        value = parse_reply(body)
        if is_error(value):
            raise error_of(value)
        return _decode(an_object(value, ""))
    except JsonError as error:
        raise MalformedResponse(f"The answer is not valid JSON: {error}.") from error
    except WireError as error:
        raise MalformedResponse(f"The answer is not a Gemini response: {error}.") from error


def _decode(answer: Members) -> Response:
    decoder, collector = GeminiStreamDecoder(), Collector()
    events = [*decoder.take(answer), *decoder.close()]
    if decoder.empty:
        raise WireError("candidates", "Field required, if the prompt was not blocked")
    for event in events:
        collector.add(event)
    return collector.partial()


def encode_response(response: Response) -> Encoded:
    """The body of a whole answer."""
    losses = Losses()
    fields = own(response.provider_fields)
    losses.foreign("provider_fields", response.provider_fields)
    usage = encode_usage(response.usage, fields.get(USAGE, {}), losses)
    candidates = [_candidate(choice, fields, losses) for choice in response.choices]
    if is_blocked(fields.get(FEEDBACK), any(choice.parts for choice in response.choices)):
        candidates = []
    body = {
        **({"candidates": candidates} if candidates else {}),
        **({USAGE: usage} if usage else {}),
        **head(response.id, response.model, response.created),
        **top_level(fields),
    }
    data, repaired = dump(body)
    if repaired:
        losses.repaired("choices")
    return Encoded(data, losses.found())


def top_level(fields: Members) -> Members:
    """Of this family's provider fields those that stand at the top of an answer."""
    return {name: value for name, value in fields.items() if name != USAGE and not name.startswith("candidates[")}


def is_blocked(feedback: Json, answered: bool) -> bool:
    """Was the prompt blocked, so that there is no candidate?"""
    return not answered and isinstance(feedback, Mapping) and bool(feedback.get("blockReason"))


def head(identity: str, model: str, created: int | None) -> Members:
    """The members that every chunk ends with."""
    time = None if created is None else time_text(created)
    members = {"createTime": time, "modelVersion": model or None, "responseId": identity or None}
    return {name: value for name, value in members.items() if value is not None}


def time_text(seconds: int) -> str | None:
    """The time in UTC as Google writes it (RFC 3339), None if it is out of the calendar's range."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def _candidate(choice: Choice, fields: Members, losses: Losses) -> Members:
    what = f"choices[{choice.index}]"
    to = Encoding(losses, is_request=False)
    encoded = [(part, encode_part(part, to, f"{what}.parts[{place}]")) for place, part in enumerate(choice.parts)]
    if any(_joins(first, second) for first, second in pairwise(part for part, wire in encoded if wire)):
        losses.add(f"{what}.parts", BORDER)
    wire = candidate(choice.index, [wire for _, wire in encoded if wire])
    wire["finishReason"] = wire_reason(choice.reason, choice.raw_reason, losses, what)
    if choice.stop_sequence is not None:
        losses.add(f"{what}.stop_sequence", "Gemini does not tell which one was hit.")
    if choice.logprobs is not None:
        wire |= logprobs_member(choice.logprobs, losses, what)
    return {**wire, **fields.get(f"candidates[{choice.index}]", {})}


def candidate(index: int, parts: list[Members]) -> Members:
    """A candidate with some content."""
    return {"content": {**({"parts": parts} if parts else {}), "role": "model"}, "index": index}


def logprobs_member(logprobs: Mapping[str, Json], losses: Losses, what: str) -> Members:
    """`logprobsResult`; empty, with the loss noted, if there is no token in it."""
    result = encode_logprobs(logprobs)
    if result is None or logprobs.keys() != {"content"}:
        losses.add(f"{what}.logprobs", "Gemini has log-probabilities of the answer's tokens only.")
    return {} if result is None else {"logprobsResult": result}


def _joins(first: Part, second: Part) -> bool:
    return streams_as(first) is not None and streams_as(first) is streams_as(second)


def streams_as(part: Part) -> type[Text] | type[Reasoning] | None:
    """What the pieces of a part that streams are read as; None for parts that are written whole, as signed ones are."""
    if not isinstance(part, Text | Reasoning | Refusal) or own(part.opaque):
        return None
    return Reasoning if isinstance(part, Reasoning) else Text
