"""Anthropic's Message Batches with the official client, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from anthropic import AnthropicError, AsyncAnthropic, BadRequestError, NotFoundError
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from tests.simulator.batches import messages, until

from waypost.simulator import Simulator
from waypost.simulator.anthropic_batches import MAX_BYTES
from waypost.simulator.server import MAX_BODY_BYTES


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


async def test_what_a_request_holds_is_checked_when_it_is_answered(client: AsyncAnthropic) -> None:
    unbounded, streamed, good = messages("no bound", "streamed", "good")
    del unbounded["params"]["max_tokens"]
    streamed["params"]["stream"] = True
    made = await client.messages.batches.create(requests=[unbounded, streamed, good])
    found = await results(client, await ended(client, made))
    kinds = {name: (each.result.type, _error_type(each)) for name, each in found.items()}
    assert kinds == {
        "c0": ("errored", "invalid_request_error"),
        "c1": ("errored", "invalid_request_error"),
        "c2": ("succeeded", None),
    }


def _error_type(each: MessageBatchIndividualResponse) -> str | None:
    return each.result.error.error.type if each.result.type == "errored" else None


async def test_the_beta_client_finds_the_same_batches(client: AsyncAnthropic) -> None:
    made = await client.beta.messages.batches.create(requests=messages("one"))
    told = await ended(client, await client.messages.batches.retrieve(made.id))
    found = [each async for each in await client.beta.messages.batches.results(told.id)]
    assert [each.result.type for each in found] == ["succeeded"]


async def test_a_list_begins_with_the_newest_and_is_read_page_by_page_in_both_directions(
    client: AsyncAnthropic,
) -> None:
    ids = [(await client.messages.batches.create(requests=messages(f"batch {number}"))).id for number in range(5)]
    newest_first = ids[::-1]
    assert [batch.id async for batch in client.messages.batches.list(limit=2)] == newest_first
    first = await client.messages.batches.list(limit=2)
    assert (first.first_id, first.last_id, first.has_more) == (ids[4], ids[3], True)
    assert [batch.id for batch in (await first.get_next_page()).data] == [ids[2], ids[1]]
    before = await client.messages.batches.list(before_id=ids[0], limit=3)
    assert ([batch.id for batch in before.data], before.has_more) == ([ids[3], ids[2], ids[1]], True)
    last = await client.messages.batches.list(after_id=ids[1])
    assert ([batch.id for batch in last.data], last.has_more) == ([ids[0]], False)
    with pytest.raises(BadRequestError, match="limit: Input should be"):
        await client.messages.batches.list(limit=1_001)


async def test_a_batch_is_in_progress_for_as_many_retrievals_as_asked(
    client: AsyncAnthropic, simulator: Simulator
) -> None:
    simulator.use({"batches": [{"takes_polls": 2}]})
    made = await client.messages.batches.create(requests=messages("one"))
    seen = [(await client.messages.batches.retrieve(made.id)).processing_status for _ in range(4)]
    assert seen == ["in_progress", "in_progress", "ended", "ended"]


async def test_a_batch_does_not_end_before_its_time(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.use({"batches": [{"match": {"contains": "slow"}, "takes_s": 0.3}]})
    slow = await client.messages.batches.create(requests=messages("a slow one"))
    quick = await client.messages.batches.create(requests=messages("a quick one"))
    assert (await ended(client, quick)).id == quick.id
    assert (await client.messages.batches.retrieve(slow.id)).processing_status == "in_progress"
    over = await ended(client, slow)
    assert over.ended_at is not None
    assert (over.ended_at - over.created_at).total_seconds() >= 0.3


async def test_a_cancelled_batch_keeps_what_was_answered(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.use({"batches": [{"answers": 2, "cancel_polls": 1}]})
    made = await client.messages.batches.create(requests=messages("one", "two", "three"))
    await simulator.request(3)
    cancelled = await client.messages.batches.cancel(made.id)
    assert (cancelled.processing_status, cancelled.ended_at) == ("canceling", None)
    assert cancelled.cancel_initiated_at is not None
    assert cancelled.request_counts.processing == 3
    seen = [await client.messages.batches.retrieve(made.id) for _ in range(2)]
    assert [told.processing_status for told in seen] == ["canceling", "ended"]
    assert (seen[1].request_counts.succeeded, seen[1].request_counts.canceled) == (2, 1)
    assert (await results(client, made))["c2"].result.type == "canceled"
    with pytest.raises(BadRequestError, match="processing has ended"):
        await client.messages.batches.cancel(made.id)


async def test_an_expired_batch_keeps_what_was_answered(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.use({"batches": [{"answers": 1, "expires_s": 0.2}]})
    made = await client.messages.batches.create(requests=messages("one", "two", "three"))
    over = await ended(client, made)
    assert over.request_counts.model_dump(exclude_defaults=True) == {
        "processing": 0,
        "succeeded": 1,
        "errored": 0,
        "canceled": 0,
        "expired": 2,
    }
    assert {name: each.result.type for name, each in (await results(client, made)).items()} == {
        "c0": "succeeded",
        "c1": "expired",
        "c2": "expired",
    }


async def test_a_batch_is_deleted_once_it_has_ended(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.use({"batches": [{"takes_polls": 1}]})
    made = await client.messages.batches.create(requests=messages("one"))
    with pytest.raises(BadRequestError, match="in progress"):
        await client.messages.batches.delete(made.id)
    await ended(client, made)
    gone = await client.messages.batches.delete(made.id)
    assert (gone.id, gone.type) == (made.id, "message_batch_deleted")
    for ask in (client.messages.batches.retrieve, client.messages.batches.cancel, client.messages.batches.delete):
        with pytest.raises(NotFoundError):
            await ask(made.id)
    assert (await client.messages.batches.list()).data == []


async def test_there_are_no_results_before_the_end(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.use({"batches": [{"answers": 0}]})
    made = await client.messages.batches.create(requests=messages("one"))
    with pytest.raises(AnthropicError, match="No `results_url`"):
        await client.messages.batches.results(made.id)
    with pytest.raises(BadRequestError, match="has not ended"):
        await client.get(f"/v1/messages/batches/{made.id}/results", cast_to=object)


GOOD: Any = messages("good")[0]
PATTERN = "String should match pattern '^[a-zA-Z0-9_-]{1,64}$'"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "requests: Field required"),
        ({"requests": {}}, "requests: Input should be a valid list"),
        ({"requests": []}, "requests: List should have at least 1 item after validation, not 0"),
        ({"requests": [3]}, "requests.0: Input should be an object"),
        ({"requests": [GOOD, {"params": {}}]}, "requests.1.custom_id: Field required"),
        ({"requests": [{"custom_id": "a"}]}, "requests.0.params: Field required"),
        ({"requests": [{**GOOD, "params": []}]}, "requests.0.params: Input should be an object"),
        ({"requests": [{**GOOD, "custom_id": 1}]}, "requests.0.custom_id: Input should be a valid string"),
        ({"requests": [{**GOOD, "custom_id": ""}]}, "requests.0.custom_id: String should have at least 1 character"),
        (
            {"requests": [{**GOOD, "custom_id": "a" * 65}]},
            "requests.0.custom_id: String should have at most 64 characters",
        ),
        ({"requests": [{**GOOD, "custom_id": "a/b"}]}, f"requests.0.custom_id: {PATTERN}"),
        ({"requests": [GOOD, GOOD]}, "requests.1.custom_id: Custom ids must be unique, and 'c0' is not"),
        (
            {"requests": [3] * 100_001},
            "requests: List should have at most 100000 items after validation, not 100001",
        ),
    ],
)
async def test_a_batch_that_cannot_be_made_is_refused_and_nothing_is_asked(
    client: AsyncAnthropic, simulator: Simulator, body: Any, problem: str
) -> None:
    with pytest.raises(BadRequestError) as raised:
        await client.post("/v1/messages/batches", body=body, cast_to=object)
    told: Any = raised.value.body
    assert told["error"] == {"type": "invalid_request_error", "message": problem}
    assert (await client.messages.batches.list()).data == []
    assert [seen.batch_id for seen in simulator.requests] == [None, None]


async def test_a_batch_may_be_larger_than_a_request_but_not_than_its_own_limit(
    client: AsyncAnthropic, simulator: Simulator
) -> None:
    made = await client.messages.batches.create(requests=messages("overloaded:" + "x" * (MAX_BODY_BYTES + 1)))
    assert (await ended(client, made)).request_counts.errored == 1
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(simulator.url).port)
    head = (
        "POST /v1/messages/batches HTTP/1.1\r\nhost: localhost\r\nx-api-key: any\r\nanthropic-version: 2023-06-01\r\n"
    )
    writer.write(f"{head}content-length: {MAX_BYTES + 1}\r\n\r\n".encode())
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()
