"""Streams as real servers send them: what each form means, and that a broken one ends as a typed error."""

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
    LogprobsDelta,
    Media,
    Part,
    PartDelta,
    PartEnd,
    PartStart,
    Reasoning,
    Refusal,
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
from waypost.codecs.openai_chat import OpenAIChatCodec, codec
from waypost.codecs.openai_chat.wire import FINISH_REASONS, WIRE_REASONS
from waypost.codecs.sse import SseDecoder, SseEvent
from waypost.errors import (
    ContextLengthExceeded,
    IncompleteStream,
    MalformedResponse,
    ProviderError,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderServerError,
)

DONE = b"[DONE]"
STOP: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def delta(index: int = 0, **members: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": members}]}


def calls(*pieces: dict[str, Any]) -> dict[str, Any]:
    return delta(tool_calls=list(pieces))


def run(*chunks: dict[str, Any] | bytes, choices: int = 1, start: bool = True) -> list[Event]:
    """The events of the chunks and the end of the bytes, checked against the grammar."""
    decoder, grammar = codec.stream_decoder(choices=choices), Grammar()
    events: list[Event] = []
    for chunk in (delta(role="assistant"), *chunks) if start else chunks:
        data = (
            chunk
            if isinstance(chunk, bytes)
            else json.dumps({"id": "r1", "model": "m", "created": 5, **chunk}).encode()
        )
        events += decoder.feed(SseEvent(data))
    events += decoder.finish()
    for event in events:
        grammar.check(event)
    return events


def answer(*chunks: dict[str, Any] | bytes, choices: int = 1) -> Response:
    return collect(run(*chunks, choices=choices))


def parts(*chunks: dict[str, Any] | bytes) -> tuple[Part, ...]:
    return answer(*chunks, STOP, DONE).choices[0].parts


def failure(*chunks: dict[str, Any] | bytes, choices: int = 1) -> ProviderError:
    last = run(*chunks, choices=choices)[-1]
    assert isinstance(last, Failed)
    return last.error


def test_the_common_stream_gives_just_these_events() -> None:
    assert run(delta(content=""), delta(content="a"), delta(content=None), delta(content="b"), STOP, DONE) == [
        ResponseStart("r1", "m", 5),
        PartStart(0, Text("")),
        PartDelta(0, "a"),
        PartDelta(0, "b"),
        PartEnd(0),
        Finish("stop", "stop"),
    ]


def test_finish_waits_for_the_usage_that_follows_it() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}
    events = run(delta(content="a"), STOP, usage, DONE)
    assert events[-3:] == [UsageUpdate(Usage(input_tokens=3, output_tokens=2)), PartEnd(0), Finish("stop", "stop")]


@pytest.mark.parametrize("where", ["finish chunk", "every chunk", "x_groq", "in the choice"])
def test_usage_is_found_wherever_a_server_puts_it(where: str) -> None:
    counts = {"prompt_tokens": 3, "completion_tokens": 2}
    early = {"usage": {"prompt_tokens": 3, "completion_tokens": 1}} if where == "every chunk" else {}
    last = {"x_groq": {"usage": counts}} if where == "x_groq" else {"usage": counts}
    end = {**STOP, **last}
    if where == "in the choice":
        end = {"choices": [{**STOP["choices"][0], "usage": counts}]}
    usage = answer({**delta(content="a"), **early}, end, DONE).usage
    assert (usage.input_tokens, usage.output_tokens) == (3, 2)


@pytest.mark.parametrize(
    ("wire", "usage"),
    [
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}, Usage(input_tokens=9, input_cache_read_tokens=4)),
        ({"prompt_tokens": 9, "cached_tokens": 4}, Usage(input_tokens=9, input_cache_read_tokens=4)),
        (
            {
                "prompt_tokens": 9,
                "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 2, "audio_tokens": 3},
            },
            Usage(input_tokens=9, input_cache_read_tokens=1, input_cache_write_5m_tokens=2, input_audio_tokens=3),
        ),
        (
            # xAI: 9 + 5 + 20 = 34, so the 20 of reasoning are not in the 5.
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "total_tokens": 34,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(input_tokens=9, output_tokens=25, output_reasoning_tokens=20),
        ),
        ({"prompt_tokens": None, "prompt_tokens_details": None}, Usage()),
    ],
)
def test_counts_mean(wire: dict[str, Any], usage: Usage) -> None:
    assert answer({**STOP, "usage": wire}, DONE).usage == usage


def test_parts_of_another_kind_close_the_one_before() -> None:
    found = parts(
        delta(reasoning_content="hm"),
        delta(reasoning_content="m", content=""),
        delta(content="a"),
        delta(reasoning="again"),
        delta(content="b"),
        delta(refusal="no"),
    )
    assert found == (Reasoning("hmm"), Text("a"), Reasoning("again"), Text("b"), Refusal("no"))


