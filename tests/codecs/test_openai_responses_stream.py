"""Streams: what servers make of the format, in-band errors, and what the encoder writes for other formats' events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response as SdkResponse
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from tests.example_errors import every_class, example

from waypost.chat import (
    Choice,
    Citation,
    CitationDelta,
    Event,
    Failed,
    Finish,
    Grammar,
    LogprobsDelta,
    Media,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Response,
    ResponseStart,
    ServerTool,
    Text,
    ToolCall,
    Unknown,
    Url,
    Usage,
    UsageUpdate,
    collect,
)
from waypost.codecs.openai_responses import OpenAIResponsesCodec, codec
from waypost.codecs.openai_responses.errors import KINDS
from waypost.codecs.openai_responses.wire import INCOMPLETE_REASONS
from waypost.codecs.sse import SseDecoder, SseEvent
from waypost.errors import (
    ContentPolicyViolation,
    ContextLengthExceeded,
    IncompleteStream,
    InvalidRequest,
    MalformedResponse,
    ProviderBadRequest,
    ProviderError,
    ProviderOverloaded,
    ProviderQuotaExceeded,
    ProviderRateLimited,
    ProviderServerError,
    ServerBusy,
    WaypostError,
)

SDK_EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
CREATED = {"type": "response.created", "response": {"id": "resp_1", "model": "m", "created_at": 5.0, "output": []}}


def decode(*events: Any, finish: bool = True) -> list[Event]:
    """The canonical events of wire events, each checked against the grammar."""
    decoder, grammar = codec.stream_decoder(), Grammar()
    found: list[Event] = []
    for event in events:
        wire = event if isinstance(event, SseEvent) else SseEvent(json.dumps(event).encode())
        found += decoder.feed(wire)
    found += decoder.finish() if finish else ()
    for canonical in found:
        grammar.check(canonical)
    return found


def added(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def delta(kind: str, index: int, text: str, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": index, "delta": text, **more}


def ended(status: str = "completed", **response: Any) -> dict[str, Any]:
    return {"type": f"response.{status}", "response": {"id": "resp_1", "status": status, **response}}


def test_sequence_numbers_and_item_ids_are_not_trusted() -> None:
    """Some proxies give an item another id in every event: its place in the output tells what belongs together."""
    events = decode(
        {**CREATED, "sequence_number": 9},
        {**added(0, type="message", id="a"), "sequence_number": 9},
        {**delta("output_text", 0, "Hel", item_id="b"), "sequence_number": 3},
        {**delta("output_text", 0, "lo", item_id="c"), "sequence_number": 1},
        done(0, type="message", id="d", content=[{"type": "output_text", "text": "Hello"}]),
        ended(output=[{"type": "message", "id": "e", "content": [{"type": "output_text", "text": "Hello"}]}]),
    )
    assert collect(events).text == "Hello"


def test_what_only_the_end_of_an_item_brings_is_added() -> None:
    """The rest of the text, of the arguments and of the annotations, and the reasoning's encrypted content."""
    note = {"type": "url_citation", "url": "u"}
    events = decode(
        CREATED,
        added(0, type="reasoning", id="rs_1", summary=[]),
        delta("reasoning_summary_text", 0, "Thin", summary_index=0),
        done(0, type="reasoning", id="rs_1", summary=[{"text": "Thinking"}], encrypted_content="e"),
        added(1, type="message", id="msg_1"),
        delta("output_text", 1, "He", content_index=0),
        {"type": "response.output_text.annotation.added", "output_index": 1, "content_index": 0, "annotation": note},
        done(
            1,
            type="message",
            id="msg_1",
            content=[{"type": "output_text", "text": "Hello", "annotations": [note, note]}],
        ),
        added(2, type="function_call", id="fc_1", call_id="c", name="f", arguments="{"),
        done(2, type="function_call", id="fc_1", call_id="c", name="f", arguments='{"a":1}', status="completed"),
        ended(),
    )
    parts = collect(events).choices[0].parts
    own = {"openai_responses": {"id": "rs_1", "item": {"encrypted_content": "e"}}}
    assert parts[0] == Reasoning("Thinking", own)
    assert isinstance(parts[1], Text)
    assert (parts[1].text, len(parts[1].citations)) == ("Hello", 2)
    assert parts[2] == ToolCall("c", "f", '{"a":1}', opaque={"openai_responses": {"id": "fc_1", "status": "completed"}})


