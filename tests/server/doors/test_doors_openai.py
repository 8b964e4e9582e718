"""The official OpenAI client through Waypost: the same answers from a provider of either dialect."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

ROUTES = pytest.mark.parametrize(("route", "model"), [("to-gpt", "gpt-simulated"), ("to-claude", "claude-simulated")])
TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    },
    {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}},
]


def user(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@ROUTES
async def test_a_whole_answer_says_who_gave_it(gpt: AsyncOpenAI, route: str, model: str) -> None:
    raw = await gpt.chat.completions.with_raw_response.create(model=route, messages=user("Grüße"), max_tokens=50)
    answer = raw.parse()
    assert (answer.object, answer.model) == ("chat.completion", model)
    assert answer.choices[0].message.content == "You said: Grüße"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert raw.headers["x-waypost-provider"] == route.removeprefix("to-")
    assert raw.headers["x-waypost-model"] == model
    assert raw.headers["x-waypost-attempts"] == "1"
    assert (raw.request_id or "").startswith("req_")
    assert raw.headers["cache-control"] == "no-store"


@ROUTES
@pytest.mark.parametrize("wanted", [True, False])
async def test_usage_of_a_stream_is_told_only_if_asked_for(
    gpt: AsyncOpenAI, house: Any, route: str, model: str, wanted: bool
) -> None:
    """The provider is asked for it either way."""
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if wanted else {}
    stream = await gpt.chat.completions.create(
        model=route, messages=user("one two"), max_tokens=50, stream=True, **options
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "You said: one two"
    assert {chunk.model for chunk in chunks} == {model}
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [wanted]
    assert stream.response.headers["x-waypost-model"] == model
    assert stream.response.headers["content-type"].startswith("text/event-stream")
    if route == "to-gpt":
        assert house.simulator.requests[0].body["stream_options"] == {"include_usage": True}


@ROUTES
async def test_three_turns_with_parallel_tool_calls(gpt: AsyncOpenAI, house: Any, route: str, model: str) -> None:
    messages = user("get_weather and get_time")
    async with gpt.chat.completions.stream(model=route, messages=messages, tools=TOOLS, max_tokens=200) as stream:
        async for _ in stream:
            pass
        first = (await stream.get_final_completion()).choices[0]
    calls = first.message.tool_calls or []
    assert first.finish_reason == "tool_calls"
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert json.loads(calls[0].function.arguments) == {"city": "get_weather and get_time"}
    assert json.loads(calls[1].function.arguments) == {}
    messages.append(
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
                for call in calls
            ],
        }
    )
    for call, result in zip(calls, ("21 degrees", "noon"), strict=True):
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    second = await gpt.chat.completions.create(model=route, messages=messages, tools=TOOLS, max_tokens=200)
    assert second.choices[0].message.content == "The tools answered: 21 degrees; noon."
    messages += [{"role": "assistant", "content": second.choices[0].message.content}, *user("thanks")]
    third = await gpt.chat.completions.create(model=route, messages=messages, tools=TOOLS, max_tokens=200)
    assert third.choices[0].message.content == "You said: thanks"
    assert [seen.outcome for seen in house.simulator.requests] == ["completed"] * 3


@ROUTES
async def test_an_image_arrives(gpt: AsyncOpenAI, route: str, model: str) -> None:
    data = base64.b64encode(b"12345").decode()
    content: Any = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
    ]
    answer = await gpt.chat.completions.create(
        model=route, messages=[{"role": "user", "content": content}], max_tokens=50
    )
    assert answer.choices[0].message.content == "You said: look I was shown: image (image/png, 5 bytes)."


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_provider_cannot_take_is_told_in_a_header(gpt: AsyncOpenAI, stream: bool) -> None:
    asked: dict[str, Any] = {"messages": user("x"), "max_tokens": 9, "seed": 7, "stream": stream}
    same = await gpt.chat.completions.with_raw_response.create(model="to-gpt", **asked)
    assert "x-waypost-warnings" not in same.headers
    other = await gpt.chat.completions.with_raw_response.create(model="to-claude", **asked)
    assert "seed" in other.headers["x-waypost-warnings"]


@pytest.mark.parametrize("stream", [False, True])
async def test_waypost_s_own_endpoint_tells_it_too(http: httpx.AsyncClient, stream: bool) -> None:
    asked = {"prompt": "x", "model": "to-claude", "seed": 7, "stream": stream}
    reply = await http.post("/api/ai/generate", json=asked)
    body = json.loads(reply.text.rpartition("data: ")[2]) if stream else reply.json()
    assert body["finish_reason"] == "stop"
    assert [warning for warning in body["warnings"] if "seed" in warning]


async def test_the_names_of_models(gpt: AsyncOpenAI) -> None:
    listed = {model.id: model.owned_by async for model in gpt.models.list()}
    assert listed == {
        "default": "gpt",
        "to-gpt": "gpt",
        "to-claude": "claude",
        "to-both": "gpt",
        "quick": "gpt",
        "gpt/gpt-5.4-mini": "gpt",
        "claude/claude-sonnet-5-5": "claude",
    }
    for name in ("quick", "claude/claude-sonnet-5-5", "claude/another"):
        assert (await gpt.models.retrieve(name)).id == name
