"""POST /api/ai/generate with `background: true`: a job, whose stream can be read from any server."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.background.conftest import WORDS, House

from waypost.codecs.sse import SseDecoder

pytestmark = pytest.mark.process

GENERATE = "/api/ai/generate"


async def test_an_answer_is_a_job_and_its_result_the_whole_answer(house: House) -> None:
    body = {"model": "other", "prompt": "Count.", "background": True, "max_tokens": 100}
    reply = await house.http().post(GENERATE, json=body)
    told = reply.json()
    assert (reply.status_code, told["status"], told["url"]) == (202, "processing", f"/api/ai/jobs/{told['job_id']}")
    await house.work()
    job = (await house.http(1).get(f"{told['url']}?wait=20")).json()
    assert (job["state"], job["type"]) == ("succeeded", "generate")
    result = job["result"]
    assert (result["content"], result["finish_reason"], result["provider"]) == ("one two three", "stop", "at-claude")
    assert result["cost_usd"] == job["cost_usd"] > 0
    whole = (await house.http().post(GENERATE, json={"model": "other", "prompt": "Count."})).json()
    assert result.keys() == whole.keys()
    events = SseDecoder().feed((await house.http(1).get(told["events_url"])).content)
    assert [event.event for event in events][0 :: len(events) - 1] == ["start", "done"]
    assert "".join(_data(event)["text"] for event in events if event.event == "delta") == "one two three"
    assert _data(events[-1]) == {name: value for name, value in result.items() if name not in TEXTS}
    ended = await house.http().get(told["events_url"], headers={"last-event-id": events[-1].id})
    assert ended.status_code == 204


TEXTS = ("content", "reasoning", "refusal")


def _data(event: Any) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.json.decode(event.data)
    return data


async def test_a_stream_is_gone_on_with_at_another_server(house: House) -> None:
    await house.work()
    body = {"model": "same", "prompt": "slowly", "background": True, "stream": True}
    seen: list[Any] = []
    async with house.http().stream("POST", GENERATE, json=body) as reply:
        stream_id, decoder = reply.headers["x-waypost-response-id"], SseDecoder()
        async for piece in reply.aiter_bytes():
            seen += decoder.feed(piece)
            if len(seen) >= 6:
                break
    path = f"/api/ai/responses/{stream_id}/events"
    rest = await house.http(1).get(path, headers={"last-event-id": seen[-1].id})
    seen += SseDecoder().feed(rest.content)
    assert [event.id for event in seen] == [f"{stream_id}.{number}" for number in range(len(seen))]
    assert "".join(_data(event)["text"] for event in seen if event.event == "delta") == WORDS
    assert seen[-1].event == "done"
    assert len(house.simulator.requests) == 1


async def test_a_cancelled_stream_ends_with_an_error_and_the_job_keeps_what_had_come(house: House) -> None:
    await house.work()
    body = {"model": "same", "prompt": "for ever", "background": True, "stream": True}
    seen: list[Any] = []
    async with house.http().stream("POST", GENERATE, json=body) as reply:
        stream_id, decoder = reply.headers["x-waypost-response-id"], SseDecoder()
        async for piece in reply.aiter_bytes():
            before, seen = len(seen), seen + list(decoder.feed(piece))
            if before < 6 <= len(seen):
                cancelled = await house.http(1).delete(f"/api/ai/responses/{stream_id}")
                assert cancelled.status_code == 204
    assert seen[-1].event == "error"
    assert _data(seen[-1])["error"]["code"] == "answer_cancelled"
    assert (await house.call_over()).outcome == "client_closed"
    job = (await house.http().get(f"/api/ai/jobs/{stream_id.replace('resp', 'job')}")).json()
    assert job["state"] == "cancelled"
    text = "".join(_data(event)["text"] for event in seen if event.event == "delta")
    assert job["result"]["content"] == text
    assert job["result"]["complete"] is False
    assert job["cost_usd"] > 0, "what had come was paid"


async def test_what_no_database_keeps_is_no_error(house: House) -> None:
    body = {"model": "same", "prompt": "nul \0 here", "background": True}
    assert (await house.http().post(GENERATE, json=body)).status_code == 202
    body = {"model": "same", "input": "Count.", "instructions": "nul \0 here", "background": True}
    assert (await house.http().post("/v1/responses", json=body)).status_code == 200
