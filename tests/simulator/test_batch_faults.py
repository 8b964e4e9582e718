"""What goes wrong with batches: items that fail, calls that are refused or lost, results that break off."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from anthropic import APIConnectionError, APIStatusError, AsyncAnthropic, RateLimitError
from openai import AsyncOpenAI
from tests.simulator.batches import lines, messages, until

from waypost.simulator import Simulator, key_hash
from waypost.simulator.batches import CONCURRENCY
from waypost.simulator.dialect import Ids
from waypost.simulator.responses_dialect import RESPONSES

HEADERS = {"x-api-key": "any", "anthropic-version": "2023-06-01"}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=simulator.anthropic_url, api_key="any", max_retries=0, timeout=10) as opened:
        yield opened


@pytest.fixture
async def raw(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=simulator.url, headers=HEADERS, timeout=10) as opened:
        yield opened


async def ended(client: AsyncAnthropic, batch_id: str) -> dict[str, Any]:
    """The results of a batch by their custom ids, once it has ended."""
    await until(lambda: client.messages.batches.retrieve(batch_id), lambda told: told.processing_status == "ended")
    return {each.custom_id: each.result async for each in await client.messages.batches.results(batch_id)}


ITEM_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "the provider's own error": ({"named_error": "rate_limit"}, "rate_limit_error"),
    "a status": ({"status": 529, "message": "Too much."}, "overloaded_error"),
    "a proxy's page": ({"status": 502, "body": "html"}, "api_error"),
    "a page that claims to be good": ({"status": 200, "body": "html"}, "api_error"),
    "a reset": ({"reset_before_headers": True}, "api_error"),
    "a lost reply": ({"reply_lost": True}, "api_error"),
    "half an answer": ({"cut_after_events": 1}, "api_error"),
    "half an answer that claims to be whole": ({"malformed_after_events": 1}, "api_error"),
    "an end too early": ({"end_after_events": 1}, "api_error"),
    "an error instead": ({"error_after_events": 1}, "overloaded_error"),
}


@pytest.mark.parametrize("what", ITEM_FAULTS)
async def test_a_rules_fault_makes_one_item_fail(client: AsyncAnthropic, simulator: Simulator, what: str) -> None:
    fault, kind = ITEM_FAULTS[what]
    simulator.use({"rules": [{"match": {"batched": True, "contains": "two"}, "fault": fault}]})
    made = await client.messages.batches.create(requests=messages("one", "two", "three"))
    found = await ended(client, made.id)
    assert {name: result.type for name, result in found.items()} == {
        "c0": "succeeded",
        "c1": "errored",
        "c2": "succeeded",
    }
    assert found["c1"].error.error.type == kind
    (seen,) = (each for each in simulator.requests if each.custom_id == "c1")
    assert (seen.rule, seen.fault, seen.outcome) == (1, next(iter(fault)), "fault")


async def test_items_take_the_turns_of_a_rule_in_their_order(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.use({"rules": [{"times": 2, "fault": {"status": 500}}]})
    made = await client.messages.batches.create(requests=messages(*"abcd"))
    found = await ended(client, made.id)
    assert [found[f"c{place}"].type for place in range(4)] == ["errored", "errored", "succeeded", "succeeded"]


async def test_a_rule_may_be_for_requests_that_came_by_themselves(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.use({"rules": [{"match": {"batched": False}, "fault": {"status": 500}}]})
    made = await client.messages.batches.create(requests=messages("one"))
    assert (await ended(client, made.id))["c0"].type == "succeeded"
    with pytest.raises(APIStatusError):
        await client.messages.create(**messages("one")[0]["params"])


async def test_an_item_that_is_never_answered_expires_with_its_batch(
    client: AsyncAnthropic, simulator: Simulator
) -> None:
    simulator.use({"batches": [{"expires_s": 0.2}]})
    made = await client.messages.batches.create(requests=messages("one", "silence:two", "stall-1:three"))
    found = await ended(client, made.id)
    assert {name: result.type for name, result in found.items()} == {
        "c0": "succeeded",
        "c1": "expired",
        "c2": "expired",
    }
    assert {seen.custom_id: seen.outcome for seen in simulator.requests if seen.custom_id} == {
        "c0": "completed",
        "c1": "stopped",
        "c2": "stopped",
    }


async def test_so_many_items_are_asked_at_a_time(client: AsyncAnthropic, simulator: Simulator) -> None:
    made = await client.messages.batches.create(requests=messages(*["silence:hi"] * (CONCURRENCY + 5)))
    await simulator.request(1 + CONCURRENCY, ended=False)
    await client.messages.batches.retrieve(made.id)
    assert [seen.custom_id for seen in simulator.requests if seen.batch_id] == [f"c{n}" for n in range(CONCURRENCY)]
    await client.messages.batches.cancel(made.id)
    assert {result.type for result in (await ended(client, made.id)).values()} == {"canceled"}


async def test_an_item_is_in_the_ledger_as_its_makers_and_is_no_retry(
    client: AsyncAnthropic, simulator: Simulator
) -> None:
    made = await client.messages.batches.create(
        requests=messages(*["overloaded:the same"] * 7), extra_headers={"x-secret": "hush", "idempotency-key": "k"}
    )
    await ended(client, made.id)
    items = [seen for seen in simulator.requests if seen.batch_id == made.id]
    assert [seen.custom_id for seen in items] == [f"c{number}" for number in range(7)]
    item = items[0]
    assert (item.method, item.path, item.dialect, item.model) == ("POST", "/v1/messages", "anthropic", "overloaded")
    assert (item.status, item.fault, item.key_hash) == (529, "named_error", key_hash("any"))
    assert item.body == messages("overloaded:the same")[0]["params"]
    assert item.headers["x-secret"] == "***"
    assert not {"content-length", "content-type", "idempotency-key"} & set(item.headers)
    (verdict,) = simulator.verdicts
    assert verdict.is_good
    assert verdict.requests == len(simulator.requests) - 7


async def test_a_batch_does_not_use_up_the_limits_of_requests(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.use({"limits": {"requests_per_minute": 1}})
    made = await client.messages.batches.create(requests=messages("one", "two", "three"))
    assert {result.type for result in (await ended(client, made.id)).values()} == {"succeeded"}
    await client.messages.create(**messages("one")[0]["params"])
    with pytest.raises(RateLimitError):
        await client.messages.create(**messages("one")[0]["params"])


async def test_making_a_batch_is_refused_once_and_then_works(client: AsyncAnthropic, simulator: Simulator) -> None:
    path = "/v1/messages/batches"
    rule = {"match": {"path": path, "method": "POST"}, "times": 1, "fault": {"status": 429, "retry_after_s": 3}}
    simulator.use({"rules": [rule]})
    with pytest.raises(RateLimitError) as raised:
        await client.messages.batches.create(requests=messages("one"))
    assert raised.value.response.headers["retry-after"] == "3"
    assert (await client.messages.batches.list()).data == []
    await client.messages.batches.create(requests=messages("one"))
    assert [seen.rule for seen in simulator.requests if seen.path == path] == [1, None, None]


async def test_a_rule_without_a_path_is_not_for_calls_about_batches(
    client: AsyncAnthropic, simulator: Simulator
) -> None:
    simulator.use(
        {"rules": [{"fault": {"status": 500}}, {"match": {"path": "*", "model": "*"}, "fault": {"status": 500}}]}
    )
    made = await client.messages.batches.create(requests=messages("one"))
    assert (await ended(client, made.id))["c0"].type == "errored"


async def test_a_batch_whose_reply_is_lost_was_made(client: AsyncAnthropic, simulator: Simulator) -> None:
    lost = {"x-waypost-simulate": json.dumps({"reply_lost": True})}
    with pytest.raises(APIConnectionError):
        await client.messages.batches.create(requests=messages("one"), extra_headers=lost)
    seen = await simulator.request(1)
    assert (seen.fault, seen.status, seen.outcome) == ("reply_lost", None, "fault")
    (made,) = (await client.messages.batches.list()).data
    assert (await ended(client, made.id))["c0"].type == "succeeded"


async def test_a_batch_whose_call_is_reset_was_not_made(client: AsyncAnthropic) -> None:
    reset = {"x-waypost-simulate": json.dumps({"reset_before_headers": True})}
    with pytest.raises(APIConnectionError):
        await client.messages.batches.create(requests=messages("one"), extra_headers=reset)
    assert (await client.messages.batches.list()).data == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_whose_reply_is_lost_was_kept(simulator: Simulator, stream: bool) -> None:
    async with AsyncOpenAI(base_url=simulator.openai_url, api_key="any", max_retries=0, timeout=10) as client:
        with pytest.raises(Exception, match="Connection error"):
            await client.responses.create(model="reply-lost", input="hi", stream=stream)
        kept = await client.responses.retrieve(RESPONSES.response_id(Ids(0, 1)))
    assert kept.output_text == "You said: hi"


RESULTS = {"path": "/v1/messages/batches/*/results"}


async def results_after(
    client: AsyncAnthropic, simulator: Simulator, raw: httpx.AsyncClient, fault: dict[str, Any]
) -> tuple[bytes, bool, str]:
    """What arrives of the results of three items, whether the connection broke, and where to ask again."""
    made = await client.messages.batches.create(requests=messages("one", "two", "three"))
    await until(lambda: client.messages.batches.retrieve(made.id), lambda told: told.processing_status == "ended")
    simulator.use({"rules": [{"match": RESULTS, "times": 1, "fault": fault}]})
    url, got = f"/v1/messages/batches/{made.id}/results", b""
    try:
        async with raw.stream("GET", url) as reply:
            async for data in reply.aiter_bytes():
                got += data
    except httpx.TransportError:
        return got, True, url
    return got, False, url


@pytest.mark.parametrize(
    ("fault", "whole_lines", "is_broken", "has_rest"),
    [
        ({"cut_after_events": 2}, 2, True, False),
        ({"cut_after_events": 1, "inside": "event"}, 1, True, True),
        ({"end_after_events": 2}, 2, False, False),
        ({"malformed_after_events": 1}, 2, False, True),
        ({"error_after_events": 1}, 2, False, False),
    ],
)
async def test_results_break_off_once_and_are_whole_when_asked_for_again(
    client: AsyncAnthropic,
    simulator: Simulator,
    raw: httpx.AsyncClient,
    fault: dict[str, Any],
    whole_lines: int,
    is_broken: bool,
    has_rest: bool,
) -> None:
    got, broke, url = await results_after(client, simulator, raw, fault)
    assert broke == is_broken
    told = [_is_json(line) for line in got.splitlines()]
    assert (told.count(True), told.count(False)) == (whole_lines, int(has_rest))
    again = await raw.get(url)
    assert again.headers["content-type"] == "application/x-jsonl"
    assert len({json.loads(line)["custom_id"] for line in again.text.splitlines()}) == 3


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("fault", "status"),
    [({"status": 503}, 503), ({"named_error": "not_found"}, 404), ({"status": 502, "body": "html"}, 502)],
)
async def test_asking_after_a_batch_fails_as_asked(
    client: AsyncAnthropic, raw: httpx.AsyncClient, fault: dict[str, Any], status: int
) -> None:
    made = await client.messages.batches.create(requests=messages("one"))
    url = f"/v1/messages/batches/{made.id}"
    assert (await raw.get(url, headers={"x-waypost-simulate": json.dumps(fault)})).status_code == status
    half = await raw.get(url, headers={"x-waypost-simulate": '{"malformed_after_events": 1}'})
    assert half.status_code == 200
    assert not _is_json(half.content)
    assert (await raw.get(url)).json()["id"] == made.id


async def test_batches_ask_for_a_key_and_a_version(raw: httpx.AsyncClient) -> None:
    url = "/v1/messages/batches"
    for headers, status in (
        ({"x-api-key": ""}, 401),
        ({"x-api-key": "invalid"}, 401),
        ({"anthropic-version": ""}, 400),
    ):
        assert (await raw.get(url, headers=headers)).status_code == status
    assert (await raw.put(url)).status_code == 405
    assert (await raw.get("/v1/files", headers={"authorization": ""})).json()["error"][
        "type"
    ] == "invalid_request_error"


async def test_a_batch_goes_on_after_the_simulator_was_away(client: AsyncAnthropic, simulator: Simulator) -> None:
    simulator.use({"batches": [{"takes_polls": 1}]})
    made = await client.messages.batches.create(requests=messages("one", "silence:two"))
    await simulator.request(2)
    await simulator.close()
    await simulator.start()
    assert (await client.messages.batches.retrieve(made.id)).processing_status == "in_progress"
    await client.messages.batches.cancel(made.id)
    found = await ended(client, made.id)
    assert (found["c0"].type, found["c1"].type) == ("succeeded", "canceled")


async def test_a_lost_file_and_a_batch_that_takes_too_long_to_be_told(simulator: Simulator) -> None:
    """OpenAI's calls fail by the same rules."""
    simulator.use(
        {
            "rules": [
                {"match": {"path": "/v1/files", "method": "POST"}, "times": 1, "fault": {"reply_lost": True}},
                {"match": {"path": "/v1/batches"}, "times": 1, "fault": {"first_token_s": 0.5}},
            ]
        }
    )
    async with AsyncOpenAI(base_url=simulator.openai_url, api_key="any", max_retries=0, timeout=0.2) as client:
        with pytest.raises(Exception, match="Connection error"):
            await client.files.create(file=("a.jsonl", lines("one")), purpose="batch")
        (file,) = (await client.files.list()).data
        asked: Any = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        with pytest.raises(Exception, match="timed out"):
            await client.batches.create(**asked)
        assert (await client.batches.list()).data == []
        assert (await client.batches.create(**asked)).status == "validating"
