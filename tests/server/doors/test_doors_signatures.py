"""Tool loops of a model that reasons, through a door whose dialect has no place for signatures."""

from __future__ import annotations

from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessage

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ASKED = {"model": "to-claude", "tools": [TOOL], "max_tokens": 4000, "reasoning_effort": "low"}


async def answer(gpt: AsyncOpenAI, messages: list[Any], *, stream: bool) -> ChatCompletionMessage:
    if not stream:
        return (await gpt.chat.completions.create(messages=messages, **ASKED)).choices[0].message  # type: ignore[call-overload, no-any-return]
    async with gpt.chat.completions.stream(messages=messages, **ASKED) as events:  # type: ignore[arg-type]
        async for _ in events:
            pass
        return (await events.get_final_completion()).choices[0].message


def turn(message: ChatCompletionMessage) -> dict[str, Any]:
    """What a client of OpenAI sends back: text and calls, and nothing it does not know."""
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in message.tool_calls or []
        if call.type == "function"
    ]
    return {"role": "assistant", "content": message.content, **({"tool_calls": calls} if calls else {})}


def thinking(body: Any) -> list[Any]:
    """The thinking blocks in the first answer of a conversation, as the provider was sent it."""
    content = next(message["content"] for message in body["messages"] if message["role"] == "assistant")
    return [block for block in content if block["type"] == "thinking"]


@pytest.mark.parametrize("stream", [False, True])
async def test_signed_thinking_comes_back_to_the_provider(gpt: AsyncOpenAI, house: Any, stream: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": "get_weather"}]
    first = await answer(gpt, messages, stream=stream)
    (call,) = first.tool_calls or []
    messages += [turn(first), {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}]
    second = await answer(gpt, messages, stream=stream)
    assert second.content == "The tools answered: 21 degrees."
    messages += [turn(second), {"role": "user", "content": "thanks"}]
    third = await answer(gpt, messages, stream=stream)
    assert third.content == "You said: thanks"
    bodies = [seen.body for seen in house.simulator.requests]
    assert bodies[0]["thinking"]["type"] in ("enabled", "adaptive")
    (block,) = thinking(bodies[1])
    assert block["thinking"].startswith("The prompt has")
    assert block["signature"]
    assert thinking(bodies[2]) == [block]
    assert [seen.outcome for seen in house.simulator.requests] == ["completed"] * 3


async def test_another_call_under_the_same_id_gets_nothing(gpt: AsyncOpenAI, house: Any) -> None:
    messages: list[Any] = [{"role": "user", "content": "get_weather"}]
    first = turn(await answer(gpt, messages, stream=False))
    first["tool_calls"][0]["function"]["arguments"] = '{"city":"elsewhere"}'
    result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "21 degrees"}
    await answer(gpt, [*messages, first, result], stream=False)
    assert thinking(house.simulator.requests[1].body) == []
