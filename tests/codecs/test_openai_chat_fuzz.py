"""Any bytes at all, and damaged fixtures: the decoders give values or typed errors, never another exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from tests.codecs.strategies import json_values

from waypost.chat import Failed, Grammar
from waypost.codecs.openai_chat import codec, compatible_codec
from waypost.codecs.sse import SseDecoder, SseEvent
from waypost.errors import InvalidRequest, MalformedResponse, ProviderError

FOLDER = Path(__file__).parent.parent / "fixtures" / "openai_chat"
STREAMS = [path.read_bytes() for path in sorted(FOLDER.glob("*.sse"))]
BODIES = [path.read_bytes() for path in sorted(FOLDER.glob("*.json"))]
LIMITS = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def one_of(originals: list[bytes]) -> SearchStrategy[bytes]:
    """One of the fixtures, by its number: the fixtures themselves would make unreadable reports."""
    return st.integers(0, len(originals) - 1).map(originals.__getitem__)


@st.composite
def damaged_bytes(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A fixture with a piece cut out, doubled or written over."""
    body = draw(one_of(originals))
    start = draw(st.integers(0, len(body)))
    end = draw(st.integers(start, min(len(body), start + 40)))
    piece = draw(st.sampled_from([b"", body[start:end] * 2, b"null", b'"', b"{", b"\xff", b"\\ud800", b"-1", b"[]"]))
    return body[:start] + piece + body[end:]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    return [(value, key) for key, _ in pairs] + [place for _, inner in pairs for place in _places(inner)]


@st.composite
def damaged_values(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A fixture that is still JSON, with another value in one to three places."""
    value = json.loads(draw(one_of(originals)))
    for _ in range(draw(st.integers(1, 3))):
        if places := _places(value):
            container, key = places[draw(st.integers(0, len(places) - 1))]
            container[key] = draw(json_values())
    return json.dumps(value).encode()


OBJECTS = [body for body in BODIES if body.startswith(b"{")]
CHUNKS = [
    line.removeprefix(b"data: ") for body in STREAMS for line in body.split(b"\n\n") if line.startswith(b"data: {")
]


def check_request(body: bytes) -> None:
    try:
        decoded = codec.decode_request(body)
    except InvalidRequest:
        return
    for chosen in (codec, compatible_codec):
        json.loads(chosen.encode_request(decoded.request, stream=decoded.stream).body)


def check_response(body: bytes) -> None:
    try:
        response = codec.decode_response(body)
    except ProviderError:
        return
    json.loads(codec.encode_response(response).body)


def check_stream(events: list[SseEvent]) -> None:
    """The grammar holds, and what was decoded can be encoded again."""
    decoder, encoder, grammar = codec.stream_decoder(), codec.stream_encoder(), Grammar()
    decoded = [canonical for event in events for canonical in decoder.feed(event)]
    decoded += decoder.finish()
    for canonical in decoded:
        grammar.check(canonical)
        encoder.encode(canonical)
    assert isinstance(decoded[-1], Failed) or grammar.complete
    encoder.finish()


def sse_events(body: bytes) -> list[SseEvent]:
    try:
        return list(SseDecoder().feed(body))
    except MalformedResponse:
        return []


@LIMITS
@given(st.binary(max_size=200) | damaged_bytes(BODIES))
def test_any_bytes_are_a_value_or_a_typed_error(body: bytes) -> None:
    check_request(body)
    check_response(body)
    check_stream([SseEvent(body)])
    assert codec.decode_error(400, {}, body).message


@LIMITS
@given(damaged_values(OBJECTS))
def test_any_value_in_any_place_is_a_value_or_a_typed_error(body: bytes) -> None:
    check_request(body)
    check_response(body)
    assert codec.decode_error(500, {}, body).message


@LIMITS
@given(damaged_bytes(STREAMS))
def test_a_damaged_stream_is_events_in_order_or_a_typed_error(body: bytes) -> None:
    check_stream(sse_events(body))


@LIMITS
@given(st.lists(damaged_values(CHUNKS) | one_of(CHUNKS), max_size=6))
def test_chunks_in_any_order_with_any_value_keep_the_grammar(chunks: list[bytes]) -> None:
    check_stream([SseEvent(chunk) for chunk in chunks])


@LIMITS
@given(st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "x-request-id"]), st.text(max_size=40)))
def test_any_header_is_a_wait_or_none(headers: dict[str, str]) -> None:
    wait_s = codec.decode_error(429, headers, b"").retry_after_s
    assert wait_s is None or 0 <= wait_s <= 7 * 24 * 3600