def test_calls_that_interleave_stay_apart() -> None:
    events = decode(
        CREATED,
        added(0, type="function_call", call_id="a", name="f"),
        added(1, type="custom_tool_call", call_id="b", name="g"),
        delta("custom_tool_call_input", 1, "x"),
        delta("function_call_arguments", 0, "{"),
        delta("custom_tool_call_input", 1, "y"),
        delta("function_call_arguments", 0, "}"),
        ended("incomplete", incomplete_details={"reason": "max_output_tokens"}),
    )
    choice = collect(events).choices[0]
    assert choice.parts == (ToolCall("a", "f", "{}"), ToolCall("b", "g", "xy", "custom"))
    assert (choice.reason, choice.raw_reason) == ("length", "max_output_tokens")


def test_events_of_unknown_types_and_done_markers_are_no_harm() -> None:
    events = decode(
        SseEvent(b"[DONE]"),
        {"type": "response.x_future.delta", "delta": {"a": 1}},
        {"type": "keepalive"},
        CREATED,
        {"type": "response.in_progress", "response": {"id": "resp_2"}},
        delta("shell_call_output_content", 0, "ignored"),
        ended(),
        SseEvent(b"[DONE]"),
        SseEvent(b"nonsense"),
    )
    assert events == [ResponseStart("resp_1", "m", 5), UsageUpdate(Usage()), Finish("stop", "completed")]


def test_the_type_may_be_named_beside_the_data_alone() -> None:
    events = decode(
        SseEvent(b'{"response":{"id":"r"}}', "response.created"), SseEvent(b'{"response":{}}', "response.completed")
    )
    assert isinstance(events[-1], Finish)


FAILURES: list[tuple[dict[str, Any], type[ProviderError]]] = [
    ({"code": "server_error", "message": "m"}, ProviderServerError),
    ({"code": "rate_limit_exceeded", "message": "m"}, ProviderRateLimited),
    ({"code": "insufficient_quota", "message": "m"}, ProviderQuotaExceeded),
    ({"code": "context_length_exceeded", "message": "m"}, ContextLengthExceeded),
    ({"code": "invalid_prompt", "message": "m"}, ContentPolicyViolation),
    ({"code": "invalid_prompt", "type": "context_length_exceeded", "message": "m"}, ContextLengthExceeded),
    ({"code": "image_too_large", "message": "m"}, ProviderBadRequest),
    ({"code": "slow_down", "message": "m"}, ProviderOverloaded),
    ({"code": "x_future", "message": "m"}, ProviderServerError),
    ({"code": [5], "message": {"a": 1}}, ProviderServerError),
]


@pytest.mark.parametrize(("error", "error_class"), FAILURES)
def test_in_band_errors_are_typed(error: dict[str, Any], error_class: type[ProviderError]) -> None:
    """As a failed response, as an `error` event flat or nested, bare, and as a whole body."""
    flat = {"type": "error", **{name: value for name, value in error.items() if name != "type"}}
    forms = [ended("failed", error=error), {"type": "error", "error": error}, {"error": error}]
    for form in [*forms, flat] if "type" not in error else forms:
        last = decode(CREATED, form)[-1]
        assert isinstance(last, Failed)
        assert type(last.error) is error_class
        assert last.error.message
    for body in ({"status": "failed", "error": error, "output": []}, {"error": error}):
        with pytest.raises(error_class):
            codec.decode_response(json.dumps(body).encode())


@pytest.mark.parametrize("error", [None, "no reason", {}])
def test_a_failure_that_says_nothing_is_a_failure(error: Any) -> None:
    last = decode(CREATED, ended("failed", error=error), ended())[-1]
    assert isinstance(last, Failed)
    assert type(last.error) is ProviderServerError


def test_every_code_of_a_failed_response_is_known() -> None:
    """Each code that the SDK's model lists is in a table, and none stays the class for the unknown by accident."""
    codes = set(SdkResponse.model_fields["error"].annotation.__args__[0].model_fields["code"].annotation.__args__)  # type: ignore[union-attr]
    assert codes - set(KINDS) == {"server_error", "rate_limit_exceeded", "vector_store_timeout"}