def function(name: str | None = None, arguments: str | None = None) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


A, B = ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", "{}")


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(
            [
                calls({"index": 0, "id": "a", "type": "function", "function": function("f", "")}),
                calls({"index": 1, "id": "b", "type": "function", "function": function("g", "")}),
                calls({"index": 0, "function": function(None, '{"x"')}),
                calls({"index": 1, "function": function(None, "{}")}),
                calls({"index": 0, "function": function(None, ":1}")}),
            ],
            id="interleaved",
        ),
        pytest.param(
            [
                calls(
                    {"index": 0, "id": "a", "function": function("f", '{"x":1}')},
                    {"index": 1, "id": "b", "function": function("g", "{}")},
                )
            ],
            id="whole in one chunk",
        ),
        pytest.param(
            [
                calls({"id": "a", "function": function("f", '{"x"')}),
                calls({"function": function(None, ":1}")}),
                calls({"id": "b", "function": function("g", "{}")}),
            ],
            id="no index",
        ),
        pytest.param(
            [
                calls({"index": 0, "id": "a", "function": function("f", '{"x"')}),
                calls({"index": 0, "id": "a", "function": function("f", ":1}")}),
                calls({"index": 0, "id": "b", "function": function("g", "{}")}),
            ],
            id="one index for all, id and name repeated",
        ),
        pytest.param(
            [
                calls({"index": 0, "id": "a"}),
                calls({"index": 0, "function": function(None, '{"x"')}),
                calls({"index": 0, "function": function("f", ":1}")}),
                calls({"index": 1, "id": "b", "function": {"name": "g", "arguments": {}}}),
            ],
            id="name comes late, arguments as an object",
        ),
    ],
)
def test_tool_calls_are_put_together(chunks: list[dict[str, Any]]) -> None:
    assert parts(*chunks) == (A, B)


def test_a_call_without_id_gets_the_same_one_as_in_a_whole_answer() -> None:
    piece = {"function": function("f", "{}")}
    streamed = parts(calls(piece), calls(piece))
    assert streamed == (ToolCall("call_r1_0_0", "f", "{}"), ToolCall("call_r1_0_1", "f", "{}"))
    choice = {"message": {"tool_calls": [piece, piece]}, "finish_reason": "stop"}
    whole = codec.decode_response(json.dumps({"id": "r1", "choices": [choice]}).encode())
    assert whole.choices[0].parts == streamed


def test_text_after_a_call_is_a_new_part_and_the_call_goes_on() -> None:
    found = parts(
        delta(content="a"),
        calls({"index": 0, "id": "a", "function": function("f", '{"x"')}),
        delta(content="b"),
        calls({"index": 0, "function": function(None, ":1}")}),
    )
    assert found == (Text("a"), A, Text("b"))


def test_what_the_model_signed_stays_with_its_call() -> None:
    first = {"index": 0, "id": "a", "function": function("f", '{"x":1}'), "extra_content": {"google": {"sig": "s"}}}
    assert parts(calls(first)) == (
        ToolCall("a", "f", '{"x":1}', opaque={"openai": {"extra_content": {"google": {"sig": "s"}}}}),
    )


def test_a_legacy_function_call_is_a_tool_call() -> None:
    found = parts(delta(function_call=function("f", "")), delta(function_call=function(None, '{"x":1}')))
    assert found == (ToolCall("call_r1_0_0", "f", '{"x":1}'),)


def test_mistrals_lists_of_text_and_thinking_are_read() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    found = parts(delta(content=[thinking]), delta(content=[{"type": "text", "text": "a"}]))
    assert found == (Reasoning("hm"), Text("a"))
    choice = {"message": {"content": [thinking, {"type": "text", "text": "a"}]}, "finish_reason": "stop"}
    assert codec.decode_response(json.dumps({"choices": [choice]}).encode()).choices[0].parts == found


def test_speech_is_joined_as_bytes() -> None:
    """Each piece is base64 of its own: the text "AA==" + "AQ==" is not base64, the bytes 0, 1 are "AAE="."""
    spoken = [{"id": "audio_1", "data": "AA=="}, {"data": "AQ==", "transcript": "hi"}, {"expires_at": 9}]
    (part,) = parts(*(delta(audio=piece) for piece in spoken))
    audio = {"id": "audio_1", "data": "AAE=", "expires_at": 9, "transcript": "hi"}
    assert part == Unknown("openai_chat", {"type": "audio", "audio": audio})
    choice = {"message": {"content": None, "audio": audio}, "finish_reason": "stop"}
    assert codec.decode_response(json.dumps({"choices": [choice]}).encode()).choices[0].parts == (part,)


