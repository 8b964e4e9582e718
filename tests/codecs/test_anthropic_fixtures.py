"""The laws of the Messages codec on complete wire bodies, and that the official SDK's types accept what it writes."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from anthropic.types import ErrorResponse, Message, RawMessageStreamEvent, StopReason
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from waypost.chat import Event, Failed, Finish, Grammar, PartDelta, ServerTool, Text, ToolCall, collect
from waypost.codecs.anthropic_messages import codec
from waypost.codecs.anthropic_messages.response import STOP_REASONS
from waypost.codecs.sse import SseDecoder
from waypost.errors import IncompleteStream, ProviderOverloaded

FIXTURES = Path(__file__).parents[1] / "fixtures" / "anthropic_messages"
PAIRS = sorted(path.stem for path in FIXTURES.glob("*.sse") if "." not in path.stem)
REQUESTS = sorted(path.name.removesuffix(".request.json") for path in FIXTURES.glob("*.request.json"))
SDK_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def read(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


def decode(data: bytes, cuts: tuple[int, ...] = ()) -> list[Event]:
    """The events of a stream whose bytes come in pieces, each checked against the grammar."""
    reader, decoder, grammar = SseDecoder(), codec.stream_decoder(), Grammar()
    events: list[Event] = []
    borders = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(borders):
        for wire_event in reader.feed(data[start:end]):
            events += decoder.feed(wire_event)
    events += decoder.finish()
    for event in events:
        grammar.check(event)
    return events


def encode(events: list[Event]) -> bytes:
    encoder = codec.stream_encoder()
    written = b"".join(encoder.encode(event) for event in events)
    return written if isinstance(events[-1], Failed) else written + encoder.finish()


def test_the_cases_are_there() -> None:
    """A law over no fixture would hold by itself."""
    assert len(PAIRS) >= 13
    assert len(REQUESTS) >= 6


@pytest.mark.parametrize("case", PAIRS)
def test_a_stream_and_a_body_of_one_answer_are_the_same_answer(case: str) -> None:
    assert collect(decode(read(f"{case}.sse"))) == codec.decode_response(read(f"{case}.json"))


@pytest.mark.parametrize("case", [*PAIRS, "overloaded_midstream.error"])
def test_bytes_cut_one_by_one_give_the_same_events(case: str) -> None:
    data = read(f"{case}.sse")
    events = decode(data, tuple(range(1, len(data))))
    assert repr(events) == repr(decode(data))


@given(case=st.sampled_from(PAIRS), data=st.data())
@settings(max_examples=60, deadline=None)
def test_bytes_cut_anywhere_give_the_same_events(case: str, data: st.DataObject) -> None:
    wire = read(f"{case}.sse")
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=8))
    assert decode(wire, tuple(cuts)) == decode(wire)


@pytest.mark.parametrize("case", PAIRS)
def test_a_stream_cut_before_its_end_is_incomplete_and_never_finishes(case: str) -> None:
    data = read(f"{case}.sse")
    whole_events = data.split(b"\n\n")[:-1]
    for count in range(len(whole_events)):
        events = decode(b"".join(event + b"\n\n" for event in whole_events[:count]))
        assert isinstance(events[-1], Failed)
        assert isinstance(events[-1].error, IncompleteStream)
        assert not any(isinstance(event, Finish) for event in events)


@pytest.mark.parametrize("case", [case for case in PAIRS if case != "unknown_block"])
def test_an_answer_written_and_read_again_is_the_same(case: str) -> None:
    """Body and stream; the body's members are those that came, but for null ones."""
    response = codec.decode_response(read(f"{case}.json"))
    written = codec.encode_response(response)
    assert codec.decode_response(written.body) == response
    assert written.losses == ()
    came = {name: value for name, value in json.loads(read(f"{case}.json")).items() if value is not None}
    assert {name: value for name, value in json.loads(written.body).items() if value is not None} == came
    events = decode(read(f"{case}.sse"))
    encoder = codec.stream_encoder()
    streamed = b"".join(encoder.encode(event) for event in events) + encoder.finish()
    assert collect(decode(streamed)) == response
    assert encoder.losses == ()