MESSAGE = added(0, type="message", id="m")


@pytest.mark.parametrize(
    "events",
    [
        [SseEvent(b"{")],
        [SseEvent(b"5")],
        [{"type": "response.created"}],
        [{"type": "response.created", "response": {"id": 5}}],
        [MESSAGE],
        [CREATED, delta("output_text", 0, "a")],
        [CREATED, MESSAGE, MESSAGE],
        [CREATED, MESSAGE, delta("function_call_arguments", 0, "a")],
        [CREATED, MESSAGE, delta("output_text", 0, "a"), delta("refusal", 0, "a")],
        [CREATED, added(0, type="web_search_call"), delta("output_text", 0, "a")],
        [CREATED, added(0, type="function_call", call_id="c")],
        [CREATED, MESSAGE, done(0, type="message", content=[{"type": "output_text"}])],
        [
            CREATED,
            MESSAGE,
            delta("output_text", 0, "a"),
            done(0, type="message", content=[{"type": "refusal", "refusal": "a"}]),
        ],
        [CREATED, ended(output=[5])],
        [CREATED, ended(usage={"input_tokens": "many"})],
    ],
)
def test_events_that_do_not_fit_break_the_stream(events: list[Any]) -> None:
    found = decode(*events, ended())
    assert isinstance(found[-1], Failed)
    assert isinstance(found[-1].error, MalformedResponse)


def test_the_end_of_the_bytes_before_the_terminal_response_is_a_failure() -> None:
    last = decode(CREATED, MESSAGE, delta("output_text", 0, "a"), done(0, type="message", content="a"))[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, IncompleteStream)


@pytest.mark.parametrize("body", [b"", b"[1]", b"{}", b'{"output":5}', b'{"output":[5]}', b'{"output":[],"usage":5}'])
def test_a_body_that_is_no_response_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedResponse):
        codec.decode_response(body)


@pytest.mark.parametrize(
    ("response", "reason", "raw"),
    [
        ({"status": "completed"}, "stop", "completed"),
        ({}, "stop", None),
        ({"status": "in_progress"}, "other", "in_progress"),
        ({"status": "cancelled"}, "other", "cancelled"),
        ({"status": "incomplete"}, "other", "incomplete"),
        *(
            ({"status": "incomplete", "incomplete_details": {"reason": word}}, reason, word)
            for word, reason in INCOMPLETE_REASONS.items()
        ),
        ({"status": "incomplete", "incomplete_details": {"reason": "x_future"}}, "other", "x_future"),
    ],
)
def test_how_an_answer_ended_is_told(response: dict[str, Any], reason: str, raw: str | None) -> None:
    choice = codec.decode_response(json.dumps({"output": [], **response}).encode()).choices[0]
    assert (choice.reason, choice.raw_reason) == (reason, raw)


def encode(*events: Event) -> tuple[list[dict[str, Any]], list[str]]:
    """The JSON of each event, which the SDK reads too, and what was lost. The clock stands at 1000.7."""
    encoder = OpenAIResponsesCodec(clock=lambda: 1000.7).stream_encoder()
    wire = SseDecoder().feed(b"".join(encoder.encode(event) for event in events) + encoder.finish())
    for event in wire:
        SDK_EVENTS.validate_json(event.data)
    read = [json.loads(event.data) for event in wire]
    assert [event["sequence_number"] for event in read] == list(range(len(read)))
    assert [event["type"] for event in read] == [event.event for event in wire]
    return read, [loss.what for loss in encoder.losses]


START = ResponseStart("r1", "m")
TEXT = (PartStart(0, Text("")), PartDelta(0, "a"), PartEnd(0))
COUNTS = UsageUpdate(Usage(input_tokens=3, output_tokens=2))


