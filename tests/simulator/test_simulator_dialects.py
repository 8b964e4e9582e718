"""The same script in each of the four dialects is the same answer: whole, streamed and in any pieces."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from tests.simulator.dialects import DIALECTS, NAMES, body_of, path_of

from waypost.chat import Reasoning, Refusal, Response, Text, ToolCall, collect
from waypost.codecs.sse import SseDecoder
from waypost.simulator import Simulator

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SAID: dict[str, Any] = {
    "reasoning": "Hm, a city.",
    "text": "Für Paris:",
    "tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}, {"name": "get_weather"}],
}
TOOLS: dict[str, Any] = {
    "openai": {"tools": [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]},
    "openai_responses": {"tools": [{"type": "function", "name": "get_weather", "parameters": SCHEMA}]},
    "anthropic": {"tools": [{"name": "get_weather", "input_schema": SCHEMA}]},
    "gemini": {"tools": [{"functionDeclarations": [{"name": "get_weather", "parametersJsonSchema": SCHEMA}]}]},
}
SUMMARY: dict[str, Any] = {"openai_responses": {"reasoning": {"effort": "low", "summary": "auto"}}}
FORMATS: dict[str, Any] = {
    "openai": {"response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}},
    "openai_responses": {"text": {"format": {"type": "json_schema", "name": "city", "schema": SCHEMA}}},
    "anthropic": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "gemini": {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}},
}


async def read(simulator: Simulator, name: str, turns: Any, more: dict[str, Any], *, stream: bool) -> Response:
    """The answer as this project's codec reads it; the stream byte by byte if the script so delivers it."""
    dialect = DIALECTS[name]
    asked = {"stream_options": {"include_usage": True}} if stream and name == "openai" else {}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            simulator.url + path_of(name, stream=stream),
            json={**body_of(name, turns, stream=stream), **more, **asked},
            headers=dialect.headers,
        ) as reply,
    ):
        data = await reply.read()
        assert reply.status == 200, data
    if not stream:
        return dialect.codec.decode_response(data)
    sse, decoder = SseDecoder(), dialect.codec.stream_decoder()
    events = [event for wire in sse.feed(data) for event in decoder.feed(wire)]
    return collect([*events, *decoder.finish()])


async def both(simulator: Simulator, name: str, turns: Any = "hi", **more: Any) -> tuple[Response, Response]:
    return (
        await read(simulator, name, turns, more, stream=False),
        await read(simulator, name, turns, more, stream=True),
    )


def told(response: Response) -> list[object]:
    """What is said, without ids and signatures."""
    [choice] = response.choices
    return [
        (part.name, json.loads(part.arguments)) if isinstance(part, ToolCall) else (type(part), part.text)
        for part in choice.parts
        if isinstance(part, ToolCall) or (isinstance(part, Text | Reasoning | Refusal) and part.text)
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "delivery", [{}, {"line_end": "crlf"}, {"line_end": "lf"}, {"write_bytes": 1}, {"comments": True}]
)
async def test_thoughts_text_and_calls_arrive_whole_and_streamed_in_any_pieces(name: str, delivery: Any) -> None:
    async with Simulator({"rules": [{"reply": SAID}], "delivery": delivery}) as simulator:
        whole, streamed = await both(simulator, name, **TOOLS[name], **SUMMARY.get(name, {}))
        assert told(whole) == told(streamed)
        assert told(whole)[:3] == [
            (Reasoning, "Hm, a city."),
            (Text, "Für Paris:"),
            ("get_weather", {"city": "Paris"}),
        ]
        for answer in (whole, streamed):
            assert answer.choices[0].reason == "tool_calls"
            calls = [part for part in answer.choices[0].parts if isinstance(part, ToolCall)]
            assert len({call.call_id for call in calls}) == len(calls) == 2
        assert whole.usage.output_tokens == streamed.usage.output_tokens
        assert (whole.usage.output_reasoning_tokens or 1) > 0


@pytest.mark.parametrize("name", NAMES)
async def test_a_wanted_schema_is_kept_to(name: str) -> None:
    async with Simulator() as simulator:
        for answer in await both(simulator, name, "Rome", **FORMATS[name]):
            assert json.loads(answer.text) == {"city": "Rome"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_the_reason_to_end_and_the_usage_can_be_given(name: str, reason: str) -> None:
    rule = {"reply": "x", "finish_reason": reason, "usage": {"input_tokens": 1000, "output_tokens": 7}}
    async with Simulator({"rules": [rule]}) as simulator:
        for answer in await both(simulator, name):
            assert answer.choices[0].reason == reason
            assert (answer.usage.input_tokens, answer.usage.output_tokens) == (1000, 7)


@pytest.mark.parametrize("name", NAMES)
async def test_a_refusal_is_told_in_the_dialects_way(name: str) -> None:
    async with Simulator({"rules": [{"reply": {"refusal": "I will not."}}]}) as simulator:
        for answer in await both(simulator, name):
            assert told(answer) in ([(Refusal, "I will not.")], [(Text, "I will not.")])


@pytest.mark.parametrize("name", NAMES)
async def test_nothing_of_an_invented_answer_is_lost_on_the_way(name: str) -> None:
    """What the codec could not write would be in the ledger."""
    async with Simulator() as simulator:
        await both(simulator, name)
        lost = {loss.partition(":")[0] for seen in simulator.requests for loss in seen.losses}
        # Counts that OpenAI requires, and of which the simulator knows nothing, are 0 there.
        assert {loss for loss in lost if not loss.startswith("usage.")} == set()
