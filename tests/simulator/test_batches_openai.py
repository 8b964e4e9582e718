"""OpenAI's batches and files with the official client, over a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.types import Batch
from tests.simulator.batches import lines, until

from waypost.simulator import Simulator

OVER = ("completed", "failed", "expired", "cancelled")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=simulator.openai_url, api_key="any", max_retries=0, timeout=10) as opened:
        yield opened


async def made(client: AsyncOpenAI, content: bytes, *, endpoint: Any = "/v1/chat/completions", **options: Any) -> Batch:
    file = await client.files.create(file=("input.jsonl", content), purpose="batch")
    return await client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", **options)


async def ended(client: AsyncOpenAI, batch: Batch) -> Batch:
    return await until(lambda: client.batches.retrieve(batch.id), lambda told: told.status in OVER)


async def written(client: AsyncOpenAI, file_id: str | None) -> dict[str, Any]:
    """The lines of a file, by their custom ids."""
    assert file_id is not None
    told = (json.loads(line) for line in (await client.files.content(file_id)).text.splitlines())
    return {line["custom_id"]: line for line in told}


async def test_a_batch_is_made_is_completed_and_writes_its_answers(client: AsyncOpenAI) -> None:
    batch = await made(client, lines("one", "two"), metadata={"team": "a"})
    assert batch.id.startswith("batch_")
    assert (batch.status, batch.output_file_id, batch.errors) == ("validating", None, None)
    assert batch.expires_at == batch.created_at + 86_400
    over = await ended(client, batch)
    assert (over.status, over.model, over.metadata, over.error_file_id) == (
        "completed",
        "simulated",
        {"team": "a"},
        None,
    )
    assert over.request_counts is not None
    assert over.request_counts.model_dump() == {"total": 2, "completed": 2, "failed": 0}
    assert None not in (over.in_progress_at, over.finalizing_at, over.completed_at)
    found = await written(client, over.output_file_id)
    assert set(found) == {"c0", "c1"}
    assert found["c0"]["response"]["status_code"] == 200
    assert found["c0"]["response"]["body"]["choices"][0]["message"]["content"] == "You said: one"
    assert found["c0"]["error"] is None
    assert over.usage is not None
    assert over.usage.total_tokens == sum(line["response"]["body"]["usage"]["total_tokens"] for line in found.values())
    file = await client.files.retrieve(over.output_file_id or "")
    assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")


async def test_a_batch_whose_requests_all_fail_is_completed_without_answers(client: AsyncOpenAI) -> None:
    over = await ended(client, await made(client, lines("one", "two", model="context-length")))
    assert (over.status, over.output_file_id) == ("completed", None)
    found = await written(client, over.error_file_id)
    assert found["c0"]["response"]["status_code"] == 400
    assert found["c0"]["response"]["body"]["error"]["code"] == "context_length_exceeded"
    assert found["c0"]["error"] is None
