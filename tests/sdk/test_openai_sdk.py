"""The official OpenAI client against the simulator: what it parses is what was meant, streamed and not."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pydantic
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from waypost.simulator import Simulator


class Weather(pydantic.BaseModel):
    city: str
    degrees: float
    sky: list[str]


TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
                "required": ["city", "unit"],
            },
        },
    },
    {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}},
]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=simulator.openai_url, api_key="any", max_retries=0, timeout=10) as opened:
        yield opened


def user(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


async def test_a_whole_answer(client: AsyncOpenAI, simulator: Simulator) -> None:
    raw = await client.chat.completions.with_raw_response.create(model="gpt-4o", messages=user("Grüße"))
    answer = raw.parse()
    assert raw.request_id == raw.headers["x-request-id"]
    assert answer.id.startswith("chatcmpl-")
    assert (answer.object, answer.model) == ("chat.completion", "gpt-4o")
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == "You said: Grüße"
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert min(answer.usage.prompt_tokens, answer.usage.completion_tokens) > 0
    assert simulator.requests[0].outcome == "completed"


async def test_a_streamed_answer_ends_with_its_reason_and_then_usage(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="gpt-4o", messages=user("Grüße"), stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "You said: Grüße"
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []


async def test_the_streaming_helper_gathers_the_same_answer(client: AsyncOpenAI) -> None:
    async with client.chat.completions.stream(model="gpt-4o", messages=user("one two")) as stream:
        texts = [event.delta async for event in stream if event.type == "content.delta"]
        final = await stream.get_final_completion()
    assert len(texts) > 2
    assert "".join(texts) == final.choices[0].message.content == "You said: one two"


def test_the_synchronous_client_in_a_thread_of_its_own() -> None:
    """A client that blocks: the simulator runs beside it, in another thread's loop."""
    import asyncio
    import threading

    ready = threading.Event()
    found: dict[str, Any] = {}

    async def run() -> None:
        async with Simulator() as running:
            found.update(url=running.openai_url, loop=asyncio.get_running_loop(), stop=asyncio.Event())
            ready.set()
            await found["stop"].wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(10)
    try:
        with OpenAI(base_url=found["url"], api_key="any", max_retries=0, timeout=10) as client:
            whole = client.chat.completions.create(model="gpt-4o", messages=user("hi"))
            with client.chat.completions.create(model="gpt-4o", messages=user("hi"), stream=True) as stream:
                text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert whole.choices[0].message.content == text == "You said: hi"
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(10)


async def test_a_tool_loop(client: AsyncOpenAI) -> None:
    messages = user("get_weather in Paris")
    answer = await client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS)
    assert answer.choices[0].finish_reason == "tool_calls"
    message = answer.choices[0].message
    assert message.content is None
    assert message.tool_calls
    [call] = message.tool_calls
    assert call.type == "function"
    assert call.id.startswith("call_")
    assert json.loads(call.function.arguments) == {"city": "get_weather in Paris", "unit": "C"}
    told: list[ChatCompletionMessageParam] = [
        *messages,
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
            ],
        },
        {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"},
    ]
    answer = await client.chat.completions.create(model="gpt-4o", messages=told, tools=TOOLS)
    assert answer.choices[0].message.content == "The tools answered: 21 degrees."


async def test_parallel_tool_calls_come_apart_again_from_a_stream(client: AsyncOpenAI) -> None:
    prompt = user("get_weather and get_time")
    async with client.chat.completions.stream(model="gpt-4o", messages=prompt, tools=TOOLS) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()
    calls = final.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert set(json.loads(calls[0].function.arguments)) == {"city", "unit"}
    assert json.loads(calls[1].function.arguments) == {}
    assert calls[0].id != calls[1].id


async def test_an_image_and_a_document(client: AsyncOpenAI) -> None:
    data = base64.b64encode(b"12345").decode()
    answer = await client.chat.completions.create(
        model="gpt-4o",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
                    {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{data}"}},
                ],
            }
        ],
    )
    shown = "image (image/png, 5 bytes), image (by reference), document (application/pdf, 5 bytes)"
    assert answer.choices[0].message.content == f"You said: look I was shown: {shown}."


async def test_structured_output_is_parsed_into_the_callers_class(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(model="gpt-4o", messages=user("Oslo"), response_format=Weather)
    assert answer.choices[0].message.parsed == Weather(city="Oslo", degrees=1.5, sky=["Oslo"])
    async with client.chat.completions.stream(model="gpt-4o", messages=user("Oslo"), response_format=Weather) as stream:
        async for _ in stream:
            pass
        assert (await stream.get_final_completion()).choices[0].message.parsed == Weather(
            city="Oslo", degrees=1.5, sky=["Oslo"]
        )
    with pytest.raises(openai.LengthFinishReasonError):
        await client.chat.completions.parse(
            model="gpt-4o", messages=user("Oslo"), response_format=Weather, max_completion_tokens=3
        )


async def test_a_filtered_answer_raises_where_an_object_was_wanted(client: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.use({"rules": [{"reply": "x", "finish_reason": "content_filter"}]})
    with pytest.raises(openai.ContentFilterFinishReasonError):
        await client.chat.completions.parse(model="gpt-4o", messages=user("x"), response_format=Weather)


async def test_a_refusal(client: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.use({"rules": [{"reply": {"refusal": "I will not."}}]})
    answer = await client.chat.completions.create(model="gpt-4o", messages=user("x"))
    assert (answer.choices[0].message.refusal, answer.choices[0].message.content) == ("I will not.", None)


async def test_reasoning_is_counted_and_a_scripted_one_is_shown_as_compatible_servers_do(
    client: AsyncOpenAI, simulator: Simulator
) -> None:
    answer = await client.chat.completions.create(model="o4-mini", messages=user("x"), reasoning_effort="low")
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert (answer.usage.completion_tokens_details.reasoning_tokens or 0) > 0
    simulator.use({"rules": [{"reply": {"reasoning": "Hm.", "text": "Yes."}}]})
    answer = await client.chat.completions.create(model="deepseek", messages=user("x"))
    assert answer.choices[0].message.model_dump()["reasoning_content"] == "Hm."


async def test_system_prompts_stop_sequences_and_limits_arrive(client: AsyncOpenAI, simulator: Simulator) -> None:
    answer = await client.chat.completions.create(
        model="gpt-4o",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "Be exact."},
            {"role": "user", "content": "one two three"},
        ],
        stop=["three"],
        max_completion_tokens=50,
        temperature=0.5,
    )
    assert answer.choices[0].message.content == "You said: one two "
    assert simulator.requests[0].body["messages"][0] == {"role": "system", "content": "Be brief."}
    short = await client.chat.completions.create(model="gpt-4o", messages=user("one two"), max_tokens=2)
    assert (short.choices[0].finish_reason, short.choices[0].message.content) == ("length", "You said")
    assert short.usage is not None
    assert short.usage.completion_tokens == 2


async def test_several_choices_stream_side_by_side(client: AsyncOpenAI) -> None:
    texts = {0: "", 1: ""}
    async for chunk in await client.chat.completions.create(model="gpt-4o", messages=user("hi"), n=2, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == {0: "You said: hi", 1: "You said: hi"}


async def test_models(client: AsyncOpenAI) -> None:
    listed = [model.id async for model in client.models.list()]
    assert listed == ["simulated-small", "simulated-large"]
    assert (await client.models.retrieve(listed[0])).id == listed[0]
