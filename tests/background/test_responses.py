"""OpenAI's own client, and answers of /v1/responses that nobody waits for: at two servers, with real workers."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response
from tests.background.conftest import WORDS, House

pytestmark = pytest.mark.process

BOTH = pytest.mark.parametrize("model", ["same", "other"])
UNDER_WAY = ("queued", "in_progress")


async def ended(client: AsyncOpenAI, response_id: str) -> Response:
    """The response, once it has ended."""
    async with asyncio.timeout(20):
        while (response := await client.responses.retrieve(response_id)).status in UNDER_WAY:  # noqa: ASYNC110 - as callers do
            await asyncio.sleep(0.05)
    return response


@BOTH
async def test_an_answer_is_queued_made_and_had_at_any_server(house: House, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "input": "Count.", "instructions": "Be brief.", "metadata": {"a": "b"}}
    created = await house.client(0).responses.create(background=True, **asked)
    assert (created.status, created.background, created.output) == ("queued", True, [])
    assert (created.instructions, created.metadata, created.model) == ("Be brief.", {"a": "b"}, model)
    waiting = await house.client(1).responses.retrieve(created.id)
    assert (waiting.status, waiting.created_at) == ("queued", created.created_at)
    await house.work()
    whole = await ended(house.client(1), created.id)
    assert (whole.status, whole.output_text, whole.background) == ("completed", "one two three", True)
    assert (whole.id, whole.created_at, whole.instructions) == (created.id, created.created_at, "Be brief.")
    assert whole.usage is not None
    assert whole.usage.output_tokens > 0
    assert len(house.simulator.requests) == 1
    sent: Any = house.simulator.requests[0].body
    assert "background" not in sent
    assert sent["stream"] is True


async def test_a_finished_answer_is_a_stored_one_like_any_other(house: House) -> None:
    await house.work()
    client = house.client(0)
    first = await client.responses.create(model="same", input="Count.", background=True)
    items = await client.responses.input_items.list(first.id)
    assert [item.model_dump()["content"][0]["text"] for item in items.data] == ["Count."]
    await ended(client, first.id)
    second = await client.responses.create(
        model="other", input="And on.", previous_response_id=first.id, background=True
    )
    assert second.previous_response_id == first.id
    assert (await ended(client, second.id)).output_text == "one two three"
    sent: Any = house.simulator.requests[-1].body
    said = [message["role"] for message in sent["messages"]]
    assert said == ["user", "assistant", "user"]
    third = await client.responses.create(model="same", input="Go on.", previous_response_id=second.id)
    assert third.output_text == "one two three"
    items = await client.responses.input_items.list(second.id, order="asc")
    assert len(items.data) == 3
    await client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(first.id)


@BOTH
async def test_a_dropped_stream_is_gone_on_with_at_another_server(house: House, model: str) -> None:
    await house.work()
    events: list[Any] = []
    stream = await house.client(0).responses.create(model=model, input="slowly", background=True, stream=True)
    async for event in stream:
        events.append(event)
        if len(events) == 12:
            break
    await stream.close()
    response_id = events[0].response.id
    house.servers[0].kill()
    rest = await house.client(1).responses.retrieve(response_id, stream=True, starting_after=events[-1].sequence_number)
    events += [event async for event in rest]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:3] == ["response.created", "response.queued", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == WORDS
    assert events[-1].response.output_text == WORDS
    again = await house.client(1).responses.retrieve(response_id, stream=True)
    assert [event.model_dump() async for event in again] == [event.model_dump() for event in events]
    assert len(house.simulator.requests) == 1


async def test_the_sdks_own_stream_puts_the_answer_together(house: House) -> None:
    await house.work()
    async with house.client(0).responses.stream(model="other", input="slowly", background=True) as stream:
        async for _event in stream:
            pass
        final = await stream.get_final_response()
    assert (final.status, final.output_text) == ("completed", WORDS)


async def test_an_answer_that_was_not_to_be_streamed_can_be_read_as_a_stream(house: House) -> None:
    created = await house.client(0).responses.create(model="same", input="Count.", background=True)
    stream = await house.client(1).responses.retrieve(created.id, stream=True)
    await house.work()
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "one two three"
    rest = await house.client(1).responses.retrieve(created.id, stream=True, starting_after=3)
    assert [event.model_dump() async for event in rest] == [event.model_dump() for event in events[4:]]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_cancelled_answer_keeps_what_had_come_and_its_call_ends(house: House, stream: bool) -> None:
    await house.work()
    client = house.client(0)
    made: Any = await client.responses.create(model="same", input="for ever", background=True, stream=stream)
    if stream:
        events = []
        async for event in made:
            events.append(event)
            if len(events) == 12:
                break
        await made.close()
        response_id = events[0].response.id
    else:
        response_id = made.id
    await house.called()
    other = house.client(1)
    began = asyncio.get_running_loop().time()
    cancelled = await other.responses.cancel(response_id)
    seen = await house.call_over()
    assert asyncio.get_running_loop().time() - began < 2.0
    assert (seen.outcome, cancelled.status) == ("client_closed", "cancelled")
    assert cancelled.output_text or not stream
    assert (WORDS * 20).startswith(cancelled.output_text)
    again = await client.responses.cancel(response_id)
    assert again.model_dump() == cancelled.model_dump()
    assert (await client.responses.retrieve(response_id)).model_dump() == cancelled.model_dump()
    if stream:
        rest = [event async for event in await client.responses.retrieve(response_id, stream=True, starting_after=3)]
        assert rest[-1].type == "error"
        assert rest[-1].code == "answer_cancelled"
        told = "".join(event.delta for event in rest if event.type == "response.output_text.delta")
        assert cancelled.output_text.endswith(told)
        assert told


async def test_one_that_waits_is_cancelled_at_once(house: House) -> None:
    created = await house.client(0).responses.create(model="same", input="Count.", background=True)
    assert (await house.client(1).responses.cancel(created.id)).status == "cancelled"
    await house.work()
    later = await house.client(0).responses.create(model="same", input="Count.", background=True)
    await ended(house.client(0), later.id)
    assert len(house.simulator.requests) == 1


async def test_an_answer_that_breaks_has_failed_with_what_had_come(house: House) -> None:
    await house.work()
    stream = await house.client(0).responses.create(model="broken", input="slowly", background=True, stream=True)
    events: list[Any] = [event async for event in stream]
    assert events[-1].type == "response.failed"
    failed = events[-1].response
    assert failed.error.code == "server_error"
    assert failed.output_text
    assert WORDS.startswith(failed.output_text)
    told = await house.client(1).responses.retrieve(failed.id)
    assert told.model_dump() == failed.model_dump()
    with pytest.raises(openai.BadRequestError, match="is failed"):
        await house.client(0).responses.create(model="same", input="Go on.", previous_response_id=failed.id)


@pytest.mark.parametrize(
    ("more", "status", "param"),
    [
        ({"store": False}, 400, "background"),
        ({"previous_response_id": "resp_00000000000000000000000000000000"}, 400, "previous_response_id"),
        ({"model": "no-such/model"}, 404, "model"),
        ({"background": "yes"}, 400, "background"),
        ({"input": ""}, 400, "input"),
    ],
)
async def test_what_cannot_be_done_is_refused_at_once(
    house: House, more: dict[str, Any], status: int, param: str | None
) -> None:
    body = {"model": "same", "input": "Count.", "background": True, **more}
    refused = await house.http().post("/v1/responses", json=body)
    assert refused.status_code == status, refused.text
    assert refused.json()["error"]["param"] == param
    assert (await house.http().get("/api/ai/jobs")).json()["items"] == []


async def test_the_same_key_is_the_same_answer(house: House) -> None:
    key = {"Idempotency-Key": "once"}
    asked: dict[str, Any] = {"model": "same", "input": "Count.", "background": True, "extra_headers": key}
    first = await house.client(0).responses.create(**asked)
    second = await house.client(1).responses.create(**asked)
    assert first.id == second.id
    with pytest.raises(openai.UnprocessableEntityError):
        await house.client(1).responses.create(**{**asked, "input": "Count on."})
    await house.work()
    await ended(house.client(0), first.id)
    assert len(house.simulator.requests) == 1


async def test_a_dropped_stream_that_is_asked_for_again_with_its_key_is_the_same_answer(house: House) -> None:
    await house.work()
    asked: dict[str, Any] = {"model": "same", "input": "slowly", "background": True, "stream": True}
    key = {"Idempotency-Key": "again"}
    first = await house.client(0).responses.create(**asked, extra_headers=key)
    seen: list[Any] = []
    async for event in first:
        seen.append(event)
        if len(seen) == 8:
            break
    await first.close()
    again = [event async for event in await house.client(1).responses.create(**asked, extra_headers=key)]
    assert [event.model_dump() for event in again[:8]] == [event.model_dump() for event in seen]
    assert again[-1].response.output_text == WORDS
    assert len(house.simulator.requests) == 1


async def test_an_answer_under_way_is_not_deleted(house: House) -> None:
    created = await house.client(0).responses.create(model="same", input="Count.", background=True)
    with pytest.raises(openai.ConflictError):
        await house.client(0).responses.delete(created.id)
    await house.client(0).responses.cancel(created.id)
    await house.client(0).responses.delete(created.id)
    with pytest.raises(openai.NotFoundError):
        await house.client(0).responses.retrieve(created.id)
