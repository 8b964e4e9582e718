"""Callers of the Responses format before providers of other formats, and the reverse, through the canonical values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from openai.types.responses import Response as SdkResponse
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter

from waypost.chat import Event, ToolCall, collect
from waypost.codecs.anthropic_messages import codec as anthropic
from waypost.codecs.codec import Codec
from waypost.codecs.openai_chat import codec as chat
from waypost.codecs.openai_responses import codec as responses
from waypost.codecs.sse import SseDecoder

FIXTURES = Path(__file__).parents[1] / "fixtures"
CHAT_REQUEST: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsNonStreaming)
RESPONSES_REQUEST: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsNonStreaming)

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "name": "get_weather", "description": "d", "parameters": PARAMETERS, "strict": False}


def call(call_id: str, arguments: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": call_id, "name": "get_weather", "arguments": arguments}


def result(call_id: str, output: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def said(role: str, text: str) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": text}


def thought(item_id: str, text: str) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": text}]
    return {"type": "reasoning", "id": item_id, "summary": summary, "encrypted_content": "gAAA"}


LOOP: dict[str, Any] = {
    "model": "some-model",
    "max_output_tokens": 500,
    "temperature": 0.25,
    "tools": [TOOL],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "instructions": "Be brief.",
    "input": [
        said("user", "Weather in Paris and Rome?"),
        thought("rs_1", "Two calls at once."),
        call("call_1", '{"city": "Paris"}'),
        call("call_2", '{"city":"Rome"}'),
        result("call_1", "18 degrees"),
        result("call_2", "25 degrees"),
        said("assistant", "18 and 25 degrees."),
        said("user", "And in Oslo?"),
        thought("rs_2", "One more call."),
        said("assistant", "I'll look."),
        call("call_3", '{"city": "Oslo"}'),
        result("call_3", "9 degrees"),
    ],
}
SILENT = [item for item in LOOP["input"] if item["type"] != "reasoning"]
REASONING_LOST = {"opaque.openai_responses.id", "opaque.openai_responses.item", "Reasoning"}


def translate(body: dict[str, Any], source: Codec, target: Codec) -> tuple[dict[str, Any], set[str]]:
    decoded = source.decode_request(json.dumps(body).encode())
    written = target.encode_request(decoded.request, stream=decoded.stream)
    return json.loads(written.body), {loss.what for loss in written.losses}


def test_a_tool_loop_of_three_turns_becomes_anthropics() -> None:
    """The calls of one turn are one message, as are their results; OpenAI's reasoning is left out, and listed."""
    wire, losses = translate(LOOP, responses, anthropic)
    assert {what.partition(".opaque")[0] for what in losses} == {"messages[2].parts[0]", "messages[7].parts[0]"}
    assert wire["system"] == "Be brief."
    assert (wire["max_tokens"], wire["temperature"]) == (500, 0.25)
    assert wire["tools"][0]["input_schema"] == PARAMETERS
    assert wire["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": False}
    use = {"type": "tool_use", "name": "get_weather"}
    assert wire["messages"] == [
        {"role": "user", "content": "Weather in Paris and Rome?"},
        {
            "role": "assistant",
            "content": [
                {**use, "id": "call_1", "input": {"city": "Paris"}},
                {**use, "id": "call_2", "input": {"city": "Rome"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1", "content": "18 degrees"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": "25 degrees"},
            ],
        },
        {"role": "assistant", "content": "18 and 25 degrees."},
        {"role": "user", "content": "And in Oslo?"},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "I'll look."}, {**use, "id": "call_3", "input": {"city": "Oslo"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_3", "content": "9 degrees"}]},
    ]


@pytest.mark.parametrize("other", [anthropic, chat])
def test_and_comes_back_as_it_was_but_for_its_reasoning(other: Codec) -> None:
    there, _ = translate(LOOP, responses, other)
    back, losses = translate(there, other, responses)
    assert losses == set()
    for item in back["input"]:
        if item["type"] == "function_call":
            item["arguments"] = json.dumps(json.loads(item["arguments"]))
    expected = [
        {**item, "arguments": json.dumps(json.loads(item["arguments"]))} if "arguments" in item else item
        for item in SILENT
    ]
    assert back == {**LOOP, "input": expected}
    RESPONSES_REQUEST.validate_python(back)


def test_a_tool_loop_of_three_turns_becomes_that_of_chat_completions() -> None:
    """Nothing that only the Responses API knows is sent there, where an unknown member is refused."""
    extras = {"include": ["reasoning.encrypted_content"], "truncation": "auto", "store": False, "prompt_cache_key": "k"}
    body = {**LOOP, **extras, "text": {"verbosity": "low"}, "reasoning": {"effort": "low", "summary": "auto"}}
    wire, losses = translate(body, responses, chat)
    only_here = {f"provider_options.openai_responses.{name}" for name in ("include", "truncation", "reasoning")}
    assert losses == REASONING_LOST | only_here
    CHAT_REQUEST.validate_python(wire)
    assert wire.keys() - {"messages", "tools"} == {
        *("model", "max_completion_tokens", "temperature", "tool_choice", "parallel_tool_calls"),
        *("store", "prompt_cache_key", "verbosity", "reasoning_effort"),
    }
    assert [message["role"] for message in wire["messages"]] == [
        *("system", "user", "assistant", "tool", "tool", "assistant", "user", "assistant", "tool")
    ]
    assert all(message.keys() <= {"role", "content", "tool_calls", "tool_call_id"} for message in wire["messages"])
    calls = [call for message in wire["messages"] for call in message.get("tool_calls", ())]
    assert [(call["id"], call.keys()) for call in calls] == [
        (call_id, {"id", "type", "function"}) for call_id in ("call_1", "call_2", "call_3")
    ]
    assert wire["messages"][-2]["content"] == "I'll look."


def test_ids_of_openai_stay_with_openai() -> None:
    """Items that came from OpenAI go to Chat Completions without their ids and statuses."""
    body = json.loads((FIXTURES / "openai_responses" / "tools.request.json").read_bytes())
    wire, losses = translate(body, responses, chat)
    assert "fc_1" not in json.dumps(wire)
    assert "status" not in json.dumps(wire["messages"])
    assert {"opaque.openai_responses.id", "opaque.openai_responses.status", "ServerTool.openai_responses"} <= losses
    assert wire["tools"][1]["custom"]["format"]["grammar"] == {"syntax": "lark", "definition": "start: /.+/"}


def restream(data: bytes, source: Codec, target: Codec) -> tuple[bytes, list[Event]]:
    decoder, encoder = source.stream_decoder(), target.stream_encoder()
    events: list[Event] = []
    for wire_event in SseDecoder().feed(data):
        events += decoder.feed(wire_event)
    events += decoder.finish()
    return b"".join(encoder.encode(event) for event in events) + encoder.finish(), events


def sdk_answer(stream: bytes) -> SdkResponse:
    """What the official client makes of a stream, event by event."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)

    transport = httpx2.Client(transport=httpx2.MockTransport(answer))
    with (
        openai.OpenAI(api_key="k", base_url="http://t/v1", max_retries=0, http_client=transport) as client,
        client.responses.stream(model="m", input="hi") as events,
    ):
        return events.get_final_response()


ANSWERS = [
    *((anthropic, "anthropic_messages", name) for name in ("text", "thinking", "tool_use", "parallel_tool_use")),
    *((anthropic, "anthropic_messages", name) for name in ("redacted_thinking", "usage_cached", "web_search")),
    *((chat, "openai_chat", name) for name in ("text", "reasoning", "tool_call", "parallel_tool_calls", "custom_tool")),
    *((chat, "openai_chat", name) for name in ("refusal", "logprobs", "usage_cached", "citations")),
    *((responses, "openai_responses", name) for name in ("text", "reasoning", "web_search", "parallel_tool_calls")),
]


@pytest.mark.parametrize(("source", "folder", "name"), ANSWERS)
def test_the_official_client_reads_every_providers_stream(source: Codec, folder: str, name: str) -> None:
    """Its own state machine accepts the events, and ends with the text, the calls and the counts of the answer."""
    data = (FIXTURES / folder / f"{name}.sse").read_bytes()
    stream, events = restream(data, source, responses)
    whole, answer = collect(events), sdk_answer(stream)
    assert answer.output_text == whole.text
    assert answer.status == "completed"
    called = {item.call_id for item in answer.output if item.type in ("function_call", "custom_tool_call")}
    assert called == {part.call_id for part in whole.choices[0].parts if isinstance(part, ToolCall)}
    if answer.usage is not None:
        assert answer.usage.input_tokens == whole.usage.input_tokens
        assert answer.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.parametrize("target", [anthropic, chat])
@pytest.mark.parametrize("name", ["text", "tool_call", "parallel_tool_calls", "reasoning", "refusal", "incomplete"])
def test_an_answer_reaches_callers_of_other_formats(target: Codec, name: str) -> None:
    """Whole and as a stream: text, calls, reason and counts."""
    data = (FIXTURES / "openai_responses" / f"{name}.json").read_bytes()
    response = responses.decode_response(data)
    again = target.decode_response(target.encode_response(response).body)
    stream, _ = restream((FIXTURES / "openai_responses" / f"{name}.sse").read_bytes(), responses, target)
    streamed_back = collect(restream(stream, target, responses)[1])
    for answer in (again, streamed_back):
        if name != "refusal":
            assert answer.text == response.text
            assert answer.choices[0].reason == response.choices[0].reason
        assert answer.usage.input_tokens == response.usage.input_tokens
        assert answer.usage.output_tokens == response.usage.output_tokens
        calls = [part for part in answer.choices[0].parts if isinstance(part, ToolCall)]
        assert len(calls) == len([part for part in response.choices[0].parts if isinstance(part, ToolCall)])


def test_what_was_made_up_here_is_not_sent_on() -> None:
    """An answer of Anthropic's, given to a caller and sent back by it, holds no id that a provider could look up."""
    data = (FIXTURES / "anthropic_messages" / "thinking.json").read_bytes()
    given = json.loads(responses.encode_response(anthropic.decode_response(data)).body)
    assert [item["type"] for item in given["output"]] == ["reasoning", "message"]
    body = {"model": "m", "input": [*given["output"], said("user", "go on")]}
    wire, losses = translate(body, responses, responses)
    assert [item["type"] for item in wire["input"]] == ["message", "message"]
    assert not any("id" in item for item in wire["input"])
    assert losses == {"Reasoning"}
    to_anthropic, losses = translate(body, responses, anthropic)
    assert [message["role"] for message in to_anthropic["messages"]] == ["assistant", "user"]
    assert losses == {"messages[0].parts[0]"}
