"""Streams of the Messages format: odd and broken ones read, interleaved canonical ones written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

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
    ServerTool,
    Text,
    ToolCall,
    Unknown,
    Usage,
    UsageUpdate,
    collect,
)
from waypost.codecs.anthropic_messages import codec
from waypost.codecs.sse import SseDecoder, SseEvent
from waypost.errors import (
    MalformedResponse,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderServerError,
)

Wire = dict[str, Any]
SDK_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
START: Wire = {"type": "message_start", "message": {"id": "m", "model": "x", "content": [], "usage": {}}}
TEXT: Wire = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
WORD: Wire = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}
STOP: Wire = {"type": "content_block_stop", "index": 0}
END: Wire = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}}
LAST: Wire = {"type": "message_stop"}


def tool(value: Any) -> Wire:
    block = {"type": "tool_use", "id": "a", "name": "f", "input": value}
    return {"type": "content_block_start", "index": 0, "content_block": block}


def delta(kind: str, **members: Any) -> Wire:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": kind, **members}}


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
    """What the encoder writes, each event checked by the SDK's types, and what it reports as lost."""
    grammar, encoder = Grammar(), codec.stream_encoder()
    data = b""
    for event in events:
        grammar.check(event)
        data += encoder.encode(event)
    if not isinstance(events[-1], Failed):
        data += encoder.finish()
    wire_events = SseDecoder().feed(data)
    for wire_event in wire_events:
        if wire_event.event != "error":
            SDK_EVENT.validate_json(wire_event.data)
        assert json.loads(wire_event.data)["type"] == wire_event.event
    return [json.loads(event.data) for event in wire_events], [loss.what for loss in encoder.losses]


