"""Callers of the OpenAI chat format before Anthropic as provider, and the reverse, through the canonical values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from waypost.chat import Event
from waypost.codecs.anthropic_messages import codec as anthropic
from waypost.codecs.codec import Codec
from waypost.codecs.openai_chat import codec as openai
from waypost.codecs.sse import SseDecoder

FIXTURES = Path(__file__).parents[1] / "fixtures"

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def call(call_id: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}


LOOP: dict[str, Any] = {
    "model": "some-model",
    "max_completion_tokens": 500,
    "temperature": 0.25,
    "stop": ["END"],
    "tools": [TOOL],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather in Paris and Rome?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("call_1", '{"city": "Paris"}'), call("call_2", '{"city":"Rome"}')],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees"},
        {"role": "tool", "tool_call_id": "call_2", "content": "25 degrees"},
        {"role": "assistant", "content": "18 and 25 degrees."},
        {"role": "user", "content": "And in Oslo?"},
        {"role": "assistant", "content": "I'll look.", "tool_calls": [call("call_3", '{"city": "Oslo"}')]},
        {"role": "tool", "tool_call_id": "call_3", "content": "9 degrees"},
    ],
}


def translate(body: bytes, source: Codec, target: Codec) -> tuple[dict[str, Any], tuple[str, ...]]:
    decoded = source.decode_request(body)
    written = target.encode_request(decoded.request, stream=decoded.stream)
    return json.loads(written.body), tuple(loss.what for loss in written.losses)


def test_a_tool_loop_of_three_turns_becomes_anthropics() -> None:
    wire, losses = translate(json.dumps(LOOP).encode(), openai, anthropic)
    assert losses == ()
    assert wire == {
        "model": "some-model",
        "max_tokens": 500,
        "temperature": 0.25,
        "stop_sequences": ["END"],
        "system": "Be brief.",
        "tools": [
            {
                "name": "get_weather",
                "description": "The weather at a place",
                "input_schema": TOOL["function"]["parameters"],  # type: ignore[index]
            }
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": False},
        "messages": [
            {"role": "user", "content": "Weather in Paris and Rome?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Paris"}},
                    {"type": "tool_use", "id": "call_2", "name": "get_weather", "input": {"city": "Rome"}},
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
                "content": [
                    {"type": "text", "text": "I'll look."},
                    {"type": "tool_use", "id": "call_3", "name": "get_weather", "input": {"city": "Oslo"}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_3", "content": "9 degrees"}]},
        ],
    }


def test_and_comes_back_as_it_was() -> None:
    there, _ = translate(json.dumps(LOOP).encode(), openai, anthropic)
    back, losses = translate(json.dumps(there).encode(), anthropic, openai)
    assert losses == ()
    for message, original in zip(back["messages"], LOOP["messages"], strict=True):
        assert message["role"] == original["role"]
        assert (message.get("content") or None) == original.get("content")
        assert message.get("tool_call_id") == original.get("tool_call_id")
        for made, asked in zip(message.get("tool_calls", []), original.get("tool_calls", []), strict=True):
            assert made["id"] == asked["id"]
            assert json.loads(made["function"]["arguments"]) == json.loads(asked["function"]["arguments"])
    for name in ("model", "temperature", "tools", "tool_choice", "parallel_tool_calls"):
        assert back[name] == LOOP[name]


def wire_answer(data: bytes) -> dict[str, Any]:
    """An OpenAI stream joined by hand, without our decoder."""
    joined: dict[str, Any] = {"content": "", "arguments": {}, "finish_reason": None, "usage": None}
    for event in SseDecoder().feed(data):
        if event.data == b"[DONE]":
            continue
        chunk = json.loads(event.data)
        joined["usage"] = chunk.get("usage") or joined["usage"]
        for choice in chunk["choices"]:
            joined["content"] += choice["delta"].get("content") or ""
            joined["finish_reason"] = choice["finish_reason"] or joined["finish_reason"]
            for part in choice["delta"].get("tool_calls") or ():
                arguments = joined["arguments"].get(part["index"], "")
                joined["arguments"][part["index"]] = arguments + (part["function"].get("arguments") or "")
    return joined


def restream(data: bytes, source: Codec, target: Codec) -> bytes:
    decoder, encoder = source.stream_decoder(), target.stream_encoder()
    events: list[Event] = []
    for wire_event in SseDecoder().feed(data):
        events += decoder.feed(wire_event)
    events += decoder.finish()
    return b"".join(encoder.encode(event) for event in events) + encoder.finish()


def test_anthropics_stream_reaches_a_caller_of_openais_with_calls_reason_and_usage() -> None:
    data = (FIXTURES / "anthropic_messages" / "tool_use.sse").read_bytes()
    answer = wire_answer(restream(data, anthropic, openai))
    assert answer["content"] == "I'll look up the weather."
    assert answer["arguments"] == {0: '{"location": "San Francisco, CA", "unit": "celsius"}'}
    assert answer["finish_reason"] == "tool_calls"
    assert answer["usage"]["prompt_tokens"] == 472
    assert answer["usage"]["completion_tokens"] == 89


def test_openais_stream_of_parallel_calls_reaches_a_caller_of_anthropics() -> None:
    def chunk(**delta: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": delta.pop("finish_reason", None)}
        body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        return b"data: " + json.dumps(body).encode() + b"\n\n"

    def piece(index: int, arguments: str, **head: Any) -> dict[str, Any]:
        name = {"name": head.pop("name")} if head else {}
        return {"index": index, **head, "function": {**name, "arguments": arguments}}

    data = (
        chunk(role="assistant", content=None, tool_calls=[piece(0, "", id="a", type="function", name="f")])
        + chunk(tool_calls=[piece(0, '{"x"')])
        + chunk(tool_calls=[piece(1, "", id="b", type="function", name="g")])
        + chunk(tool_calls=[piece(1, '{"y":2}'), piece(0, ":1}")])
        + chunk(finish_reason="tool_calls")
        + b"data: [DONE]\n\n"
    )
    written = restream(data, openai, anthropic)
    kinds = [event.event for event in SseDecoder().feed(written)]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 2
    assert kinds[-1] == "message_stop"
    assert b'"stop_reason":"tool_use"' in written
    starts = [json.loads(event.data) for event in SseDecoder().feed(written) if event.event == "content_block_start"]
    assert [start["content_block"]["id"] for start in starts] == ["a", "b"]


def test_media_and_schema_survive_the_way_from_openai() -> None:
    body = {
        "model": "m",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
                    {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}},
                ],
            }
        ],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": {"type": "object"}},
        },
        "seed": 7,
    }
    wire, losses = translate(json.dumps(body).encode(), openai, anthropic)
    assert [block["type"] for block in wire["messages"][0]["content"]] == ["text", "image", "image"]
    assert wire["messages"][0]["content"][1]["source"] == {
        "type": "base64",
        "media_type": "image/png",
        "data": "iVBORw0KGgo=",
    }
    assert wire["messages"][0]["content"][2]["source"] == {"type": "url", "url": "https://example.org/cat.png"}
    assert wire["output_config"] == {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert wire["max_tokens"] == 4096
    assert set(losses) == {"sampling.seed", "response_format.name"}
