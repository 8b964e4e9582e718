"""What the simulator answers, over real sockets, read back with the project's codecs: rules, and its own invention."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jsonschema  # type: ignore[import-untyped]
import pytest

from waypost.chat import Reasoning, Refusal, Response, Text, ToolCall, collect
from waypost.codecs import anthropic_messages, openai_chat
from waypost.codecs.codec import Codec
from waypost.codecs.sse import SseDecoder
from waypost.simulator import Simulator

DIALECTS = ["openai", "anthropic"]
CODECS: dict[str, Codec] = {"openai": openai_chat.codec, "anthropic": anthropic_messages.codec}
HEADERS = {
    "openai": {"authorization": "Bearer any"},
    "anthropic": {"x-api-key": "any", "anthropic-version": "2023-06-01"},
}
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
    "required": ["city", "days"],
}
PIXEL = base64.b64encode(b"\x89PNG pixel").decode()


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


def body(dialect: str, content: Any, **more: Any) -> dict[str, Any]:
    messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
    limit = {"max_tokens": 500} if dialect == "anthropic" else {}
    return {"model": "simulated", "messages": messages, **limit, **more}


async def ask(simulator: Simulator, dialect: str, content: Any, headers: Any = None, **more: Any) -> Response:
    """The answer, asked for twice: whole, and streamed. Both must be the same answer."""
    whole = await fetch(simulator, dialect, body(dialect, content, **more), headers)
    stream = {"stream": True} | ({"stream_options": {"include_usage": True}} if dialect == "openai" else {})
    streamed = await fetch(simulator, dialect, body(dialect, content, **more, **stream), headers)
    for one, other in zip(whole.choices, streamed.choices, strict=True):
        assert [_without_ids(part) for part in one.parts if part != Text("")] == [
            _without_ids(part) for part in other.parts if part != Text("")
        ]
        assert (one.reason, one.stop_sequence) == (other.reason, other.stop_sequence)
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (
        streamed.usage.input_tokens,
        streamed.usage.output_tokens,
    )
    return streamed


def _without_ids(part: object) -> object:
    if isinstance(part, ToolCall):
        return (part.name, json.loads(part.arguments))
    return part.text if isinstance(part, Text | Reasoning | Refusal) else part


async def fetch(simulator: Simulator, dialect: str, content: dict[str, Any], headers: Any = None) -> Response:
    codec = CODECS[dialect]
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            simulator.url + PATHS[dialect], json=content, headers={**HEADERS[dialect], **(headers or {})}
        ) as reply,
    ):
        data = await reply.read()
        assert reply.status == 200, data
        if not content.get("stream"):
            return codec.decode_response(data)
        assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    sse, decoder = SseDecoder(), codec.stream_decoder(choices=content.get("n", 1))
    events = [event for wire in sse.feed(data) for event in decoder.feed(wire)]
    return collect([*events, *decoder.finish()])


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_without_a_script_the_prompt_is_repeated_and_counted(simulator: Simulator, dialect: str) -> None:
    answer = await ask(simulator, dialect, "Grüße, 世界")
    assert answer.text == "You said: Grüße, 世界"
    assert answer.choices[0].reason == "stop"
    assert (answer.usage.input_tokens or 0) > 3
    assert (answer.usage.output_tokens or 0) > 3
    longer = await ask(simulator, dialect, "Grüße, 世界, and more words than before")
    assert (longer.usage.input_tokens or 0) > (answer.usage.input_tokens or 0)


async def test_ids_are_in_the_providers_form_and_follow_from_the_seed() -> None:
    async def ids(seed: int) -> list[str]:
        async with Simulator({"seed": seed}) as simulator:
            return [(await fetch(simulator, dialect, body(dialect, "hi"))).id for dialect in DIALECTS]

    first = await ids(1)
    assert first == await ids(1)
    assert first != await ids(2)
    assert first[0].startswith("chatcmpl-")
    assert first[1].startswith("msg_01")


TOOLS: dict[str, Any] = {
    "openai": [
        {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}},
        {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}},
    ],
    "anthropic": [
        {"name": "get_weather", "input_schema": WEATHER},
        {"name": "get_time", "input_schema": {"type": "object", "properties": {}}},
    ],
}
FORCED: dict[str, Any] = {
    "openai": [("required", "get_weather"), ({"type": "function", "function": {"name": "get_time"}}, "get_time")],
    "anthropic": [({"type": "any"}, "get_weather"), ({"type": "tool", "name": "get_time"}, "get_time")],
}
NONE = {"openai": "none", "anthropic": {"type": "none"}}


def calls_of(answer: Response) -> list[ToolCall]:
    return [part for part in answer.choices[0].parts if isinstance(part, ToolCall)]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_tools_are_called_when_asked_for_or_forced(simulator: Simulator, dialect: str) -> None:
    tools = TOOLS[dialect]
    answer = await ask(simulator, dialect, "get_weather for Paris, please", tools=tools)
    assert answer.choices[0].reason == "tool_calls"
    [call] = calls_of(answer)
    jsonschema.validate(json.loads(call.arguments), WEATHER)
    assert call.call_id.startswith({"openai": "call_", "anthropic": "toolu_01"}[dialect])
    for choice, name in FORCED[dialect]:
        forced = await ask(simulator, dialect, "hello", tools=tools, tool_choice=choice)
        assert [call.name for call in calls_of(forced)] == [name]
    assert calls_of(await ask(simulator, dialect, "hello", tools=tools)) == []
    refused = await ask(simulator, dialect, "get_weather", tools=tools, tool_choice=NONE[dialect])
    assert calls_of(refused) == []
    assert refused.text == "You said: get_weather"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_several_tools_are_called_in_parallel_unless_forbidden(simulator: Simulator, dialect: str) -> None:
    prompt = "get time and get weather"
    both = calls_of(await ask(simulator, dialect, prompt, tools=TOOLS[dialect]))
    assert [call.name for call in both] == ["get_weather", "get_time"]
    assert both[0].call_id != both[1].call_id
    one_only: dict[str, Any] = (
        {"parallel_tool_calls": False}
        if dialect == "openai"
        else {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    )
    assert len(calls_of(await ask(simulator, dialect, prompt, tools=TOOLS[dialect], **one_only))) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_tool_results_are_retold(simulator: Simulator, dialect: str) -> None:
    openai = [
        {"role": "user", "content": "get_weather"},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}},
                {"id": "b", "type": "function", "function": {"name": "get_time", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "rain"},
        {"role": "tool", "tool_call_id": "b", "content": "noon"},
    ]
    anthropic = [
        {"role": "user", "content": "get_weather"},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "a", "name": "get_weather", "input": {}},
                {"type": "tool_use", "id": "b", "name": "get_time", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "rain"},
                {"type": "tool_result", "tool_use_id": "b", "content": "noon"},
            ],
        },
    ]
    messages = openai if dialect == "openai" else anthropic
    answer = await ask(simulator, dialect, messages, tools=TOOLS[dialect])
    assert answer.text == "The tools answered: rain; noon."


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_structured_output_fits_its_schema(simulator: Simulator, dialect: str) -> None:
    wish: dict[str, Any] = (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER}}}
        if dialect == "openai"
        else {"output_config": {"format": {"type": "json_schema", "schema": WEATHER}}}
    )
    answer = await ask(simulator, dialect, "Paris", **wish)
    assert json.loads(answer.text) == {"city": "Paris", "days": 2}


async def test_any_json_object_where_no_schema_is_given(simulator: Simulator) -> None:
    answer = await ask(simulator, "openai", "json please", response_format={"type": "json_object"})
    assert json.loads(answer.text) == {"text": "json please"}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_images_are_seen_with_their_size(simulator: Simulator, dialect: str) -> None:
    image = (
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
        if dialect == "openai"
        else {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    )
    content = [{"role": "user", "content": [{"type": "text", "text": "look"}, image]}]
    answer = await ask(simulator, dialect, content)
    assert answer.text == "You said: look I was shown: image (image/png, 10 bytes)."
    assert (answer.usage.input_tokens or 0) > 85


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_largest_number_of_tokens_and_stop_sequences_are_heeded(simulator: Simulator, dialect: str) -> None:
    short = await ask(simulator, dialect, "one two three four", max_tokens=3)
    assert short.choices[0].reason == "length"
    assert short.text == "You said:"
    assert short.usage.output_tokens == 3
    stops: dict[str, Any] = {"stop": ["three"]} if dialect == "openai" else {"stop_sequences": ["three"]}
    stopped = await ask(simulator, dialect, "one two three four", **stops)
    assert stopped.text == "You said: one two "
    assert stopped.choices[0].reason == "stop"
    assert stopped.choices[0].stop_sequence == (None if dialect == "openai" else "three")


async def test_thinking_is_shown_by_one_provider_and_only_counted_by_the_other(simulator: Simulator) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    answer = await ask(simulator, "anthropic", "think", thinking=thinking, max_tokens=2000)
    [reasoning, text] = answer.choices[0].parts
    assert isinstance(reasoning, Reasoning)
    assert reasoning.text
    assert reasoning.opaque["anthropic"]["signature"]
    assert text == Text("You said: think")
    answer = await ask(simulator, "openai", "think", reasoning_effort="low")
    assert answer.choices[0].parts == (Text("You said: think"),)
    assert (answer.usage.output_reasoning_tokens or 0) > 0
    assert (answer.usage.output_tokens or 0) > (answer.usage.output_reasoning_tokens or 0)


async def test_several_answers(simulator: Simulator) -> None:
    answer = await ask(simulator, "openai", "hi", n=2)
    assert [choice.text for choice in answer.choices] == ["You said: hi", "You said: hi"]


async def test_usage_in_an_openai_stream_comes_only_if_asked_for(simulator: Simulator) -> None:
    answer = await fetch(simulator, "openai", body("openai", "hi", stream=True))
    assert answer.usage.input_tokens is None
    asked = body("openai", "hi", stream=True, stream_options={"include_usage": True})
    assert (await fetch(simulator, "openai", asked)).usage.input_tokens


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_scripted_reply_of_every_kind(dialect: str) -> None:
    rules = [
        {
            "match": {"contains": "both"},
            "reply": {
                "reasoning": "Hm.",
                "text": "Yes.",
                "tool_calls": [{"name": "get_weather", "arguments": {"city": "Rome"}}, {"name": "get_weather"}],
            },
        },
        {"match": {"contains": "no"}, "reply": {"refusal": "I will not."}},
        {"match": {"contains": "same"}, "reply": {"echo": True}},
    ]
    async with Simulator({"rules": rules}) as simulator:
        answer = await ask(simulator, dialect, "both", tools=TOOLS[dialect])
        reasoning, text, first, second = answer.choices[0].parts
        assert isinstance(reasoning, Reasoning)
        assert (reasoning.text, text) == ("Hm.", Text("Yes."))
        assert isinstance(first, ToolCall)
        assert isinstance(second, ToolCall)
        assert json.loads(first.arguments) == {"city": "Rome"}
        jsonschema.validate(json.loads(second.arguments), WEATHER)
        refusal = (await ask(simulator, dialect, "no")).choices[0]
        assert [part.text for part in refusal.parts if isinstance(part, Text | Refusal) and part.text] == [
            "I will not."
        ]
        assert refusal.reason == {"openai": "stop", "anthropic": "content_filter"}[dialect]
        assert (await ask(simulator, dialect, "same")).text == "same"


async def test_the_first_rule_that_matches_answers_as_often_as_it_may() -> None:
    rules = [
        {"match": {"model": "gpt-*"}, "reply": "by model"},
        {"match": {"format": "anthropic"}, "reply": "by format"},
        {"match": {"header": {"x-team": "bl*"}}, "reply": "by header"},
        {"match": {"streamed": True}, "reply": "by streaming"},
        {"match": {"contains": "WEATHER"}, "reply": "by text"},
        {"reply": "twice", "times": 2},
        {"reply": "for the rest"},
    ]

    async with Simulator({"rules": rules}) as simulator:

        async def said(dialect: str, prompt: str, headers: Any = None, **more: Any) -> str:
            return (await fetch(simulator, dialect, body(dialect, prompt, **more), headers)).text

        assert await said("openai", "weather", model="gpt-4o") == "by model"
        assert await said("anthropic", "hi") == "by format"
        assert await said("openai", "weather", headers={"X-Team": "blue"}) == "by header"
        assert await said("openai", "hi", stream=True) == "by streaming"
        assert await said("openai", "the weather") == "by text"
        assert [await said("openai", "hi") for _ in range(3)] == ["twice", "twice", "for the rest"]
        assert [seen.rule for seen in simulator.requests] == [1, 2, 3, 4, 5, 6, 6, 7]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_usage_and_the_reason_to_end_can_be_given(dialect: str) -> None:
    rule = {"reply": "x", "usage": {"input_tokens": 1000, "output_tokens": 7}, "finish_reason": "length"}
    async with Simulator({"rules": [rule]}) as simulator:
        answer = await ask(simulator, dialect, "hi")
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (1000, 7)
        assert answer.choices[0].reason == "length"


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("delivery", [{"line_end": "crlf"}, {"write_bytes": 1}, {"comments": True, "write_bytes": 7}])
async def test_bytes_delivered_in_any_lawful_way_are_the_same_answer(dialect: str, delivery: dict[str, object]) -> None:
    async with Simulator({"delivery": delivery}) as simulator:
        assert (await ask(simulator, dialect, "Grüße")).text == "You said: Grüße"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_first_token_and_each_after_it_take_their_time(dialect: str) -> None:
    """Waits are lower bounds: a slow machine makes them longer, never shorter."""
    pacing = {"first_token_s": 0.2, "token_interval_s": 0.05, "tokens_per_chunk": 2}
    script = {"rules": [{"reply": "aaaabbbbccccdddd", "pacing": pacing}]}
    async with Simulator(script) as simulator, aiohttp.ClientSession(headers=HEADERS[dialect]) as session:
        url = simulator.url + PATHS[dialect]
        started = time.monotonic()
        arrived: dict[bytes, float] = {}
        async with session.post(url, json=body(dialect, "hi", stream=True)) as reply:
            head_s = time.monotonic() - started
            async for line in reply.content:
                for piece in (b"aaaa", b"cccc", b"stop"):
                    if piece in line:
                        arrived.setdefault(piece, time.monotonic() - started)
        assert head_s < arrived[b"aaaa"]
        assert arrived[b"aaaa"] >= 0.29
        assert arrived[b"cccc"] >= 0.39
        started = time.monotonic()
        async with session.post(url, json=body(dialect, "hi")) as reply:
            assert reply.status == 200
        assert time.monotonic() - started >= 0.39


async def test_many_clients_at_once_get_each_its_own_answer(simulator: Simulator) -> None:
    answers = await asyncio.gather(
        *(fetch(simulator, DIALECTS[index % 2], body(DIALECTS[index % 2], f"number {index}")) for index in range(40))
    )
    assert [answer.text for answer in answers] == [f"You said: number {index}" for index in range(40)]
    assert len({answer.id for answer in answers}) == 40
