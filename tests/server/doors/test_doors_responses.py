"""The official OpenAI client's `responses` through Waypost, against a provider of either dialect."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import ResponseInputParam, ToolParam

ROUTES = pytest.mark.parametrize(("route", "model"), [("to-gpt", "gpt-simulated"), ("to-claude", "claude-simulated")])
TOOLS: list[ToolParam] = [
    {
        "type": "function",
        "name": "get_weather",
        "strict": False,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
    {"type": "function", "name": "get_time", "strict": False, "parameters": {"type": "object", "properties": {}}},
]


@ROUTES
async def test_a_whole_answer(gpt: AsyncOpenAI, route: str, model: str) -> None:
    raw = await gpt.responses.with_raw_response.create(model=route, input="Grüße", max_output_tokens=50)
    answer = raw.parse()
    assert (answer.output_text, answer.status, answer.model) == ("You said: Grüße", "completed", model)
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0
    assert raw.headers["x-waypost-model"] == model


@ROUTES
async def test_a_stream(gpt: AsyncOpenAI, route: str, model: str) -> None:
    stream = await gpt.responses.create(model=route, input="one two", max_output_tokens=50, stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events][:2] == ["response.created", "response.in_progress"]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type == "response.completed"
    assert (text, last.response.output_text, last.response.model) == ("You said: one two", "You said: one two", model)


@ROUTES
async def test_parallel_tool_calls_and_their_results(gpt: AsyncOpenAI, route: str, model: str) -> None:
    asked: ResponseInputParam = [{"role": "user", "content": "get_weather and get_time"}]
    first = await gpt.responses.create(model=route, input=asked, tools=TOOLS, max_output_tokens=200)
    calls = [item for item in first.output if item.type == "function_call"]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("get_weather", {"city": "get_weather and get_time"}),
        ("get_time", {}),
    ]
    for call in calls:
        asked.append({"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments})
    for call, result in zip(calls, ("21 degrees", "noon"), strict=True):
        asked.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
    second = await gpt.responses.create(model=route, input=asked, tools=TOOLS, max_output_tokens=200)
    assert second.output_text == "The tools answered: 21 degrees; noon."


@ROUTES
async def test_a_stream_that_breaks_is_an_error_and_never_completed(
    gpt: AsyncOpenAI, http: httpx.AsyncClient, house: Any, route: str, model: str
) -> None:
    house.simulator.use({"rules": [{"fault": {"cut_after_events": 5}}]})
    asked = {"model": route, "input": "one two three four", "stream": True, "max_output_tokens": 50}
    reply = await http.post("/v1/responses", json=asked)
    assert b"response.output_text.delta" in reply.content
    assert b"event: response.completed" not in reply.content
    assert b"event: response.failed" in reply.content
    fails = {"rules": [{"fault": {"status": 429, "retry_after_s": 30}}]}
    house.simulator.use(fails)
    with pytest.raises(openai.RateLimitError):
        await gpt.responses.create(model=route, input="x", max_output_tokens=50, stream=True)
