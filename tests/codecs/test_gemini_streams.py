"""Streams of the Gemini format: odd and broken ones read, interleaved canonical ones written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from waypost.chat import (
    Citation,
    CitationDelta,
    Event,
    Failed,
    Finish,
    Grammar,
    InlineData,
    LogprobsDelta,
    Media,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
    ResponseStart,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
    Usage,
    UsageUpdate,
    collect,
)
from waypost.codecs.gemini import codec
from waypost.codecs.gemini.reasons import FINISH_REASONS
from waypost.codecs.sse import SseDecoder, SseEvent
from waypost.errors import (
    IncompleteStream,
    MalformedResponse,
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderServerError,
)

Wire = dict[str, Any]
SIGNED = {"google": {"thoughtSignature": "s"}}


def chunk(*parts: Wire, reason: str | None = None, **members: Any) -> Wire:
    candidate: Wire = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if reason is not None:
        candidate["finishReason"] = reason
    return {"candidates": [candidate], **members}


def text(word: str, **members: Any) -> Wire:
    return {"text": word, **members}


END = chunk(text(""), reason="STOP")


def read(*wire_events: Wire | bytes) -> list[Event]:
    decoder, grammar = codec.stream_decoder(), Grammar()
    events: list[Event] = []
    for event in wire_events:
        events += decoder.feed(SseEvent(event if isinstance(event, bytes) else json.dumps(event).encode()))
    events += decoder.finish()
    for canonical in events:
        grammar.check(canonical)
    return events


def write(*events: Event) -> tuple[list[Wire], list[str]]:
    """What the encoder writes, and what it reports as lost."""
    grammar, encoder = Grammar(), codec.stream_encoder()
    data = b""
    for event in events:
        grammar.check(event)
        data += encoder.encode(event)
    data += b"" if isinstance(events[-1], Failed) else encoder.finish()
    return [json.loads(event.data) for event in SseDecoder().feed(data)], [loss.what for loss in encoder.losses]


def parts_of(wire: list[Wire], index: int = 0) -> list[Wire]:
    candidates = [candidate for one in wire for candidate in one.get("candidates", ())]
    return [part for each in candidates if each["index"] == index for part in each.get("content", {}).get("parts", ())]


BROKEN: list[Wire | bytes] = [
    b"[DONE]",
    b"",
    b"[]",
    b"5",
    b"\xff",
    b'{"candidates":' + b"[" * 100_000,
    {"candidates": 5},
    {"candidates": [5]},
    {"candidates": [{"index": "x"}]},
    {"candidates": [{"content": []}]},
    {"candidates": [{"finishReason": 5}]},
    {"candidates": [{"logprobsResult": {"chosenCandidates": 5}}]},
    {"promptFeedback": {"blockReason": 5}},
    {"usageMetadata": {"promptTokenCount": "5"}},
    {"usageMetadata": {"promptTokensDetails": [{"modality": "AUDIO", "tokenCount": []}]}},
    chunk({"text": 5}),
    chunk({"functionCall": {"name": "f", "args": []}}),
    chunk({"functionCall": {"name": 5}}),
    chunk({"inlineData": {"mimeType": "image/png", "data": "!"}}),
]


@pytest.mark.parametrize("before", [(), (chunk(text("hi")),)])
@pytest.mark.parametrize("event", BROKEN)
def test_a_broken_stream_fails_as_malformed_and_gives_nothing_more(
    before: tuple[Wire, ...], event: Wire | bytes
) -> None:
    events = read(*before, event, chunk(text("hi")), END)
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, MalformedResponse)
    assert sum(isinstance(each, Failed) for each in events) == 1


@pytest.mark.parametrize("head", [{"responseId": 5}, {"modelVersion": []}])
def test_a_head_that_does_not_fit_is_malformed(head: Wire) -> None:
    last = read(head, END)[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, MalformedResponse)


ERRORS: list[tuple[Any, type[ProviderError]]] = [
    ({"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}, ProviderOverloaded),
    ({"error": {"code": 429, "message": "x"}}, ProviderRateLimited),
    ({"error": {"status": "RESOURCE_EXHAUSTED"}}, ProviderRateLimited),
    ([{"error": {"code": 500}}], ProviderServerError),
    ({"error": {}}, ProviderServerError),
]


@pytest.mark.parametrize("before", [(), (chunk(text("hi")),), (END,)])
@pytest.mark.parametrize(("event", "error_class"), ERRORS)
def test_an_error_chunk_is_its_typed_error_at_any_time(
    before: tuple[Wire, ...], event: Any, error_class: type[ProviderError]
) -> None:
    """After a finishReason too, since Finish waits for the end of the bytes."""
    last = read(*before, event, END)[-1]
    assert isinstance(last, Failed)
    assert type(last.error) is error_class


@pytest.mark.parametrize("before", [(), (chunk(text("hi")),), ({"usageMetadata": {"promptTokenCount": 5}},)])
def test_a_stream_without_a_finish_reason_is_incomplete(before: tuple[Wire, ...]) -> None:
    last = read(*before)[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, IncompleteStream)


def test_finish_waits_for_the_end_since_usage_may_come_after_the_reason() -> None:
    events = read(chunk(text("a")), END, {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 1}})
    assert events[-3:] == [UsageUpdate(Usage(input_tokens=5, output_tokens=1)), PartEnd(0), Finish("stop", "STOP")]


def test_a_reason_in_every_chunk_as_older_models_send_it_loses_no_text() -> None:
    response = collect(read(chunk(text("a"), reason="STOP"), chunk(text("b"), reason="MAX_TOKENS")))
    assert (response.text, response.choices[0].reason) == ("ab", "length")


def test_text_joins_and_whatever_bears_a_mark_stands_alone() -> None:
    marked = text("c", thoughtSignature="s")
    thoughts = [text("x", thought=True), text("y", thought=True, thoughtSignature="s")]
    response = collect(
        read(chunk(text("a"), text("")), chunk(text("b"), marked, text("d")), chunk(*thoughts), chunk(text("e")), END)
    )
    assert response.choices[0].parts == (
        Text("ab"),
        Text("c", opaque=SIGNED),
        Text("d"),
        Reasoning("x"),
        Reasoning("y", SIGNED),
        Text("e"),
    )


def test_a_signature_may_come_in_a_part_of_its_own() -> None:
    response = collect(read(chunk(text("a"), {"thoughtSignature": "s"}), END))
    assert response.choices[0].parts == (Text("a"), Text("", opaque=SIGNED))


def test_pieces_of_a_call_that_only_some_models_give_are_kept_as_they_are() -> None:
    pieces: list[Wire] = [
        {"functionCall": {"name": "f", "willContinue": True}},
        {"functionCall": {"partialArgs": [{"x": 1}]}},
    ]
    response = collect(read(chunk(*pieces), END))
    assert response.choices[0].parts == tuple(Unknown("gemini", piece) for piece in pieces)
    assert response.choices[0].reason == "stop"


def test_calls_of_one_answer_have_ids_that_differ_by_candidate_and_place() -> None:
    call = {"functionCall": {"name": "f"}}
    both = {"responseId": "a/b+c", "candidates": [{"content": {"parts": [call, call]}, "finishReason": "STOP"}] * 2}
    response = collect(read(both))
    ids = [part.call_id for choice in response.choices for part in choice.parts if isinstance(part, ToolCall)]
    assert ids == ["gemini_call_abc_1", "gemini_call_abc_2", "gemini_call_abc_1_1", "gemini_call_abc_1_2"]
    assert len(set(ids)) == 4


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    broken = json.dumps(chunk(text("h?i"))).encode().replace(b"?", rb"\ud83d")
    assert collect(read(broken, END)).text == "h\ufffdi"


@pytest.mark.parametrize(("word", "reason"), FINISH_REASONS.items())
def test_every_reason_is_read_and_written_as_it_was(word: str, reason: str) -> None:
    response = collect(read(chunk(text("a"), reason=word)))
    assert (response.choices[0].reason, response.choices[0].raw_reason) == (reason, word)
    written = codec.encode_response(response)
    assert json.loads(written.body)["candidates"][0]["finishReason"] == word


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b"{}", b'{"candidates":[]}', b'{"promptFeedback":{}}'])
def test_a_body_that_is_no_answer_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedResponse):
        codec.decode_response(body)


def test_a_body_that_is_an_error_after_all_is_that_error() -> None:
    with pytest.raises(ProviderOverloaded):
        codec.decode_response(b'[{"error":{"code":503,"status":"UNAVAILABLE"}}]')


def test_a_whole_answer_without_a_reason_is_no_failure() -> None:
    response = codec.decode_response(json.dumps(chunk(text("a"))).encode())
    assert (response.text, response.choices[0].reason, response.choices[0].raw_reason) == ("a", "other", None)


HEAD = ResponseStart("r", "m")


def test_each_piece_of_text_is_written_at_once_and_a_call_when_it_is_whole() -> None:
    encoder = codec.stream_encoder()
    assert encoder.encode(HEAD) == encoder.encode(PartStart(0, Text(""))) == b""
    assert b'"text":"hello"' in encoder.encode(PartDelta(0, "hello"))
    assert encoder.encode(PartEnd(0)) == b""
    assert encoder.encode(PartStart(1, ToolCall("c", "f", '{"a"'))) == encoder.encode(PartDelta(1, ":1}")) == b""
    assert b'"functionCall":{"id":"c","name":"f","args":{"a":1}}' in encoder.encode(PartEnd(1))


def test_parts_that_interleave_are_written_in_the_order_in_which_they_began() -> None:
    wire, losses = write(
        HEAD,
        PartStart(3, ToolCall("a", "f", "")),
        PartStart(5, ToolCall("b", "g", "")),
        PartDelta(5, '{"y"'),
        PartDelta(3, '{"x"'),
        PartStart(1, Text("so ")),
        PartDelta(1, "what"),
        PartDelta(5, ":2}"),
        PartEnd(5),
        PartDelta(3, ":1}"),
        PartEnd(3),
        PartEnd(1),
        Finish("tool_calls"),
    )
    assert losses == []
    response = collect(read(*wire))
    assert response.choices[0].parts == (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", '{"y":2}'), Text("so what"))
    assert response.choices[0].reason == "tool_calls"


def test_signed_text_is_written_as_one_part_and_a_late_signature_after_its_text() -> None:
    wire, losses = write(
        HEAD,
        PartStart(0, Text("", opaque=SIGNED)),
        PartDelta(0, "a"),
        PartDelta(0, "b"),
        PartEnd(0),
        PartStart(1, Reasoning("")),
        PartDelta(1, "c"),
        PartEnd(1, opaque={**SIGNED, "anthropic": {"signature": "x"}}),
        Finish("stop"),
    )
    assert parts_of(wire)[:3] == [
        text("ab", thoughtSignature="s"),
        text("c", thought=True),
        text("", thought=True, thoughtSignature="s"),
    ]
    assert losses == ["choices[0].parts[1].opaque[anthropic]"]


def test_arguments_that_are_no_object_are_wrapped_and_told() -> None:
    wire, losses = write(HEAD, PartStart(0, ToolCall("a", "f", "[")), PartDelta(0, "1"), PartEnd(0), Finish("stop"))
    assert parts_of(wire)[0]["functionCall"]["args"] == {"_raw_arguments": "[1"}
    assert losses == ["choices[0].parts[0].arguments"]


def test_several_choices_are_candidates_each_with_its_reason() -> None:
    wire, losses = write(
        HEAD,
        PartStart(0, Text("a")),
        PartStart(0, Text("b"), 1),
        PartDelta(0, "c", 1),
        PartEnd(0, 1),
        PartEnd(0),
        UsageUpdate(Usage(input_tokens=1, output_tokens=2)),
        Finish("stop"),
        Finish("length", choice=1),
    )
    response = collect(read(*wire))
    assert [(choice.text, choice.reason) for choice in response.choices] == [("a", "stop"), ("bc", "length")]
    assert wire[-1]["usageMetadata"] == {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}
    assert losses == []


def test_neighbouring_texts_are_read_as_one_which_is_told() -> None:
    parts: list[Event] = [HEAD]
    for number, word in enumerate(["a", "", "b"]):
        parts += [PartStart(number, Text("")), PartDelta(number, word), PartEnd(number)]
    wire, losses = write(*parts, Finish("stop"))
    assert collect(read(*wire)).choices[0].parts == (Text("ab"),)
    assert losses == ["choices[0].parts"]
    whole = codec.encode_response(collect([*parts, Finish("stop")]))
    assert codec.decode_response(whole.body).choices[0].parts == (Text("ab"),)
    assert [loss.what for loss in whole.losses] == ["choices[0].parts"]


def test_what_a_stream_here_cannot_hold_is_told_and_the_rest_goes_on() -> None:
    wire, losses = write(
        ResponseStart("r", "m", created=5, provider_fields={"openai": {}}),
        PartStart(0, Media("image", InlineData(b"x", "image/png"))),
        PartEnd(0),
        PartStart(1, Refusal("no")),
        PartDelta(1, " way"),
        PartEnd(1),
        PartStart(2, ToolResult("c", ())),
        PartEnd(2),
        PartStart(3, Unknown("openai_chat", {})),
        PartEnd(3, opaque={"openai": {"id": 1}}),
        PartStart(4, Reasoning("")),
        PartEnd(4),
        PartStart(5, Text("x")),
        CitationDelta(5, Citation("openai_chat", {})),
        PartEnd(5),
        LogprobsDelta({"refusal": []}),
        UsageUpdate(Usage(input_cache_write_5m_tokens=5, server_tool_calls={"x": 1}, service_tier="batch")),
        Finish("pause", "pause_turn", "END"),
    )
    assert parts_of(wire) == [
        {"inlineData": {"mimeType": "image/png", "data": "eA=="}},
        text("no"),
        text(" way"),
        text("x"),
        text(""),
    ]
    assert wire[0]["createTime"] == "1970-01-01T00:00:05Z"
    assert wire[-1]["candidates"][0]["finishReason"] == "STOP"
    assert set(losses) == {
        "provider_fields[openai]",
        "choices[0].parts[1]",
        "choices[0].parts[2]",
        "choices[0].parts[3]",
        "choices[0].parts[5].citations",
        "choices[0].parts",
        "choices[0].logprobs",
        "choices[0].stop_sequence",
        "choices[0].reason",
        "usage.input_cache_write_5m_tokens",
        "usage.server_tool_calls",
        "usage.service_tier",
    }


def test_half_a_surrogate_pair_is_written_as_utf8_and_told() -> None:
    wire, losses = write(HEAD, PartStart(0, Text("")), PartDelta(0, "a\ud83d"), PartEnd(0), Finish("stop"))
    assert parts_of(wire)[0] == text("a\ufffd")
    assert losses == ["choices"]


def test_a_failure_ends_the_stream_with_its_error_and_no_reason() -> None:
    wire, _ = write(HEAD, PartStart(0, Text("")), PartDelta(0, "a"), Failed(ProviderOverloaded("Overloaded")))
    assert wire[-1]["error"]["status"] == "UNAVAILABLE"
    assert "finishReason" not in json.dumps(wire)
