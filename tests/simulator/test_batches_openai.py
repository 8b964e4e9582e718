"""OpenAI's batches and files with the official client, over a real socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, ConflictError, NotFoundError
from openai.types import Batch
from tests.simulator.batches import jsonl, line, lines, until

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


async def test_answers_and_errors_stand_in_files_of_their_own(client: AsyncOpenAI) -> None:
    items = [line("good", "one"), line("streamed", "two"), line("bad", "three")]
    items[1]["body"]["stream"] = True
    del items[2]["body"]["messages"]
    over = await ended(client, await made(client, jsonl(items)))
    assert over.request_counts is not None
    assert over.request_counts.model_dump() == {"total": 3, "completed": 1, "failed": 2}
    assert set(await written(client, over.output_file_id)) == {"good"}
    errors = await written(client, over.error_file_id)
    assert {name: each["response"]["status_code"] for name, each in errors.items()} == {"streamed": 400, "bad": 400}
    assert errors["streamed"]["response"]["body"]["error"]["param"] == "stream"


@pytest.mark.parametrize(
    ("endpoint", "body", "shown"),
    [
        ("/v1/responses", {"input": "hi"}, ("output", 0, "content", 0, "text")),
        ("/v1/embeddings", {"input": ["hi", "ho"]}, ("data", 1, "object")),
        ("/v1/moderations", {"input": "violence"}, ("results", 0, "flagged")),
    ],
)
async def test_a_batch_may_go_to_other_endpoints(
    client: AsyncOpenAI, endpoint: str, body: dict[str, Any], shown: tuple[Any, ...]
) -> None:
    item = line("a", "", url=endpoint, body={"model": "simulated", **body})
    over = await ended(client, await made(client, jsonl([item]), endpoint=endpoint))
    value = (await written(client, over.output_file_id))["a"]["response"]["body"]
    for step in shown:
        value = value[step]
    assert value in ("You said: hi", "embedding", True)


async def test_a_batch_is_validated_in_progress_finalizing_and_completed(
    client: AsyncOpenAI, simulator: Simulator
) -> None:
    simulator.use({"batches": [{"takes_polls": 3}]})
    batch = await made(client, lines("one"))
    seen = [batch, *[await client.batches.retrieve(batch.id) for _ in range(4)]]
    assert [told.status for told in seen] == ["validating", "in_progress", "in_progress", "finalizing", "completed"]
    assert [told.output_file_id is None for told in seen] == [True, True, True, True, False]
    assert [told.usage is None for told in seen] == [True, True, True, True, False]


async def test_a_cancelled_batch_writes_what_was_answered_and_what_was_not(
    client: AsyncOpenAI, simulator: Simulator
) -> None:
    simulator.use({"batches": [{"answers": 1, "cancel_polls": 1}]})
    batch = await made(client, lines("one", "two"))
    await simulator.request(3)
    cancelling = await client.batches.cancel(batch.id)
    assert (cancelling.status, cancelling.cancelled_at) == ("cancelling", None)
    assert cancelling.cancelling_at is not None
    seen = [await client.batches.retrieve(batch.id) for _ in range(2)]
    assert [told.status for told in seen] == ["cancelling", "cancelled"]
    over = seen[1]
    assert over.request_counts is not None
    assert over.request_counts.model_dump() == {"total": 2, "completed": 1, "failed": 0}
    assert set(await written(client, over.output_file_id)) == {"c0"}
    left = (await written(client, over.error_file_id))["c1"]
    assert (left["response"], left["error"]["code"]) == (None, "batch_cancelled")
    assert (await client.batches.cancel(batch.id)).status == "cancelled"


async def test_an_expired_batch_writes_what_was_answered_and_what_was_not(
    client: AsyncOpenAI, simulator: Simulator
) -> None:
    simulator.use({"batches": [{"answers": 1, "expires_s": 0.2}]})
    over = await ended(client, await made(client, lines("one", "two")))
    assert (over.status, over.completed_at) == ("expired", None)
    assert over.expired_at is not None
    assert set(await written(client, over.output_file_id)) == {"c0"}
    left = (await written(client, over.error_file_id))["c1"]
    assert (left["response"], left["error"]["code"]) == (None, "batch_expired")
    with pytest.raises(ConflictError, match="Cannot cancel a batch with status 'expired'"):
        await client.batches.cancel(batch_id=over.id)


OTHER_MODEL = line("b", "two", model="other")
PROBLEMS: dict[str, tuple[bytes, list[tuple[str, str | None, int | None]]]] = {
    "nothing": (b"\n", [("empty_file", None, None)]),
    "lines that are not JSON": (
        b'{"custom_id": \n[]\n',
        [("invalid_json_line", None, 1), ("invalid_json_line", None, 2)],
    ),
    "no name": (jsonl([line("", "one")]), [("missing_required_parameter", "custom_id", 1)]),
    "no body": (jsonl([line("a", "one", body=None)]), [("missing_required_parameter", "body", 1)]),
    "no model": (jsonl([line("a", "one", body={"x": 1})]), [("missing_required_parameter", "body.model", 1)]),
    "a wrong type": (jsonl([{**line("a", "one"), "custom_id": 3}]), [("invalid_type", "custom_id", 1)]),
    "another method": (jsonl([line("a", "one", method="GET")]), [("invalid_method", "method", 1)]),
    "another endpoint": (jsonl([line("a", "one", url="/v1/embeddings")]), [("url_mismatch", "url", 1)]),
    "a name twice": (jsonl([line("a", "one"), line("a", "two")]), [("duplicate_custom_id", "custom_id", 2)]),
    "two models": (jsonl([line("a", "one"), OTHER_MODEL]), [("model_mismatch", "body.model", 2)]),
    "too many lines": (b"{}\n" * 50_001, [("too_many_tasks", None, None)]),
}


@pytest.mark.parametrize("what", PROBLEMS)
async def test_a_batch_with_a_wrong_line_fails_and_nothing_is_asked(
    client: AsyncOpenAI, simulator: Simulator, what: str
) -> None:
    content, problems = PROBLEMS[what]
    batch = await made(client, content)
    assert (batch.status, batch.errors) == ("validating", None)
    over = await ended(client, batch)
    assert (over.status, over.output_file_id, over.error_file_id) == ("failed", None, None)
    assert over.failed_at is not None
    assert over.errors is not None
    told = over.errors.data or []
    assert [(each.code, each.param, each.line) for each in told] == problems
    assert all(each.message for each in told)
    assert {seen.batch_id for seen in simulator.requests} == {None}


async def test_a_good_batch_may_not_be_taken_on(client: AsyncOpenAI, simulator: Simulator) -> None:
    simulator.use({"batches": [{"fails": "token_limit_exceeded", "times": 1}]})
    over = await ended(client, await made(client, lines("one")))
    assert (over.status, over.request_counts and over.request_counts.total) == ("failed", 0)
    assert over.errors is not None
    assert [(each.code, each.line) for each in over.errors.data or []] == [("token_limit_exceeded", None)]
    assert (await ended(client, await made(client, lines("one")))).status == "completed"


async def test_embeddings_are_counted_over_all_requests_of_a_batch(client: AsyncOpenAI) -> None:
    bodies = [
        {"model": "m", "input": ["x"] * 25_000},
        {"model": "m", "input": ["x"] * 25_000},
        {"model": "m", "input": "x"},
    ]
    items = [line(str(number), "", url="/v1/embeddings", body=body) for number, body in enumerate(bodies)]
    over = await ended(client, await made(client, jsonl(items), endpoint="/v1/embeddings"))
    assert over.errors is not None
    assert [each.code for each in over.errors.data or []] == ["too_many_tasks"]


@pytest.mark.parametrize(
    ("changed", "param", "problem"),
    [
        ({"input_file_id": ""}, "input_file_id", "Missing required parameter: 'input_file_id'."),
        ({"input_file_id": "file-none"}, "input_file_id", "No such File object: file-none"),
        ({"endpoint": "/v1/completions"}, "endpoint", "Invalid value: '/v1/completions'."),
        ({"completion_window": "1h"}, "completion_window", "Invalid value: '1h'. Supported values are: '24h'."),
        ({"metadata": {"a": "b" * 513}}, "metadata", "Invalid 'metadata'"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata", "Invalid 'metadata'"),
    ],
)
async def test_a_batch_that_cannot_be_made_is_refused(
    client: AsyncOpenAI, changed: dict[str, Any], param: str, problem: str
) -> None:
    file = await client.files.create(file=("input.jsonl", lines("one")), purpose="batch")
    asked: Any = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h", **changed}
    with pytest.raises(BadRequestError) as raised:
        await client.batches.create(**asked)
    assert raised.value.param == param
    assert problem in raised.value.message
    assert (await client.batches.list()).data == []


async def test_a_file_of_another_purpose_is_no_input(client: AsyncOpenAI) -> None:
    file = await client.files.create(file=("input.jsonl", lines("one")), purpose="user_data")
    with pytest.raises(BadRequestError, match="Invalid file purpose: 'user_data'"):
        await client.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h")
    with pytest.raises(BadRequestError, match="Not allowed to download files of purpose: user_data"):
        await client.files.content(file.id)


async def test_batches_are_listed_page_by_page_the_newest_first(client: AsyncOpenAI) -> None:
    ids = [(await made(client, lines(f"batch {number}"))).id for number in range(3)]
    assert [batch.id async for batch in client.batches.list(limit=2)] == ids[::-1]
    first = await client.batches.list(limit=2)
    assert ([batch.id for batch in first.data], first.has_more) == ([ids[2], ids[1]], True)
    assert (await client.batches.list(after=ids[0])).data == []
    with pytest.raises(BadRequestError, match="limit"):
        await client.batches.list(limit=101)


async def test_a_batch_that_is_not_there_is_not_found(client: AsyncOpenAI) -> None:
    for ask in (client.batches.retrieve, client.batches.cancel):
        with pytest.raises(NotFoundError, match="No batch found with id 'batch_none'"):
            await ask("batch_none")


async def test_files_are_told_listed_read_and_deleted(client: AsyncOpenAI) -> None:
    content = bytes(range(256)) + b"\r\nlast"
    first = await client.files.create(
        file=("a.jsonl", content), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3_600}
    )
    second = await client.files.create(file=("b.txt", b"b"), purpose="vision")
    assert first.expires_at == first.created_at + 3_600
    assert second.expires_at is None
    assert await client.files.retrieve(first.id) == first
    assert (await client.files.content(first.id)).content == content
    assert [file.id async for file in client.files.list(limit=1)] == [second.id, first.id]
    assert [file.id async for file in client.files.list(order="asc")] == [first.id, second.id]
    assert [file.id async for file in client.files.list(purpose="vision")] == [second.id]
    gone = await client.files.delete(first.id)
    assert (gone.id, gone.object, gone.deleted) == (first.id, "file", True)
    for ask in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(NotFoundError, match="No such File object"):
            await ask(first.id)


async def test_an_upload_of_a_wrong_purpose_format_or_life_is_refused(client: AsyncOpenAI) -> None:
    unknown: Any = "fun"
    with pytest.raises(BadRequestError, match="'fun' is not one of"):
        await client.files.create(file=("a", b"a"), purpose=unknown)
    with pytest.raises(BadRequestError, match=r"Must be \.jsonl"):
        await client.files.create(file=("a.json", b"a"), purpose="batch")
    with pytest.raises(BadRequestError, match="expires_after"):
        await client.files.create(
            file=("a.jsonl", b"a"), purpose="batch", expires_after={"anchor": "created_at", "seconds": 60}
        )


async def test_files_that_a_batch_writes_live_as_long_as_it_says(client: AsyncOpenAI) -> None:
    batch = await made(client, lines("one"), output_expires_after={"anchor": "created_at", "seconds": 7_200})
    file = await client.files.retrieve((await ended(client, batch)).output_file_id or "")
    assert file.expires_at == file.created_at + 7_200
