"""The Gemini provider, with our own Gemini door as its vendor: both ends of the format over a real socket."""

from __future__ import annotations

from typing import Any

import pytest

from waypost import GeminiProvider
from waypost.chat import Collector, ToolCall
from waypost.errors import ProviderConnectionLost, ProviderError, ProviderModelNotFound

TOOL = {"name": "weather", "description": "d", "input_schema": {"type": "object", "properties": {}}}


def provider(house: Any, model: str) -> GeminiProvider:
    return GeminiProvider("test-key-123", base_url=f"{house.url}/v1beta", default_model=model)


@pytest.mark.parametrize("model", ["to-gpt", "to-claude"])
async def test_whole_and_streamed_answers_are_the_same_and_counted(house: Any, model: str) -> None:
    made = provider(house, model)
    whole = await made.generate_response("hello there")
    streamed = "".join([piece async for piece in made.stream_response("hello there")])
    await made.close()
    assert "hello there" in whole.content
    assert streamed == whole.content
    assert whole.metadata["finish_reason"] == "stop"
    assert whole.usage is not None
    assert whole.usage["output_tokens"] > 0


async def test_a_tool_call_comes_through(house: Any) -> None:
    made = provider(house, "to-claude")
    collector = Collector()
    async with made.stream_events("what is it like?", tools=[TOOL], tool_choice="required") as events:
        async for event in events:
            collector.add(event)
    await made.close()
    (call,) = [part for part in collector.response().choices[0].parts if isinstance(part, ToolCall)]
    assert call.name == "weather"
    assert collector.response().choices[0].reason == "tool_calls"


async def test_a_models_name_with_a_slash_is_written_into_the_address(house: Any) -> None:
    made = provider(house, "gpt/some-model")
    assert "hello" in (await made.generate_response("hello")).content
    await made.close()


async def test_errors_keep_their_class_and_a_cut_stream_is_no_answer(house: Any) -> None:
    made = provider(house, "to-gpt")
    with pytest.raises(ProviderModelNotFound):
        await made.generate_response("hello", model="nobody-has-this")
    got = []
    with pytest.raises((ProviderError, ProviderConnectionLost)):
        async for piece in made.stream_response("one two three four five", model="gpt/cut-4"):
            got.append(piece)
    await made.close()
    assert got
    assert "five" not in "".join(got)
