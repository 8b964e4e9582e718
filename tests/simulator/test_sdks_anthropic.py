"""The official Anthropic client against the simulator, where the conversation ends with the assistant's own words."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from anthropic import AsyncAnthropic, BadRequestError
from anthropic.types import MessageParam

from waypost.simulator import Simulator

SCRIPT = {"rules": [{"reply": "One two three four."}]}


@pytest.fixture
async def client() -> AsyncIterator[AsyncAnthropic]:
    async with (
        Simulator(SCRIPT) as running,
        AsyncAnthropic(base_url=running.anthropic_url, api_key="any", max_retries=0, timeout=10) as opened,
    ):
        yield opened


def ends_with(words: str) -> list[MessageParam]:
    return [{"role": "user", "content": "count"}, {"role": "assistant", "content": words}]


async def test_the_answer_goes_on_from_the_prefill(client: AsyncAnthropic) -> None:
    async with client.messages.stream(model="m", max_tokens=50, messages=ends_with("One two")) as stream:
        assert await stream.get_final_text() == " three four."


async def test_prefill_that_ends_in_white_space_is_refused(client: AsyncAnthropic) -> None:
    with pytest.raises(BadRequestError, match="trailing whitespace"):
        await client.messages.create(model="m", max_tokens=50, messages=ends_with("One two "))


async def test_a_model_may_refuse_prefill_altogether(client: AsyncAnthropic) -> None:
    with pytest.raises(BadRequestError, match="prefill"):
        await client.messages.create(model="refused-prefill", max_tokens=50, messages=ends_with("One two"))
    answer = await client.messages.create(
        model="refused-prefill", max_tokens=50, messages=[{"role": "user", "content": "count"}]
    )
    assert answer.content[0].type == "text"


async def test_every_answer_has_the_counts_and_headers_that_the_provider_sends(client: AsyncAnthropic) -> None:
    raw = await client.messages.with_raw_response.create(
        model="m", max_tokens=50, messages=[{"role": "user", "content": "count"}]
    )
    usage = (await raw.parse()).usage
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens, usage.service_tier) == (0, 0, "standard")
    assert raw.headers["request-id"].startswith("req_01")
    assert int(raw.headers["anthropic-ratelimit-requests-remaining"]) < int(
        raw.headers["anthropic-ratelimit-requests-limit"]
    )
