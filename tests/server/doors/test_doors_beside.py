"""What translated answers say besides the answer, as the vendors' schemas want it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from waypost.doors.beside import beside

ASKED: dict[str, Any] = {
    "model": "to-claude",
    "input": "get_weather",
    "instructions": "Be brief.",
    "temperature": 0.5,
    "store": False,
    "service_tier": "priority",
    "reasoning": {"effort": "low"},
    "tools": [{"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}],
}


async def test_a_response_repeats_the_requests_settings_and_defaults_for_the_others(http: httpx.AsyncClient) -> None:
    told = (await http.post("/v1/responses", json=ASKED)).json()
    assert (told["instructions"], told["temperature"], told["top_p"]) == ("Be brief.", 0.5, 1.0)
    assert told["reasoning"] == {"effort": "low", "summary": None}
    assert told["tools"] == [{"description": None, "strict": None, **ASKED["tools"][0]}]
    assert (told["store"], told["previous_response_id"], told["background"]) == (False, None, False)
    assert told["service_tier"] == "default", "the tier that was asked for need not be the one that served"


async def test_a_streamed_response_says_the_same_in_its_first_and_last_event(http: httpx.AsyncClient) -> None:
    reply = await http.post("/v1/responses", json={**ASKED, "stream": True})
    assert reply.text.count('"instructions":"Be brief."') == 3, "created, in_progress and completed"


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_call_says_besides_is_no_warning_when_it_comes_back(http: httpx.AsyncClient, stream: bool) -> None:
    """SDKs send calls back as they got them, in every turn of a loop."""
    asked: dict[str, Any] = {
        "model": "to-gpt",
        "max_tokens": 100,
        "tools": [{"name": "get_weather", "input_schema": {"type": "object", "properties": {}}}],
        "messages": [{"role": "user", "content": "get_weather"}],
    }
    content = (await http.post("/v1/messages", json=asked)).json()["content"]
    assert content[0]["caller"] == {"type": "direct"}
    result = {"type": "tool_result", "tool_use_id": content[0]["id"], "content": "rain"}
    asked["messages"] += [{"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    reply = await http.post("/v1/messages", json={**asked, "stream": stream})
    assert "rain" in reply.text
    assert "x-waypost-warnings" not in reply.headers


def test_what_the_provider_told_comes_first() -> None:
    told: dict[str, Any] = {
        "anthropic": {"container": {"id": "c"}, "usage": {"service_tier": "batch"}},
        "openai": {"x": 1},
    }
    wanted: dict[str, Any] = {
        "anthropic": {"container": None, "stop_details": None, "usage": {"service_tier": None, "a": None}}
    }
    assert beside(told, wanted) == {
        "anthropic": {"container": {"id": "c"}, "stop_details": None, "usage": {"service_tier": "batch", "a": None}},
        "openai": {"x": 1},
    }