BROKEN: list[tuple[Wire | bytes, ...]] = [
    (b"[DONE]",),
    (b"",),
    (b"[]",),
    (b"\xff",),
    (b'{"type":' + b"[" * 100_000,),
    (b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"},"y":' + b"[" * 100_000,),
    ({},),
    ({"type": 5},),
    (WORD,),
    (TEXT,),
    (STOP,),
    (LAST,),
    (END,),
    (START, START),
    ({"type": "message_start"},),
    ({"type": "message_start", "message": []},),
    ({"type": "message_start", "message": {"id": 5}},),
    ({"type": "message_start", "message": {"usage": {"input_tokens": 1.5}}},),
    ({"type": "message_start", "message": {"content": [{"type": "text", "text": "x"}]}},),
    (START, WORD),
    (START, STOP),
    (START, TEXT, TEXT),
    (START, TEXT, STOP, TEXT),
    (START, TEXT, STOP, WORD),
    (START, TEXT, STOP, STOP),
    (START, TEXT, END, LAST),
    (START, {**TEXT, "index": -1}),
    (START, {**TEXT, "index": "0"}),
    (START, {**TEXT, "content_block": {}}),
    (START, {**TEXT, "content_block": {"type": "text"}}),
    (START, TEXT, delta("thinking_delta", thinking="x")),
    (START, TEXT, delta("input_json_delta", partial_json="x")),
    (START, TEXT, delta("text_delta", text=5)),
    (START, TEXT, delta("text_delta")),
    (START, TEXT, {"type": "content_block_delta", "index": 0}),
    (START, TEXT, {**WORD, "index": True}),
    (START, TEXT, {**WORD, "index": 1}),
    (START, tool([1])),
    (START, tool({}), delta("citations_delta", citation={})),
    (START, {**END, "usage": {"output_tokens": "1"}}),
    (START, {**END, "delta": {"stop_reason": 1}}),
]


@pytest.mark.parametrize("wire_events", BROKEN)
def test_a_broken_stream_fails_as_malformed_and_gives_nothing_more(wire_events: tuple[Wire | bytes, ...]) -> None:
    events = read(*wire_events, START, TEXT, WORD, STOP, END, LAST)
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, MalformedResponse)
    assert sum(isinstance(event, Failed) for event in events) == 1


ERRORS: list[tuple[Wire, type[Exception]]] = [
    ({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, ProviderOverloaded),
    ({"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}, ProviderRateLimited),
    ({"type": "error", "error": {"type": "api_error", "message": "x"}}, ProviderServerError),
    ({"type": "error", "error": {"type": "new_error", "message": "x"}}, ProviderServerError),
    ({"type": "error"}, ProviderServerError),
    ({"error": {"type": "overloaded_error"}}, ProviderOverloaded),
]


@pytest.mark.parametrize("before", [(), (START, TEXT, WORD)])
@pytest.mark.parametrize(("event", "error_class"), ERRORS)
def test_an_error_event_is_its_typed_error_at_any_time(
    before: tuple[Wire, ...], event: Wire, error_class: type[Exception]
) -> None:
    last = read(*before, event, LAST)[-1]
    assert isinstance(last, Failed)
    assert type(last.error) is error_class


def test_finish_waits_for_message_stop() -> None:
    decoder = codec.stream_decoder()
    given = [decoder.feed(SseEvent(json.dumps(event).encode())) for event in (START, TEXT, WORD, STOP, END)]
    assert not any(isinstance(event, Finish) for events in given for event in events)
    assert decoder.feed(SseEvent(b'{"type":"message_stop"}')) == (Finish("stop", "end_turn"),)
    assert decoder.feed(SseEvent(b"[DONE]")) == ()
    assert decoder.finish() == ()


@pytest.mark.parametrize(
    ("events", "arguments"),
    [
        ((tool({}),), "{}"),
        ((tool(None),), "{}"),
        ((tool({}), delta("input_json_delta", partial_json="")), "{}"),
        ((tool({"a": 1.50}),), '{"a": 1.5}'),
        ((tool({"a": 1}), delta("input_json_delta", partial_json='{"a": 1}')), '{"a": 1}'),
        (
            (tool({}), delta("input_json_delta", partial_json='{"a"'), delta("input_json_delta", partial_json=":1}")),
            '{"a":1}',
        ),
    ],
)
def test_a_tools_input_comes_in_deltas_or_whole_at_the_start(events: tuple[Wire, ...], arguments: str) -> None:
    parts = collect(read(START, *events, STOP, END, LAST)).choices[0].parts
    assert parts == (ToolCall("a", "f", arguments),)


def test_text_that_stands_in_the_start_is_kept() -> None:
    start = {**TEXT, "content_block": {"type": "text", "text": "oh ", "citations": [{"type": "x"}]}}
    parts = collect(read(START, start, WORD, STOP, END, LAST)).choices[0].parts
    assert parts == (Text("oh hi", (Citation("anthropic_messages", {"type": "x"}),)),)


def test_deltas_of_any_kind_for_a_block_this_version_does_not_know_are_joined() -> None:
    start = {**TEXT, "content_block": {"type": "future", "a": "1"}}
    deltas = [
        delta("future_delta", a="2", b=[1]),
        delta("future_delta", b=[2], c={"d": 1}),
        delta("text_delta", text="t"),
        delta("input_json_delta", partial_json='{"x"'),
        delta("input_json_delta", partial_json=":1}"),
        delta("citations_delta", citation={"y": 1}),
    ]
    parts = collect(read(START, start, *deltas, STOP, END, LAST)).choices[0].parts
    grown = {"type": "future", "a": "12", "b": [1, 2], "c": {"d": 1}, "text": "t", "input": {"x": 1}}
    assert parts == (Unknown("anthropic_messages", {**grown, "citations": [{"y": 1}]}),)


def test_a_server_tools_input_that_was_cut_off_is_kept_as_it_came() -> None:
    block = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    start = {**TEXT, "content_block": block}
    parts = collect(read(START, start, delta("input_json_delta", partial_json='{"q'), STOP, END, LAST)).choices[0].parts
    assert isinstance(parts[0], ServerTool)
    assert parts[0].data == {**block, "partial_json": '{"q'}


def test_half_a_surrogate_pair_in_a_delta_becomes_the_replacement_character() -> None:
    broken = json.dumps(WORD).encode().replace(b"hi", rb"h\ud83di")
    assert collect(read(START, TEXT, broken, STOP, END, LAST)).text == "h\ufffdi"


def test_new_event_types_are_passed_over() -> None:
    assert read({"type": "future"}, START, {"type": "future"}, END, LAST)[-1] == Finish("stop", "end_turn")


def test_a_later_usage_keeps_what_it_leaves_out() -> None:
    first = {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1}
    start = {"type": "message_start", "message": {"id": "m", "model": "x", "usage": first}}
    updates = [event.usage for event in read(start, END, LAST) if isinstance(event, UsageUpdate)]
    assert updates[0] == Usage(input_tokens=15, input_cache_read_tokens=5, output_tokens=1)
    assert updates[-1] == Usage(input_tokens=15, input_cache_read_tokens=5, output_tokens=1)


HEAD = ResponseStart("m", "x")


def test_usage_known_at_once_stands_in_the_head_and_both_counts_always_do() -> None:
    wire, _ = write(HEAD, UsageUpdate(Usage(input_tokens=7)), Finish("stop"))
    assert wire[0]["message"]["usage"] == {"input_tokens": 7, "output_tokens": 0}
    wire, losses = write(HEAD, Finish("stop"))
    assert wire[0]["message"]["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert losses == ["usage.input_tokens", "usage.output_tokens"]


def test_usage_that_comes_last_stands_in_message_delta_whole() -> None:
    """Other formats report input counts only at the end."""
    usage = Usage(input_tokens=17, input_cache_read_tokens=10, output_tokens=3)
    wire, _ = write(HEAD, PartStart(0, Text("")), PartDelta(0, "a"), PartEnd(0), UsageUpdate(usage), Finish("stop"))
    assert wire[-2]["usage"] == {"input_tokens": 7, "cache_read_input_tokens": 10, "output_tokens": 3}


def test_parts_that_interleave_are_written_one_after_another() -> None:
    """Two parallel calls, a text within them; the wire's indexes have no gap."""
    events: list[Event] = [
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
    ]
    wire, losses = write(*events)
    order = [(event["type"], event["index"]) for event in wire if "index" in event]
    assert [index for _, index in order] == sorted(index for _, index in order)
    assert losses == ["usage.input_tokens", "usage.output_tokens"]
    again = collect(read(*wire))
    assert again.choices[0].parts == (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", '{"y":2}'), Text("so what"))


def test_the_first_part_is_written_at_once() -> None:
    """Nothing of the current block waits for anything."""
    encoder = codec.stream_encoder()
    assert encoder.encode(HEAD) == b""
    assert b"content_block_start" in encoder.encode(PartStart(0, Text("")))
    assert b"hello" in encoder.encode(PartDelta(0, "hello"))


def test_half_a_surrogate_pair_is_written_as_utf8_and_told() -> None:
    wire, losses = write(HEAD, PartStart(0, Text("")), PartDelta(0, "a\ud83d"), PartEnd(0), Finish("stop"))
    assert wire[2]["delta"]["text"] == "a\ufffd"
    assert "choices[0].parts" in losses


def test_a_signature_rides_before_the_end_of_its_block() -> None:
    signed = {"anthropic": {"signature": "s"}}
    wire, _ = write(HEAD, PartStart(0, Reasoning("")), PartDelta(0, "hm"), PartEnd(0, opaque=signed), Finish("stop"))
    assert wire[1]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    assert wire[3]["delta"] == {"type": "signature_delta", "signature": "s"}
    assert collect(read(*wire)).choices[0].parts == (Reasoning("hm", signed),)


def test_a_custom_calls_text_streams_as_one_json_string() -> None:
    call = ToolCall("a", "f", 'say "', "custom")
    wire, losses = write(HEAD, PartStart(0, call), PartDelta(0, 'hi"\n'), PartEnd(0), Finish("tool_calls"))
    parts = collect(read(*wire)).choices[0].parts
    assert isinstance(parts[0], ToolCall)
    assert json.loads(parts[0].arguments) == {"input": 'say "hi"\n'}
    assert "choices[0].parts[0].kind" in losses


def test_arguments_that_turn_out_to_be_no_object_are_told() -> None:
    events = (HEAD, PartStart(0, ToolCall("a", "f", "[")), PartDelta(0, "1"), PartEnd(0), Finish("tool_calls"))
    assert "choices[0].parts[0].arguments" in write(*events)[1]


def test_what_a_stream_here_cannot_hold_is_told_and_the_rest_goes_on() -> None:
    wire, losses = write(
        ResponseStart("m", "x", created=5, provider_fields={"openai": {}}),
        PartStart(0, Media("image", InlineData(b"", "image/png"))),
        PartStart(1, Refusal("no")),
        PartEnd(0),
        PartStart(2, Text("")),
        PartDelta(1, " way"),
        LogprobsDelta({"content": []}),
        PartStart(0, Text("second answer"), choice=1),
        PartDelta(0, "more", choice=1),
        PartEnd(0, choice=1),
        PartEnd(1, opaque={"openai": {"id": 1}}),
        CitationDelta(2, Citation("openai_chat", {})),
        PartEnd(2),
        Finish("stop"),
        Finish("stop", choice=1),
    )
    assert "".join(event["delta"].get("text", "") for event in wire if "delta" in event) == "no way"
    assert wire[-2]["delta"]["stop_reason"] == "refusal"
    assert set(losses) >= {
        "choices",
        "choices[0].logprobs",
        "choices[0].parts[0]",
        "choices[0].parts[1]",
        "choices[0].parts[1].opaque[openai]",
        "choices[0].parts[2].citations",
        "created",
        "provider_fields[openai]",
    }


def test_a_failure_before_anything_is_the_error_event_alone() -> None:
    wire, _ = write(Failed(ProviderOverloaded("Overloaded.", hint="Wait.")))
    assert wire == [{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded. Wait."}}]


def test_a_failure_after_the_start_ends_the_stream_without_message_stop() -> None:
    wire, _ = write(
        HEAD, PartStart(0, Text("")), PartDelta(0, "a"), Failed(ProviderOverloaded("Overloaded.", hint="Wait."))
    )
    assert [event["type"] for event in wire][-2:] == ["content_block_delta", "error"]