def test_a_text_of_another_format_is_a_lawful_sequence() -> None:
    """Ids are made of the answer's own and the item's place; the clock dates an answer that has no date."""
    events, lost = encode(START, *TEXT, COUNTS, Finish("stop", "end_turn"))
    piece = {"type": "output_text", "text": "a", "annotations": []}
    item = {"type": "message", "id": "msg_waypost_r1_0", "status": "completed", "role": "assistant", "content": [piece]}
    place = {"item_id": "msg_waypost_r1_0", "output_index": 0, "content_index": 0}
    head = {"id": "r1", "object": "response", "created_at": 1000, "model": "m", "error": None}
    assert [{**event, "sequence_number": 0} for event in events[2:-1]] == [
        {"type": kind, "sequence_number": 0, **members}
        for kind, members in [
            (
                "response.output_item.added",
                {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}},
            ),
            ("response.content_part.added", {**place, "part": {**piece, "text": ""}}),
            ("response.output_text.delta", {**place, "logprobs": [], "delta": "a"}),
            ("response.output_text.done", {**place, "text": "a", "logprobs": []}),
            ("response.content_part.done", {**place, "part": piece}),
            ("response.output_item.done", {"output_index": 0, "item": item}),
        ]
    ]
    last = events[-1]["response"]
    assert [events[0]["type"], events[1]["type"], events[-1]["type"]] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]
    assert (events[0]["response"]["status"], last["status"], last["output"]) == ("in_progress", "completed", [item])
    assert {name: last[name] for name in head} == head
    assert last["usage"]["total_tokens"] == 5
    assert set(lost) == {
        "usage.input_cache_read_tokens",
        "usage.input_cache_write_5m_tokens",
        "usage.output_reasoning_tokens",
    }


def test_neighbouring_texts_are_one_message_and_a_call_is_an_item_of_its_own() -> None:
    events, _ = encode(
        START,
        *TEXT,
        PartStart(1, Text("b")),
        PartEnd(1),
        PartStart(2, ToolCall("c", "f", "")),
        PartEnd(2),
        PartStart(3, Text("c")),
        PartEnd(3),
        Finish("tool_calls"),
    )
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "message"]
    assert [piece["text"] for piece in output[0]["content"]] == ["a", "b"]
    assert output[1]["arguments"] == "{}"
    dones = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert dones == output


def test_parts_that_interleave_have_items_that_do() -> None:
    """Chat Completions keeps calls open to the end; a message goes on while a call has begun."""
    events, _ = encode(
        START,
        PartStart(0, Text("")),
        PartStart(1, ToolCall("c", "f", "")),
        PartDelta(1, "{"),
        PartDelta(0, "a"),
        PartDelta(1, "}"),
        PartEnd(0),
        PartEnd(1),
        Finish("tool_calls"),
    )
    done_at = [event["output_index"] for event in events if event["type"] == "response.output_item.done"]
    assert done_at == [0, 1]
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["message", "function_call"]


def test_a_cut_answer_is_incomplete_and_so_is_its_last_message() -> None:
    events, _ = encode(START, *TEXT, Finish("length", "max_tokens"))
    last = events[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["output"][0]["status"] == "incomplete"
    assert encode(START, Finish("content_filter", "refusal"))[0][-1]["response"]["incomplete_details"] == {
        "reason": "content_filter"
    }


def test_log_probabilities_go_to_their_text() -> None:
    token = {"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "a", "logprob": -0.5}]}
    events, lost = encode(START, TEXT[0], TEXT[1], *[LogprobsDelta({"content": [token]})] * 2, TEXT[2], Finish("stop"))
    held = events[-1]["response"]["output"][0]["content"][0]["logprobs"]
    assert [entry["token"] for entry in held] == ["a", "a"]
    assert held[0]["bytes"] == []
    assert lost == []
    whole = codec.encode_response(
        Response("r1", "m", (Choice(0, (Text("a"),), "stop", logprobs={"content": [token, token]}),), created=1000)
    )
    assert json.loads(whole.body)["output"] == events[-1]["response"]["output"]
    assert encode(START, LogprobsDelta({"content": [token]}), Finish("stop"))[1] == ["logprobs"]


@pytest.mark.parametrize("error_class", list(every_class()))
def test_every_failure_is_written_as_the_format_has_it_and_nothing_follows(error_class: type[WaypostError]) -> None:
    """A stream that began ends in a failed response, with what was whole; one that did not in an error event."""
    error: Any = example(error_class)
    events, _ = encode(START, *TEXT, PartStart(1, ToolCall("c", "f", "")), Failed(error), Finish("stop"))
    assert events[-1]["type"] == "response.failed"
    failed = events[-1]["response"]
    assert failed["status"] == "failed"
    assert failed["error"]["message"] == str(error)
    assert [item["type"] for item in failed["output"]] == ["message"]
    (only,), _ = encode(Failed(error))
    assert only["type"] == "error"
    assert only["message"] == str(error)


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (ProviderOverloaded("m"), "server_error", "provider_overloaded"),
        (ProviderRateLimited("m"), "rate_limit_exceeded", "rate_limit_exceeded"),
        (ContextLengthExceeded("m"), "invalid_prompt", "context_length_exceeded"),
    ],
)
def test_a_failure_keeps_its_code(error: ProviderError, code: str, kind: str) -> None:
    told = encode(START, Failed(error))[0][-1]["response"]["error"]
    assert told == {"code": code, "message": str(error), "type": kind}
    again = decode(CREATED, ended("failed", error=told))[-1]
    assert isinstance(again, Failed)
    assert again.error.code == (error.code if code != "server_error" else "provider_server_error")


