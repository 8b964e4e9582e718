"""The laws of the Gemini codec on complete wire bodies and streams."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.chat import (
    Event,
    Failed,
    Finish,
    Grammar,
    Media,
    Reasoning,
    ServerTool,
    Text,
    ToolCall,
    Unknown,
    Usage,
    collect,
)
from waypost.codecs.gemini import codec
from waypost.codecs.sse import SseDecoder
from waypost.errors import IncompleteStream, ProviderOverloaded

FIXTURES = Path(__file__).parents[1] / "fixtures" / "gemini"
PAIRS = sorted(path.stem for path in FIXTURES.glob("*.sse") if "." not in path.stem)
REQUESTS = sorted(path.name.removesuffix(".request.json") for path in FIXTURES.glob("*.request.json"))


def read(name: str) -> bytes:
    return (FIXTURES / name).read_bytes()


def decode(data: bytes, cuts: tuple[int, ...] = (), choices: int = 1) -> list[Event]:
    """The events of a stream whose bytes come in pieces, each checked against the grammar."""
    reader, decoder, grammar = SseDecoder(), codec.stream_decoder(choices=choices), Grammar()
    events: list[Event] = []
    borders = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(borders):
        for wire_event in reader.feed(data[start:end]):
            events += decoder.feed(wire_event)
    events += decoder.finish()
    for event in events:
        grammar.check(event)
    return events


def encode(events: list[Event]) -> tuple[bytes, list[str]]:
    encoder = codec.stream_encoder()
    written = b"".join(encoder.encode(event) for event in events)
    written += b"" if isinstance(events[-1], Failed) else encoder.finish()
    return written, [loss.what for loss in encoder.losses]


def chunks(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in SseDecoder().feed(data)]


def test_the_cases_are_there() -> None:
    """A law over no fixture would hold by itself."""
    assert len(PAIRS) >= 16
    assert len(REQUESTS) >= 5


@pytest.mark.parametrize("case", PAIRS)
def test_a_stream_and_a_body_of_one_answer_are_the_same_answer(case: str) -> None:
    assert collect(decode(read(f"{case}.sse"))) == codec.decode_response(read(f"{case}.json"))


@pytest.mark.parametrize("case", [*PAIRS, "overloaded_midstream.error"])
def test_bytes_cut_one_by_one_give_the_same_events(case: str) -> None:
    data = read(f"{case}.sse")
    assert repr(decode(data, tuple(range(1, len(data))))) == repr(decode(data))


@given(case=st.sampled_from(PAIRS), data=st.data())
@settings(max_examples=60, deadline=None)
def test_bytes_cut_anywhere_give_the_same_events(case: str, data: st.DataObject) -> None:
    wire = read(f"{case}.sse")
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=8))
    assert decode(wire, tuple(cuts)) == decode(wire)


@pytest.mark.parametrize("case", PAIRS)
def test_a_stream_cut_before_its_end_is_incomplete_and_never_finishes(case: str) -> None:
    data = read(f"{case}.sse")
    whole_events = data.split(b"\r\n\r\n")[:-1]
    for count in range(len(whole_events)):
        events = decode(b"".join(event + b"\r\n\r\n" for event in whole_events[:count]))
        assert isinstance(events[-1], Failed)
        assert isinstance(events[-1].error, IncompleteStream)
        assert not any(isinstance(event, Finish) for event in events)


@pytest.mark.parametrize("case", PAIRS)
def test_an_answer_written_and_read_again_is_the_same(case: str) -> None:
    """Body and stream, without a loss, but for the word of a reason that only a newer version knows."""
    response = codec.decode_response(read(f"{case}.json"))
    written = codec.encode_response(response)
    streamed, stream_losses = encode(decode(read(f"{case}.sse")))
    assert written.losses == ()
    assert stream_losses == []
    if case != "unknown_parts":
        assert codec.decode_response(written.body) == response
        assert collect(decode(streamed)) == response


def told(answer: Any) -> Any:
    """A body without what says nothing: members that are null, empty or 0, which protobuf's JSON leaves out."""
    if isinstance(answer, dict):
        found = {name: told(value) for name, value in answer.items()}
        return {name: value for name, value in found.items() if value not in (None, [], {}, 0)}
    return [told(item) for item in answer] if isinstance(answer, list) else answer


@pytest.mark.parametrize("case", [case for case in PAIRS if case not in ("unknown_parts", "malformed_function_call")])
def test_a_body_written_again_has_every_member_it_came_with(case: str) -> None:
    written = codec.encode_response(codec.decode_response(read(f"{case}.json")))
    assert told(json.loads(written.body)) == told(json.loads(read(f"{case}.json")))


@pytest.mark.parametrize("case", PAIRS)
def test_a_stream_written_has_whole_chunks_and_ends_with_reason_and_usage(case: str) -> None:
    data, _ = encode(decode(read(f"{case}.sse")))
    assert data.startswith(b"data: {")
    assert data.endswith(b"}\r\n\r\n")
    assert b"[DONE]" not in data
    *_, last = written = chunks(data)
    assert last["usageMetadata"]["promptTokenCount"]
    for chunk in written:
        assert chunk["responseId"]
        assert chunk["modelVersion"]
    if case != "blocked_prompt":
        assert last["candidates"][0]["finishReason"]
        reasons = [candidate.get("finishReason") for chunk in written for candidate in chunk["candidates"]]
        assert sum(reason is not None for reason in reasons) == (2 if case == "two_candidates" else 1)


