"""The official Anthropic client against the simulator: what it parses is what was meant, streamed and not."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pydantic
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import (
    Message,
    MessageParam,
    TextBlock,
    ThinkingBlock,
    ThinkingConfigEnabledParam,
    ToolParam,
    ToolUseBlock,
)

from waypost.simulator import Simulator

MODEL = "claude-simulated"


class Weather(pydantic.BaseModel):
    city: str
    degrees: float


TOOLS: list[ToolParam] = [
    {
        "name": "get_weather",
        "description": "The weather of a city",
        "input_schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
            "required": ["city", "unit"],
        },
    },
    {"name": "get_time", "input_schema": {"type": "object", "properties": {}}},
]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=simulator.url, api_key="any", max_retries=0, timeout=10) as opened:
        yield opened


def user(text: str) -> list[MessageParam]:
    return [{"role": "user", "content": text}]


async def test_a_whole_answer(client: AsyncAnthropic, simulator: Simulator) -> None:
    answer = await client.messages.create(model=MODEL, max_tokens=100, messages=user("Grüße"))
    assert answer.id.startswith("msg_01")
    assert (answer.type, answer.role, answer.model) == ("message", "assistant", MODEL)
    [block] = answer.content
    assert isinstance(block, TextBlock)
    assert block.text == "You said: Grüße"
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    assert min(answer.usage.input_tokens, answer.usage.output_tokens) > 0
    assert (answer._request_id or "").startswith("req_01")
    assert simulator.requests[0].outcome == "completed"


async def test_a_stream_is_told_in_order_with_a_ping_and_usage_at_both_ends(client: AsyncAnthropic) -> None:
    stream = await client.messages.create(model=MODEL, max_tokens=100, messages=user("Grüße"), stream=True)
    events = [event async for event in stream]
    kinds = [event.type for event in events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    first, last = events[0], events[-2]
    assert first.type == "message_start"
    assert last.type == "message_delta"
    assert first.message.usage.input_tokens > 0
    assert first.message.usage.output_tokens == 1
    assert last.usage.output_tokens > 1
    assert last.delta.stop_reason == "end_turn"
    text = "".join(
        event.delta.text for event in events if event.type == "content_block_delta" and event.delta.type == "text_delta"
    )
    assert text == "You said: Grüße"


async def test_the_streaming_helper_gathers_the_same_answer(client: AsyncAnthropic) -> None:
    async with client.messages.stream(model=MODEL, max_tokens=100, messages=user("one two")) as stream:
        texts = [text async for text in stream.text_stream]
        final = await stream.get_final_message()
    assert len(texts) > 2
    assert "".join(texts) == "You said: one two"
    assert final.content[0].type == "text"
    assert final.usage.output_tokens > 1
    assert final.stop_reason == "end_turn"


async def test_a_tool_loop(client: AsyncAnthropic) -> None:
    messages = user("get_weather in Paris")
    answer = await client.messages.create(model=MODEL, max_tokens=100, messages=messages, tools=TOOLS)
    assert answer.stop_reason == "tool_use"
    [call] = answer.content
    assert isinstance(call, ToolUseBlock)
    assert call.id.startswith("toolu_01")
    assert (call.name, call.input) == ("get_weather", {"city": "get_weather in Paris", "unit": "C"})
    told: list[MessageParam] = [
        *messages,
        {"role": "assistant", "content": [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.input}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}]},
    ]
    answer = await client.messages.create(model=MODEL, max_tokens=100, messages=told, tools=TOOLS)
    assert isinstance(answer.content[0], TextBlock)
    assert answer.content[0].text == "The tools answered: 21 degrees."


async def test_parallel_tool_calls_come_apart_again_from_a_stream(client: AsyncAnthropic) -> None:
    prompt = user("get_weather and get_time")
    async with client.messages.stream(model=MODEL, max_tokens=200, messages=prompt, tools=TOOLS) as stream:
        final = await stream.get_final_message()
    first, second = final.content
    assert isinstance(first, ToolUseBlock)
    assert isinstance(second, ToolUseBlock)
    assert (first.name, second.name) == ("get_weather", "get_time")
    assert first.input == {"city": "get_weather and get_time", "unit": "C"}
    assert second.input == {}
    assert first.id != second.id


async def test_an_image_and_a_document(client: AsyncAnthropic) -> None:
    data = base64.b64encode(b"12345").decode()
    answer = await client.messages.create(
        model=MODEL,
        max_tokens=100,
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.png"}},
                    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": data}},
                ],
            }
        ],
    )
    shown = "image (image/png, 5 bytes), image (by reference), document (application/pdf, 5 bytes)"
    assert isinstance(answer.content[0], TextBlock)
    assert answer.content[0].text == f"You said: look I was shown: {shown}."


async def test_structured_output_is_parsed_into_the_callers_class(client: AsyncAnthropic) -> None:
    answer = await client.messages.parse(model=MODEL, max_tokens=100, messages=user("Oslo"), output_format=Weather)
    assert answer.parsed_output == Weather(city="Oslo", degrees=1.5)


@pytest.mark.parametrize("streamed", [True, False])
async def test_thinking_is_signed_and_comes_first(client: AsyncAnthropic, streamed: bool) -> None:
    wish: ThinkingConfigEnabledParam = {"type": "enabled", "budget_tokens": 1024}
    answer: Message
    if streamed:
        async with client.messages.stream(model=MODEL, max_tokens=2000, messages=user("why"), thinking=wish) as stream:
            answer = await stream.get_final_message()
    else:
        answer = await client.messages.create(model=MODEL, max_tokens=2000, messages=user("why"), thinking=wish)
    thinking, text = answer.content
    assert isinstance(thinking, ThinkingBlock)
    assert thinking.thinking
    assert thinking.signature
    assert isinstance(text, TextBlock)
    assert text.text == "You said: why"


async def test_thinking_can_be_sent_back_in_a_tool_loop(client: AsyncAnthropic, simulator: Simulator) -> None:
    first = await client.messages.create(
        model=MODEL,
        max_tokens=2000,
        messages=user("get_time"),
        tools=TOOLS,
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    thinking, call = first.content
    assert isinstance(thinking, ThinkingBlock)
    assert isinstance(call, ToolUseBlock)
    result: MessageParam = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "noon"}],
    }
    messages: list[MessageParam] = [*user("get_time"), {"role": "assistant", "content": first.content}, result]
    answer = await client.messages.create(model=MODEL, max_tokens=100, messages=messages, tools=TOOLS)
    assert isinstance(answer.content[0], TextBlock)
    assert answer.content[0].text == "The tools answered: noon."
    assert simulator.requests[1].body["messages"][1]["content"][0]["signature"] == thinking.signature


async def test_system_prompts_stop_sequences_and_limits_arrive(client: AsyncAnthropic, simulator: Simulator) -> None:
    answer = await client.messages.create(
        model=MODEL,
        max_tokens=100,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=user("one two three"),
        stop_sequences=["three"],
        extra_body={"temperature": 0.5},
    )
    assert isinstance(answer.content[0], TextBlock)
    assert answer.content[0].text == "You said: one two "
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "three")
    assert simulator.requests[0].body["system"][0]["text"] == "Be brief."
    short = await client.messages.create(model=MODEL, max_tokens=2, messages=user("one two"))
    assert (short.stop_reason, short.usage.output_tokens) == ("max_tokens", 2)


async def test_cache_counts_from_the_script(client: AsyncAnthropic, simulator: Simulator) -> None:
    usage = {"input_tokens": 100, "input_cache_read_tokens": 60, "input_cache_write_5m_tokens": 30, "output_tokens": 5}
    simulator.use({"rules": [{"reply": "x", "usage": usage}]})
    whole = await client.messages.create(model=MODEL, max_tokens=100, messages=user("hi"))
    async with client.messages.stream(model=MODEL, max_tokens=100, messages=user("hi")) as stream:
        streamed = await stream.get_final_message()
    for answer in (whole, streamed):
        assert answer.usage.input_tokens == 10, "here the cached tokens are not part of the input"
        assert answer.usage.cache_read_input_tokens == 60
        assert answer.usage.cache_creation_input_tokens == 30
        assert answer.usage.output_tokens == 5


async def test_a_refusal(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.use({"rules": [{"reply": {"refusal": "I will not."}}]})
    answer = await client.messages.create(model=MODEL, max_tokens=100, messages=user("x"))
    assert answer.stop_reason == "refusal"


async def test_models_and_token_counts(client: AsyncAnthropic) -> None:
    listed = [model.id async for model in client.models.list()]
    assert listed == ["simulated-small", "simulated-large"]
    assert (await client.models.retrieve(listed[0])).id == listed[0]
    counted = await client.messages.count_tokens(model=MODEL, messages=user("one two"), tools=TOOLS)
    answer = await client.messages.create(model=MODEL, max_tokens=9, messages=user("one two"), tools=TOOLS)
    assert counted.input_tokens == answer.usage.input_tokens