def test_an_answer_that_did_not_finish_gets_no_terminal_event() -> None:
    events, _ = encode(START, *TEXT)
    assert events[-1]["type"] == "response.content_part.done"


@pytest.mark.parametrize(
    ("event", "what"),
    [
        (PartStart(0, ServerTool("anthropic_messages", {})), "ServerTool.anthropic_messages"),
        (PartStart(0, Unknown("anthropic_messages", {})), "Unknown.anthropic_messages"),
        (PartStart(0, Media("image", Url("u"))), "Media in an assistant's message"),
        (PartStart(0, Text("", opaque={"anthropic": {"x": 1}})), "opaque.anthropic.x"),
        (
            ResponseStart("r", "m", None, {"openai": {"system_fingerprint": "f"}}),
            "provider_fields.openai.system_fingerprint",
        ),
        (Finish("stop", choice=1), "choices"),
        (Finish("stop", stop_sequence="END"), "stop_sequence"),
        (Finish("pause"), "reason.pause"),
        (Finish("other"), "reason.other"),
    ],
)
def test_what_a_stream_cannot_carry_is_listed(event: Event, what: str) -> None:
    first = [] if isinstance(event, ResponseStart) else [START]
    assert what in encode(*first, event)[1]


def test_what_comes_late_and_is_foreign_is_listed_too() -> None:
    part = PartStart(0, Reasoning(""))
    assert encode(START, part, PartEnd(0, opaque={"anthropic": {"signature": "s"}}))[1] == [
        "opaque.anthropic.signature"
    ]
    cited = CitationDelta(0, Citation("anthropic_messages", {}))
    assert encode(START, PartStart(0, Text("")), cited)[1] == ["Text.citations.anthropic_messages"]


@pytest.mark.parametrize(
    ("usage", "lost"),
    [
        (Usage(), set()),
        (Usage(input_tokens=3), {"usage"}),
        (Usage(server_tool_calls={"web_search": 2}), {"usage.server_tool_calls.web_search"}),
        (Usage(input_audio_tokens=3, service_tier="batch"), {"usage.input_audio_tokens", "usage.service_tier"}),
        (Usage(1, 0, 0, 5, None, 1, 0), {"usage.input_cache_write_1h_tokens"}),
    ],
)
def test_usage_that_is_not_known_is_not_made_up(usage: Usage, lost: set[str]) -> None:
    events, losses = encode(START, UsageUpdate(usage), Finish("stop"))
    assert set(losses) == lost
    assert (events[-1]["response"]["usage"] is None) == (usage.output_tokens is None)


def test_errors_with_a_status_are_those_of_openai() -> None:
    reply = codec.encode_error(ServerBusy("m", retry_after_s=3))
    assert (reply.status, reply.headers["retry-after"]) == (503, "3")
    error = codec.decode_error(429, {"retry-after": "7"}, b'{"error":{"message":"m","code":"rate_limit_exceeded"}}')
    assert (type(error), error.retry_after_s) == (ProviderRateLimited, 7.0)
    assert codec.encode_error(InvalidRequest("m", param="input")).status == 400
