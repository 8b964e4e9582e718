"""The official Anthropic client through Waypost: the same answers from a provider of either dialect."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic.types import MessageParam, TextBlock, ToolParam, ToolUseBlock

ROUTES = pytest.mark.parametrize(("route", "model"), [("to-gpt", "gpt-simulated"), ("to-claude", "claude-simulated")])
TOOLS: list[ToolParam] = [
    {
        "name": "get_weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
    {"name": "get_time", "input_schema": {"type": "object", "properties": {}}},
]


def user(text: str) -> list[MessageParam]:
    return [{"role": "user", "content": text}]


@ROUTES
async def test_a_whole_answer_says_who_gave_it(claude: AsyncAnthropic, route: str, model: str) -> None:
    raw = await claude.messages.with_raw_response.create(model=route, max_tokens=100, messages=user("Grüße"))
    answer = await raw.parse()
    assert (answer.type, answer.role, answer.model) == ("message", "assistant", model)
    [block] = answer.content
    assert isinstance(block, TextBlock)
    assert block.text == "You said: Grüße"
    assert answer.stop_reason == "end_turn"
    assert min(answer.usage.input_tokens, answer.usage.output_tokens) > 0
    assert answer._request_id == raw.headers["request-id"] == raw.headers["x-request-id"]
    assert raw.headers["x-waypost-provider"] == route.removeprefix("to-")
    assert (raw.headers["x-waypost-model"], raw.headers["x-waypost-attempts"]) == (model, "1")
    assert "x-waypost-warnings" not in raw.headers


@ROUTES
async def test_a_stream_is_told_in_anthropics_order(claude: AsyncAnthropic, route: str, model: str) -> None:
    stream = await claude.messages.create(model=route, max_tokens=100, messages=user("one two"), stream=True)
    events = [event async for event in stream]
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    start, last = events[0], events[-2]
    assert start.type == "message_start"
    assert start.message.model == model
    assert last.type == "message_delta"
    assert last.usage.output_tokens > 1
    assert stream.response.headers["request-id"].startswith("req_")
    async with claude.messages.stream(model=route, max_tokens=100, messages=user("one two")) as helper:
        assert "".join([text async for text in helper.text_stream]) == "You said: one two"


@ROUTES
async def test_three_turns_with_parallel_tool_calls(claude: AsyncAnthropic, house: Any, route: str, model: str) -> None:
    messages = user("get_weather and get_time")
    async with claude.messages.stream(model=route, max_tokens=200, messages=messages, tools=TOOLS) as stream:
        first = await stream.get_final_message()
    assert first.stop_reason == "tool_use"
    calls = [block for block in first.content if isinstance(block, ToolUseBlock)]
    assert [(call.name, call.input) for call in calls] == [
        ("get_weather", {"city": "get_weather and get_time"}),
        ("get_time", {}),
    ]
    results = zip(calls, ("21 degrees", "noon"), strict=True)
    messages += [
        {"role": "assistant", "content": first.content},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": said} for call, said in results],
        },
    ]
    second = await claude.messages.create(model=route, max_tokens=200, messages=messages, tools=TOOLS)
    assert isinstance(second.content[0], TextBlock)
    assert second.content[0].text == "The tools answered: 21 degrees; noon."
    messages += [{"role": "assistant", "content": second.content}, *user("thanks")]
    third = await claude.messages.create(model=route, max_tokens=200, messages=messages, tools=TOOLS)
    assert isinstance(third.content[0], TextBlock)
    assert third.content[0].text == "You said: thanks"
    assert [seen.outcome for seen in house.simulator.requests] == ["completed"] * 3


@ROUTES
async def test_an_image_arrives(claude: AsyncAnthropic, route: str, model: str) -> None:
    data = base64.b64encode(b"12345").decode()
    content: Any = [
        {"type": "text", "text": "look"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
    ]
    answer = await claude.messages.create(model=route, max_tokens=50, messages=[{"role": "user", "content": content}])
    assert isinstance(answer.content[0], TextBlock)
    assert answer.content[0].text == "You said: look I was shown: image (image/png, 5 bytes)."


async def test_what_the_provider_cannot_take_is_told_in_a_header(claude: AsyncAnthropic) -> None:
    system: Any = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    asked: dict[str, Any] = {"max_tokens": 9, "messages": user("x"), "system": system}
    same = await claude.messages.with_raw_response.create(model="to-claude", **asked)
    assert "x-waypost-warnings" not in same.headers
    other = await claude.messages.with_raw_response.create(model="to-gpt", **asked)
    assert "cache_control" in other.headers["x-waypost-warnings"]


async def test_the_names_of_models(claude: AsyncAnthropic) -> None:
    listed = [model.id async for model in claude.models.list()]
    assert listed[:5] == ["default", "to-gpt", "to-claude", "to-both", "quick"]
    assert listed[5:] == ["gpt/gpt-5.4-mini", "claude/claude-sonnet-5-5"]
    found = await claude.models.retrieve("claude/claude-sonnet-5-5")
    assert (found.type, found.display_name) == ("model", "claude/claude-sonnet-5-5")
