"""Callers of the OpenAI chat format before Gemini as provider, and the reverse, through the canonical values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from waypost.chat import Event
from waypost.codecs.anthropic_messages import codec as anthropic
from waypost.codecs.codec import Codec
from waypost.codecs.gemini import codec as gemini
from waypost.codecs.openai_chat import codec as openai
from waypost.codecs.sse import SseDecoder

FIXTURES = Path(__file__).parents[1] / "fixtures"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
DECLARED = {"name": "get_weather", "description": "The weather at a place"}


def call(call_id: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}


LOOP: dict[str, Any] = {
    "model": "some-model",
    "max_completion_tokens": 500,
    "temperature": 0.25,
    "seed": 7,
    "stop": ["END"],
    "tools": [{"type": "function", "function": {**DECLARED, "parameters": SCHEMA}}],
    "tool_choice": "auto",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather in Paris and Rome?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("call_1", '{"city":"Paris"}'), call("call_2", '{"city":"Rome"}')],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees"},
        {"role": "tool", "tool_call_id": "call_2", "content": '{"degrees":25}'},
        {"role": "assistant", "content": "18 and 25 degrees."},
        {"role": "user", "content": "And in Oslo?"},
        {"role": "assistant", "content": "I'll look.", "tool_calls": [call("call_3", '{"city":"Oslo"}')]},
        {"role": "tool", "tool_call_id": "call_3", "content": "9 degrees"},
    ],
}


def translate(body: bytes, source: Codec, target: Codec) -> tuple[dict[str, Any], tuple[str, ...]]:
    decoded = source.decode_request(body)
    written = target.encode_request(decoded.request, stream=decoded.stream)
    return json.loads(written.body), tuple(loss.what for loss in written.losses)


def wire_call(call_id: str, city: str) -> dict[str, Any]:
    return {"functionCall": {"id": call_id, "name": "get_weather", "args": {"city": city}}}


def wire_result(call_id: str, response: dict[str, Any]) -> dict[str, Any]:
    return {"functionResponse": {"id": call_id, "name": "get_weather", "response": response}}


def test_a_tool_loop_of_three_turns_becomes_geminis() -> None:
    """Results get the name of their function, which only the earlier calls say."""
    wire, losses = translate(json.dumps(LOOP).encode(), openai, gemini)
    assert losses == ()
    assert wire == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Weather in Paris and Rome?"}]},
            {"role": "model", "parts": [wire_call("call_1", "Paris"), wire_call("call_2", "Rome")]},
            {
                "role": "user",
                "parts": [wire_result("call_1", {"output": "18 degrees"}), wire_result("call_2", {"degrees": 25})],
            },
            {"role": "model", "parts": [{"text": "18 and 25 degrees."}]},
            {"role": "user", "parts": [{"text": "And in Oslo?"}]},
            {"role": "model", "parts": [{"text": "I'll look."}, wire_call("call_3", "Oslo")]},
            {"role": "user", "parts": [wire_result("call_3", {"output": "9 degrees"})]},
        ],
        "tools": [{"functionDeclarations": [{**DECLARED, "parametersJsonSchema": SCHEMA}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        "generationConfig": {"maxOutputTokens": 500, "temperature": 0.25, "seed": 7, "stopSequences": ["END"]},
    }


def test_and_comes_back_as_it_was() -> None:
    there, _ = translate(json.dumps(LOOP).encode(), openai, gemini)
    back, losses = translate(json.dumps(there).encode(), gemini, openai)
    assert losses == ()
    for message in back["messages"]:
        message.pop("name", None)  # the function's, which only Gemini tells beside a result
    assert back == {**LOOP, "model": ""}


def test_a_tool_loop_without_ids_reaches_openai_with_ids_that_fit_each_other() -> None:
    """What Google's own clients send: calls and results are told apart by name and order alone."""
    there, _ = translate(json.dumps(LOOP).encode(), openai, gemini)
    for content in there["contents"]:
        for part in content["parts"]:
            for data in part.values():
                if isinstance(data, dict):
                    del data["id"]
    back, _ = translate(json.dumps(there).encode(), gemini, openai)
    asked = [made["id"] for message in back["messages"] for made in message.get("tool_calls", [])]
    answered = [message["tool_call_id"] for message in back["messages"] if message["role"] == "tool"]
    assert asked == answered
    assert len(set(asked)) == 3
    again, losses = translate(json.dumps({**back, "model": "m"}).encode(), openai, gemini)
    assert losses == ()
    assert again["contents"] == there["contents"]