@pytest.mark.parametrize("case", REQUESTS)
def test_a_request_written_again_has_every_member_it_came_with(case: str) -> None:
    came = read(f"{case}.request.json")
    decoded = codec.decode_request(came)
    written = codec.encode_request(decoded.request, stream=True)
    assert (decoded.request.model, decoded.stream) == ("", False)
    assert json.loads(written.body) == json.loads(came)
    assert written.losses == ()
    assert codec.decode_request(written.body) == decoded


def test_a_signature_stays_on_the_very_part() -> None:
    parts = codec.decode_response(read("thinking.json")).choices[0].parts
    assert parts == (
        Reasoning("**Weighing it**\n\nTwo trains meet halfway.\n\n\n"),
        Text("They meet after two hours."),
        Text("", opaque={"google": {"thoughtSignature": "CrQCAdHtim9qYw=="}}),
    )


def test_calls_without_an_id_get_one_that_is_not_sent_back() -> None:
    response = codec.decode_response(read("parallel_function_calls.json"))
    calls = [part for part in response.choices[0].parts if isinstance(part, ToolCall)]
    assert [call.call_id for call in calls[:2]] == ["yd8mpx3q", "k29sla0w"]
    assert calls[2].call_id.startswith("gemini_call_")
    assert len(calls[2].call_id) <= 40
    assert [call.arguments for call in calls[1:]] == ['{"location":"Rome","days":[1,2],"deep":{"x":null}}', "{}"]
    assert calls[0].opaque == {"google": {"thoughtSignature": "EtQBAb4+9vt"}}
    assert response.choices[0].reason == "tool_calls"
    assert response.choices[0].raw_reason == "STOP"
    wire = json.loads(codec.encode_response(response).body)["candidates"][0]["content"]["parts"]
    assert ["id" in part["functionCall"] for part in wire] == [True, True, False]


def test_a_blocked_prompt_is_an_answer_without_parts() -> None:
    choice = codec.decode_response(read("blocked_prompt.json")).choices[0]
    assert (choice.parts, choice.reason, choice.raw_reason) == ((), "content_filter", "PROHIBITED_CONTENT")
    assert "candidates" not in json.loads(encode(decode(read("blocked_prompt.sse")))[0].removeprefix(b"data: "))


def test_usage_counts_the_whole_prompt_and_all_that_was_generated() -> None:
    assert codec.decode_response(read("code_execution.json")).usage == Usage(input_tokens=120, output_tokens=30)
    usage = codec.decode_response(read("thinking.json")).usage
    assert usage == Usage(input_tokens=30, output_tokens=290, output_reasoning_tokens=285)
    cached = codec.decode_response(read("usage_cached.json")).usage
    assert (cached.input_cache_read_tokens, cached.input_audio_tokens) == (8192, 200)
    assert cached.service_tier == "standard"
    assert codec.decode_response(read("malformed_function_call.json")).usage.output_tokens == 0


def test_what_only_google_tells_is_kept_beside_the_answer() -> None:
    response = codec.decode_response(read("grounding.json"))
    beside = response.provider_fields["google"]["candidates[0]"]
    assert beside.keys() == {"citationMetadata", "groundingMetadata", "avgLogprobs"}
    created = codec.decode_response(read("function_call.json"))
    assert created.created == 1755877668
    assert created.provider_fields["google"]["createTime"] == "2025-08-22T15:47:48.123456Z"


def test_parts_of_googles_own_come_whole() -> None:
    parts = codec.decode_response(read("unknown_parts.json")).choices[0].parts
    assert [type(part) for part in parts] == [Text, Unknown, ServerTool, ServerTool, Unknown, Text]
    assert codec.decode_response(read("unknown_parts.json")).choices[0].reason == "other"
    picture = codec.decode_response(read("image_output.json")).choices[0].parts[1]
    assert isinstance(picture, Media)
    assert picture.opaque == {"google": {"thoughtSignature": "Eg8K"}}


def test_log_probabilities_have_the_form_that_other_formats_know() -> None:
    logprobs = codec.decode_response(read("logprobs.json")).choices[0].logprobs
    assert logprobs is not None
    yes, no = (
        {"token": "Yes", "token_id": 11262, "logprob": -0.01},
        {"token": "No", "token_id": 3771, "logprob": -4.6},
    )
    assert logprobs["content"][0] == {**yes, "top_logprobs": [yes, no]}


def test_an_error_within_a_stream_ends_it_typed_and_is_written_as_one() -> None:
    events = decode(read("overloaded_midstream.error.sse"))
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, ProviderOverloaded)
    assert events[-1].error.status == 503
    written, _ = encode(events)
    last = chunks(written)[-1]
    assert (last["error"]["code"], last["error"]["status"]) == (503, "UNAVAILABLE")
    assert b"finishReason" not in written


def test_fewer_candidates_than_were_asked_for_are_incomplete() -> None:
    data = read("two_candidates.sse")
    assert isinstance(decode(data, choices=2)[-1], Finish)
    assert isinstance(decode(data, choices=3)[-1], Failed)