def test_azures_first_chunk_has_no_id_and_its_fields_are_kept() -> None:
    azure = {"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    events = run(azure, delta(content="a"), STOP, DONE, start=False)
    assert events[0] == ResponseStart("r1", "m", 5, {"openai": {"prompt_filter_results": [{"prompt_index": 0}]}})


def test_fields_that_only_the_last_chunk_has_are_kept() -> None:
    timings = {"predicted_ms": 12.5}
    events = run(delta(content="a"), {**STOP, "timings": timings}, DONE)
    assert collect(events).provider_fields == {"openai": {"timings": timings}}
    encoder = codec.stream_encoder()
    assert b'"timings":{"predicted_ms":12.5}' in b"".join(encoder.encode(event) for event in events)


@pytest.mark.parametrize(("word", "reason"), [*FINISH_REASONS.items(), ("eos", "other"), ("model_length", "other")])
def test_every_finish_reason_is_mapped_and_its_word_kept(word: str, reason: str) -> None:
    choice = answer({"choices": [{"index": 0, "delta": {}, "finish_reason": word}]}, DONE).choices[0]
    assert (choice.reason, choice.raw_reason) == (reason, word)


@pytest.mark.parametrize(
    ("finish", "word"),
    [
        *((Finish(reason), word) for reason, word in WIRE_REASONS.items()),
        (Finish("tool_calls", "function_call"), "function_call"),
        (Finish("tool_calls", "tool_use"), "tool_calls"),
        (Finish("length", "stop"), "length"),
        (Finish("other", "eos"), "stop"),
        (Finish("pause", "pause_turn"), "stop"),
    ],
)
def test_every_finish_reason_is_written_in_openais_words(finish: Finish, word: str) -> None:
    encoder = codec.stream_encoder()
    encoder.encode(ResponseStart("r", "m"))
    assert f'"finish_reason":"{word}"'.encode() in encoder.encode(finish)


def test_done_is_not_needed_once_every_choice_has_finished() -> None:
    assert answer(delta(content="a"), STOP).text == "a"


def test_the_stop_sequence_is_told_where_the_server_tells_it() -> None:
    choice = {"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": "END"}
    assert answer({"choices": [choice]}, DONE).choices[0].stop_sequence == "END"
    assert answer({"choices": [{**choice, "stop_reason": 128001}]}, DONE).choices[0].stop_sequence is None


@pytest.mark.parametrize("end", [[], [DONE]])
def test_an_end_before_the_finish_reason_is_a_failure(end: list[bytes]) -> None:
    assert isinstance(failure(delta(content="a"), *end), IncompleteStream)


def test_every_choice_asked_for_must_finish() -> None:
    other: dict[str, Any] = {"choices": [{"index": 1, "delta": {"content": "b"}}]}
    assert isinstance(failure(STOP, DONE, choices=2), IncompleteStream)
    assert isinstance(failure(other, STOP, DONE), IncompleteStream)
    second = {"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]}
    assert [choice.reason for choice in answer(other, second, STOP, DONE, choices=2).choices] == ["stop", "length"]


@pytest.mark.parametrize(
    ("data", "error_class"),
    [
        (b'{"error":{"message":"m","type":"server_error","code":null}}', ProviderServerError),
        (b'{"error":{"message":"m","code":"context_length_exceeded"}}', ContextLengthExceeded),
        (b'{"error":{"message":"m","code":429}}', ProviderRateLimited),
        (b'{"error":{"message":"m","type":"overloaded_error"}}', ProviderOverloaded),
        (b'{"error":"out of memory"}', ProviderServerError),
        (b'{"object":"error","message":"m","type":"x","code":503}', ProviderOverloaded),
        (b'{"choices":[{"index":0,"delta":{},"error":{"code":502,"message":"m"}}]}', ProviderServerError),
        (b'{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"error"}]}', ProviderServerError),
        (b'{"error":{"message":"m"},"choices":5}', ProviderServerError),
        (b"{", MalformedResponse),
        (b"[]", MalformedResponse),
        (b"null", MalformedResponse),
        (b"[DONE]x", MalformedResponse),
        (b'{"choices":{}}', MalformedResponse),
        (b'{"choices":[{"delta":{"content":5}}]}', MalformedResponse),
        (b'{"choices":[{"delta":{"tool_calls":"x"}}]}', MalformedResponse),
        (b'{"usage":{"prompt_tokens":"many"}}', MalformedResponse),
        (b'{"choices":[],"x":' + b"[" * 100_000, MalformedResponse),
        (b'{"choices":[],"x":' + b"[" * 300 + b"]" * 300 + b"}", MalformedResponse),
        (b"\xff", MalformedResponse),
    ],
)
def test_errors_in_the_stream_are_typed_and_nothing_follows(data: bytes, error_class: type[ProviderError]) -> None:
    decoder = codec.stream_decoder()
    decoder.feed(SseEvent(json.dumps({"id": "r", **delta(content="a")}).encode()))
    events = decoder.feed(SseEvent(data))
    assert isinstance(events[-1], Failed)
    assert type(events[-1].error) is error_class
    assert decoder.feed(SseEvent(json.dumps(STOP).encode())) == ()
    assert decoder.feed(SseEvent(DONE)) == ()
    assert decoder.finish() == ()


def test_an_event_named_error_is_one() -> None:
    decoder = codec.stream_decoder()
    (failed,) = decoder.feed(SseEvent(b'{"message":"m","code":"rate_limit_exceeded"}', event="error"))
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, ProviderRateLimited)
    assert failed.error.message == "m"


def test_half_a_surrogate_pair_does_not_break_a_paid_stream() -> None:
    """Servers that cut text by UTF-16 units send halves; each becomes U+FFFD, the rest of the answer stays."""
    half = b'{"choices":[{"index":0,"delta":{"content":"a\\ud83d"}}]}'
    assert parts(half, delta(content="b")) == (Text("a\ufffdb"),)


def encode(*events: Event, include_usage: bool = True) -> tuple[list[Any], list[str]]:
    """The JSON of each event on the wire, and what was lost. The clock stands at 1000.7."""
    encoder = OpenAIChatCodec(clock=lambda: 1000.7).stream_encoder(include_usage=include_usage)
    wire = b"".join(encoder.encode(event) for event in events) + encoder.finish()
    read = [event.data if event.data == DONE else json.loads(event.data) for event in SseDecoder().feed(wire)]
    return read, [loss.what for loss in encoder.losses]


def test_chunks_are_dated_by_the_clock_if_the_answer_is_not() -> None:
    chunks, _ = encode(ResponseStart("r", "m"), PartStart(0, Text("")), PartDelta(0, "a"), PartEnd(0), Finish("stop"))
    assert [chunk["created"] for chunk in chunks[:-1]] == [1000] * 3
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert chunks[1] == {
        "id": "r",
        "object": "chat.completion.chunk",
        "created": 1000,
        "model": "m",
        "choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": None, "finish_reason": None}],
        "usage": None,
    }
    assert chunks[-1] == DONE