def test_what_only_a_newer_version_knows_survives_and_the_rest_is_reported() -> None:
    response = codec.decode_response(read("unknown_block.json"))
    assert response.choices[0].reason == "other"
    assert response.choices[0].raw_reason == "compaction"
    written = codec.encode_response(response)
    assert json.loads(written.body)["content"] == json.loads(read("unknown_block.json"))["content"]
    assert [loss.what for loss in written.losses] == ["choices[0].reason"]


@pytest.mark.parametrize("case", [case for case in PAIRS if case != "unknown_block"])
def test_what_is_written_fits_the_sdks_types(case: str) -> None:
    response = codec.decode_response(read(f"{case}.json"))
    Message.model_validate_json(codec.encode_response(response).body)
    wire_events = SseDecoder().feed(encode(decode(read(f"{case}.sse"))))
    kinds = [SDK_EVENT.validate_json(event.data).type for event in wire_events]
    assert kinds == [event.event for event in wire_events]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_written_again_has_every_member_it_came_with(case: str) -> None:
    came = read(f"{case}.request.json")
    decoded = codec.decode_request(came)
    written = codec.encode_request(decoded.request, stream=decoded.stream)
    assert json.loads(written.body) == json.loads(came)
    assert written.losses == ()
    assert codec.decode_request(written.body) == decoded


def test_arguments_stay_as_they_were_written() -> None:
    """Spaces and the form of numbers too, in answers, streams and requests."""
    calls = codec.decode_response(read("parallel_tool_use.json")).choices[0].parts
    assert isinstance(calls[1], ToolCall)
    assert calls[1].arguments == '{"path": "/tmp/a", "ratio": 1.50, "big": 12345678901234567890}'
    request = codec.decode_request(read("tool_loop.request.json")).request
    call = request.messages[2].parts[3]
    assert isinstance(call, ToolCall)
    assert call.arguments == '{"location":  "Paris", "scale": 1.0}'
    assert b'{"location":  "Paris", "scale": 1.0}' in codec.encode_request(request, stream=False).body


def test_usage_counts_the_whole_prompt_and_each_lifetime_of_the_cache() -> None:
    usage = codec.decode_response(read("usage_cached.json")).usage
    assert usage.input_tokens == 21 + 456 + 188086
    assert usage.input_cache_read_tokens == 188086
    assert usage.input_cache_write_5m_tokens == 156
    assert usage.input_cache_write_1h_tokens == 300
    assert usage.output_tokens == 393
    assert usage.service_tier == "priority"


def test_a_server_tool_comes_whole_and_its_answer_is_cited() -> None:
    parts = codec.decode_response(read("web_search.json")).choices[0].parts
    assert isinstance(parts[1], ServerTool)
    assert parts[1].data["input"] == {"query": "claude shannon birth date"}
    assert isinstance(parts[3], Text)
    assert len(parts[3].citations) == 2
    assert not any(isinstance(event, PartDelta) and event.index == 1 for event in decode(read("web_search.sse")))


def test_an_error_within_a_stream_ends_it_typed_and_is_written_as_one() -> None:
    events = decode(read("overloaded_midstream.error.sse"))
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, ProviderOverloaded)
    assert events[-1].error.request_id == "req_011CSHoEeqs5C35K2UUqR7Fy"
    last = SseDecoder().feed(encode(events))[-1]
    assert last.event == "error"
    assert ErrorResponse.model_validate_json(last.data).error.type == "overloaded_error"
    assert b"message_stop" not in encode(events)


def test_every_stop_reason_of_the_sdk_is_known() -> None:
    assert set(get_args(StopReason)) == set(STOP_REASONS)
