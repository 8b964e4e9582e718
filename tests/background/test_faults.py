"""Workers that die, keys that are revoked and budgets that are spent while an answer is made in the background."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from tests.background.conftest import WORDS, House, waits_for
from tests.jobs.workers import all_jobs

from waypost.codecs.sse import SseDecoder, SseEvent
from waypost.doors.background import job_id_of
from waypost.store.database import Database

pytestmark = pytest.mark.process

ADMIN = "an-admin-key-of-some-length"
KEYED = {"keys": {"admin": {"key": ADMIN, "admin": True}}}


async def test_an_answer_whose_worker_is_killed_begins_anew_and_no_reader_gets_both(
    house: House, database: Database
) -> None:
    await house.work(0)
    stream = await house.client(0).responses.create(model="other", input="slowly", background=True, stream=True)
    events: list[Any] = []
    async for event in stream:
        events.append(event)
        if len(events) == 12:
            house.workers[0].kill()
            await house.work(1)
    response_id, last = events[0].response.id, events[-1]
    assert (last.type, last.code) == ("error", "stream_restarted")
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    void = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert void
    assert void != WORDS
    client = house.client(1)
    for after in (None, last.sequence_number):
        known = {} if after is None else {"starting_after": after}
        anew = [event async for event in await client.responses.retrieve(response_id, stream=True, **known)]
        assert [event.sequence_number for event in anew] == list(
            range(last.sequence_number + 1, last.sequence_number + 1 + len(anew))
        )
        assert (anew[0].type, anew[-1].type) == ("response.created", "response.completed")
        assert "".join(event.delta for event in anew if event.type == "response.output_text.delta") == WORDS
    old = [event async for event in await client.responses.retrieve(response_id, stream=True, starting_after=3)]
    assert [(event.type, event.sequence_number) for event in old] == [("error", last.sequence_number)]
    assert (await client.responses.retrieve(response_id)).output_text == WORDS
    job = next(job for job in all_jobs(database) if job.id == job_id_of(response_id))
    assert (job.state, job.possibly_paid_twice) == ("succeeded", 1)
    assert len(house.simulator.requests) == 2


async def test_a_native_stream_says_that_it_begins_anew_and_goes_on(house: House) -> None:
    await house.work(0)
    told: list[SseEvent] = []
    body = {"model": "other", "prompt": "slowly", "background": True, "stream": True}
    async with house.http().stream("POST", "/api/ai/generate", json=body) as reply:
        stream_id = reply.headers["x-waypost-response-id"]
        decoder = SseDecoder()
        async for piece in reply.aiter_bytes():
            told += decoder.feed(piece)
            if len(told) >= 8 and house.workers[1].process is None:
                house.workers[0].kill()
                await house.work(1)
    names = [event.event for event in told]
    assert names.count("restart") == 1
    assert names[-1] == "done"
    again = told[names.index("restart") + 1 :]
    assert again[0].event == "start"
    assert "".join(_text(event) for event in again if event.event == "delta") == WORDS
    numbers = [int(event.id.rpartition(".")[2]) for event in told]
    assert numbers == sorted(set(numbers))
    path = f"/api/ai/responses/{stream_id}/events"
    old = await house.http(1).get(path, headers={"last-event-id": told[2].id})
    assert SseDecoder().feed(old.content) == told[names.index("restart") :]
    fresh = await house.http(1).get(path)
    assert SseDecoder().feed(fresh.content) == again


def _text(event: SseEvent) -> str:
    import msgspec

    text: str = msgspec.json.decode(event.data)["text"]
    return text


@pytest.mark.parametrize("house", [KEYED], indirect=True)
async def test_a_key_that_is_revoked_meanwhile_makes_the_answer_fail(house: House) -> None:
    admin, key, key_id = await _key(house)
    created = await house.http().post("/v1/responses", json=ASKED, headers=key)
    assert created.status_code == 200, created.text
    revoked = await house.http().delete(f"/api/admin/keys/{key_id}", headers=admin)
    assert revoked.status_code < 300, revoked.text
    await house.work()
    job = f"/api/admin/jobs/{job_id_of(created.json()['id'])}"
    async with asyncio.timeout(20):
        while (told := (await house.http().get(job, headers=admin)).json())["state"] != "failed":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert told["error"]["code"] == "not_allowed"
    assert not house.simulator.requests


@pytest.mark.parametrize("house", [KEYED], indirect=True)
async def test_an_answer_that_may_cost_more_than_there_is_fails_with_the_reason(house: House) -> None:
    _, key, _ = await _key(house, daily_budget_usd=0.000001)
    tight = await house.http().post("/v1/responses", json=ASKED, headers=key)
    assert tight.status_code == 200, tight.text
    await house.work()
    path = f"/v1/responses/{tight.json()['id']}"
    async with asyncio.timeout(20):
        while (told := (await house.http().get(path, headers=key)).json())["status"] != "failed":  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert (told["error"]["code"], told["error"]["type"]) == ("rate_limit_exceeded", "insufficient_quota")
    assert not house.simulator.requests


ASKED = {"model": "same", "input": "Count.", "background": True}


async def _key(house: House, **more: Any) -> tuple[dict[str, str], dict[str, str], str]:
    """The headers of an administrator and of a new key, and that key's id."""
    admin = {"authorization": f"Bearer {ADMIN}"}
    http: httpx.AsyncClient = house.http()
    project = await http.post("/api/admin/projects", json={"name": "apps"}, headers=admin)
    assert project.status_code < 300, project.text
    project_id = project.json()["id"]
    made = await http.post("/api/admin/keys", json={"name": "app", "project_id": project_id, **more}, headers=admin)
    assert made.status_code < 300, made.text
    told = made.json()
    return admin, {"authorization": f"Bearer {told['key']}"}, told["id"]


async def test_a_worker_that_is_told_to_end_lets_the_answer_come_and_another_tells_the_end(house: House) -> None:
    await house.work(0)
    stream = await house.client().responses.create(model="same", input="slowly", background=True, stream=True)
    events: list[Any] = []
    async for event in stream:
        events.append(event)
        if len(events) == 5:
            process = house.workers[0].process
            assert process is not None
            process.terminate()
            await house.work(1)
    assert events[-1].type == "response.completed"
    await waits_for(lambda: house.workers[0].process_ended)
    assert len(house.simulator.requests) == 1