def restream(data: bytes, source: Codec, target: Codec) -> bytes:
    decoder, encoder = source.stream_decoder(), target.stream_encoder()
    events: list[Event] = []
    for wire_event in SseDecoder().feed(data):
        events += decoder.feed(wire_event)
    events += decoder.finish()
    return b"".join(encoder.encode(event) for event in events) + encoder.finish()


def chunks(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in SseDecoder().feed(data) if event.data != b"[DONE]"]


def test_geminis_stream_reaches_a_caller_of_openais_with_calls_reason_and_usage() -> None:
    data = restream((FIXTURES / "gemini" / "function_call.sse").read_bytes(), gemini, openai)
    deltas = [(choice["delta"], choice["finish_reason"]) for chunk in chunks(data) for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta, _ in deltas) == "I'll look up the weather."
    pieces = [piece["function"] for delta, _ in deltas for piece in delta.get("tool_calls") or ()]
    assert pieces[0]["name"] == "get_weather"
    told = json.loads("".join(piece.get("arguments", "") for piece in pieces))
    assert told == {"location": "San Francisco, CA", "unit": "celsius"}
    assert deltas[-1][1] == "tool_calls"
    assert chunks(data)[-1]["usage"]["completion_tokens"] == 96
    assert chunks(data)[-1]["usage"]["completion_tokens_details"] == {"reasoning_tokens": 78}
    assert data.endswith(b"data: [DONE]\n\n")


def test_openais_stream_of_parallel_calls_reaches_a_caller_of_geminis_whole() -> None:
    data = restream((FIXTURES / "openai_chat" / "parallel_tool_calls.sse").read_bytes(), openai, gemini)
    whole = openai.decode_response((FIXTURES / "openai_chat" / "parallel_tool_calls.json").read_bytes())
    parts = [
        part["functionCall"]
        for chunk in chunks(data)
        for candidate in chunk["candidates"]
        for part in candidate["content"]["parts"]
        if "functionCall" in part
    ]
    calls = json.loads(openai.encode_response(whole).body)["choices"][0]["message"]["tool_calls"]
    assert [part["id"] for part in parts] == [made["id"] for made in calls]
    assert [part["args"] for part in parts] == [json.loads(made["function"]["arguments"]) for made in calls]
    assert chunks(data)[-1]["candidates"][0]["finishReason"] == "STOP"


def test_anthropics_thinking_reaches_a_caller_of_geminis_as_thought() -> None:
    data = restream((FIXTURES / "anthropic_messages" / "thinking.sse").read_bytes(), anthropic, gemini)
    parts = [part for chunk in chunks(data) for part in chunk["candidates"][0]["content"]["parts"]]
    assert any(part.get("thought") and part["text"] for part in parts)
    assert not any("thoughtSignature" in part for part in parts)


def test_media_and_schema_survive_the_way_from_openai() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    address = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    schema = {"name": "answer", "strict": True, "schema": {"type": "object"}}
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image, address]}],
        "response_format": {"type": "json_schema", "json_schema": schema},
        "reasoning_effort": "low",
    }
    wire, losses = translate(json.dumps(body).encode(), openai, gemini)
    assert wire["contents"][0]["parts"] == [
        {"text": "What is this?"},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://example.org/cat.png"}},
    ]
    assert wire["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
        "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True},
    }
    assert losses == ("response_format.name",)
