"""Any bytes at all, and damaged fixtures: the decoders give values or typed errors, never another exception."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.codecs.test_openai_chat_fuzz import damaged_bytes, damaged_values, one_of, sse_events

from waypost.chat import Failed, Grammar
from waypost.codecs.openai_responses import codec, needs_storage
from waypost.codecs.sse import SseEvent
from waypost.errors import InvalidRequest, ProviderError

FOLDER = Path(__file__).parent.parent / "fixtures" / "openai_responses"
STREAMS = [path.read_bytes() for path in sorted(FOLDER.glob("*.sse"))]
BODIES = [path.read_bytes() for path in sorted(FOLDER.glob("*.json"))]
EVENTS = [block.partition(b"\ndata: ")[2] for body in STREAMS for block in body.split(b"\n\n") if block]
LIMITS = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check_request(body: bytes) -> None:
    try:
        decoded = codec.decode_request(body)
    except InvalidRequest:
        return
    needs_storage(decoded.request)
    json.loads(codec.encode_request(decoded.request, stream=decoded.stream).body)


def check_response(body: bytes) -> None:
    try:
        response = codec.decode_response(body)
    except ProviderError:
        return
    json.loads(codec.encode_response(response).body)


def check_stream(events: list[SseEvent]) -> None:
    """The grammar holds, what was decoded can be encoded again, and only a finished answer gets a terminal event."""
    decoder, encoder, grammar = codec.stream_decoder(), codec.stream_encoder(), Grammar()
    decoded = [canonical for event in events for canonical in decoder.feed(event)]
    decoded += decoder.finish()
    wire = b""
    for canonical in decoded:
        grammar.check(canonical)
        wire += encoder.encode(canonical)
    wire += encoder.finish()
    failed = isinstance(decoded[-1], Failed)
    assert failed or grammar.complete
    assert failed != (b"event: response.completed" in wire or b"event: response.incomplete" in wire)


@LIMITS
@given(st.binary(max_size=200) | damaged_bytes(BODIES))
def test_any_bytes_are_a_value_or_a_typed_error(body: bytes) -> None:
    check_request(body)
    check_response(body)
    check_stream([SseEvent(body)])
    assert codec.decode_error(400, {}, body).message


@LIMITS
@given(damaged_values(BODIES))
def test_any_value_in_any_place_is_a_value_or_a_typed_error(body: bytes) -> None:
    check_request(body)
    check_response(body)


@LIMITS
@given(damaged_bytes(STREAMS))
def test_a_damaged_stream_is_events_in_order_or_a_typed_error(body: bytes) -> None:
    check_stream(sse_events(body))


@LIMITS
@given(st.lists(damaged_values(EVENTS) | one_of(EVENTS), max_size=8), st.integers(0, 10))
def test_events_in_any_order_with_any_value_keep_the_grammar(events: list[bytes], start: int) -> None:
    """Some begin as they should, so that what comes after is reached."""
    opening = [event for event in EVENTS if b'"type": "response.created"' in event][start % len(STREAMS)]
    check_stream([SseEvent(event) for event in [opening, *events]])
