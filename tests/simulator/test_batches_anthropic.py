"""Anthropic's Message Batches with the official client, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from tests.simulator.batches import messages, until

from waypost.simulator import Simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=simulator.anthropic_url, api_key="any", max_retries=0, timeout=10) as opened:
        yield opened


async def ended(client: AsyncAnthropic, batch: MessageBatch) -> MessageBatch:
    return await until(
        lambda: client.messages.batches.retrieve(batch.id), lambda told: told.processing_status == "ended"
    )


async def results(client: AsyncAnthropic, batch: MessageBatch) -> dict[str, MessageBatchIndividualResponse]:
    return {each.custom_id: each async for each in await client.messages.batches.results(batch.id)}


async def test_a_batch_is_made_ends_and_has_a_result_for_each_request(
    client: AsyncAnthropic, simulator: Simulator
) -> None:
    made = await client.messages.batches.create(requests=messages("one", "overloaded:two", "three"))
    assert made.id.startswith("msgbatch_")
    assert (made.processing_status, made.request_counts.processing) == ("in_progress", 3)
    assert (made.ended_at, made.results_url, made.archived_at) == (None, None, None)
    assert made.expires_at - made.created_at == timedelta(hours=24)
    told = await ended(client, made)
    assert told.request_counts.model_dump() == {
        "processing": 0,
        "succeeded": 2,
        "errored": 1,
        "canceled": 0,
        "expired": 0,
    }
    assert told.ended_at is not None
    assert told.results_url == f"{simulator.url}/v1/messages/batches/{made.id}/results"
    found = await results(client, made)
    first: Any = found["c0"].result
    assert (first.type, first.message.content[0].text) == ("succeeded", "You said: one")
    assert first.message.usage.service_tier == "batch"
    second: Any = found["c1"].result
    assert (second.type, second.error.error.type) == ("errored", "overloaded_error")
    assert len(found) == 3