def test_a_failure_is_written_as_openai_writes_it_and_nothing_follows() -> None:
    error = ProviderOverloaded("Too busy.", hint="Wait.")
    chunks, _ = encode(ResponseStart("r", "m"), Failed(error), Finish("stop"))
    told = {"message": "Too busy. Wait.", "type": "server_error", "param": None, "code": "provider_overloaded"}
    assert chunks[-1] == {"error": told}
    assert len(chunks) == 2


def test_usage_that_is_not_known_is_not_made_up() -> None:
    chunks, lost = encode(ResponseStart("r", "m"), UsageUpdate(Usage(input_tokens=3)), Finish("stop"))
    assert all(chunk == DONE or chunk["usage"] is None for chunk in chunks)
    assert lost == ["usage"]


def test_a_call_without_arguments_is_an_empty_object() -> None:
    chunks, _ = encode(ResponseStart("r", "m"), PartStart(0, ToolCall("a", "f", "")), PartEnd(0), Finish("tool_calls"))
    pieces = [chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] for chunk in chunks[1:3]]
    assert pieces == ["", "{}"]


@pytest.mark.parametrize(
    ("event", "what"),
    [
        (PartStart(0, ServerTool("anthropic_messages", {})), "ServerTool"),
        (PartStart(0, Unknown("anthropic_messages", {})), "Unknown.anthropic_messages"),
        (PartStart(0, Media("image", Url("u"))), "Media"),
        (PartEnd(0, opaque={"anthropic": {"signature": "s"}}), "opaque.anthropic.signature"),
        (CitationDelta(0, Citation("anthropic_messages", {})), "Text.citations.anthropic_messages"),
        (ResponseStart("r", "m", None, {"anthropic": {"container": {}}}), "provider_fields.anthropic.container"),
        (UsageUpdate(Usage(server_tool_calls={"web_search": 2})), "usage.server_tool_calls.web_search"),
    ],
)
def test_what_a_stream_cannot_carry_is_listed(event: Event, what: str) -> None:
    first = [] if isinstance(event, ResponseStart) else [ResponseStart("r", "m")]
    assert what in encode(*first, event)[1]


def test_every_kind_of_event_is_encoded() -> None:
    """The choice that an event names is opened before it, and log-probabilities go to that choice."""
    chunks, _ = encode(
        ResponseStart("r", "m"), LogprobsDelta({"content": []}, 1), Finish("stop", choice=1), include_usage=False
    )
    assert [chunk["choices"][0]["index"] for chunk in chunks[:-1]] == [0, 1, 1, 1]
    assert chunks[2]["choices"][0]["logprobs"] == {"content": []}
    assert "usage" not in chunks[1]
