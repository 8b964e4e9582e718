"""What is asked again through a front door: with an idempotency key, or in the very same words."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import anthropic
import httpx
import openai
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from tests.server.gated import KEYS, becomes, shows

from waypost.app import build
from waypost.settings import Settings
from waypost.simulator import Simulator

SCRIPT = {
    "rules": [
        {"match": {"contains": "cut"}, "fault": {"cut_after_events": 4}},
        {"match": {"contains": "slow"}, "pacing": {"first_token_s": 0.3, "token_interval_s": 0.05}},
    ]
}
POLICY = {"max_retries": 0, "recover": False}
TURN = [{"role": "user", "content": "one two"}]
Live = Callable[[Any], AbstractContextManager[Any]]


def settings_of(simulator: Simulator) -> Settings:
    cache = {"ttl_s": 60, "max_bytes": 1_000_000}
    return Settings.model_validate(
        {
            "providers": {
                "gpt": {"kind": "openai", "api_key": "key-of-gpt", "base_url": simulator.openai_url},
                "claude": {"kind": "anthropic", "api_key": "key-of-claude", "base_url": simulator.url},
            },
            "routes": {
                "plain": {"targets": ["gpt/gpt-simulated"], "policy": POLICY},
                "gpt-kept": {"targets": ["gpt/gpt-simulated"], "policy": POLICY, "cache": cache},
                "claude-kept": {"targets": ["claude/claude-simulated"], "policy": POLICY, "cache": cache},
            },
            "aliases": {"nick": "short", "short": "gpt-kept"},
            "keys": {name: {"key": key} for name, key in KEYS.items()},
        }
    )


@dataclass(frozen=True)
class Doors:
    """A caller of a server with caches, and the simulator behind it."""

    http: httpx.AsyncClient
    simulator: Simulator
    running: Any

    async def ask(self, path: str, body: dict[str, Any], caller: str = "ann", **headers: str) -> httpx.Response:
        return await self.http.post(path, json=body, headers={**shows(caller), **headers})

    async def chat(
        self, model: str, text: str = "one two", *, stream: bool = False, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}
        return await self.ask("/v1/chat/completions", body, **(headers or {}))

    @property
    def calls(self) -> int:
        return len(self.simulator.requests)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(SCRIPT) as running:
        yield running


@pytest.fixture
def running(simulator: Simulator, live: Live) -> Iterator[Any]:
    with live(build(settings_of(simulator))) as running:
        yield running


@pytest.fixture
async def doors(simulator: Simulator, running: Any) -> AsyncIterator[Doors]:
    async with httpx.AsyncClient(base_url=running.url, timeout=20) as http:
        yield Doors(http, simulator, running)


def asked(path: str, model: str, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """The same question at a door's path."""
    if path == "gemini":
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{model}:{method}", {"contents": [{"role": "user", "parts": [{"text": "one two"}]}]}
    if path == "gemini array":
        method = "streamGenerateContent" if stream else "generateContent"
        return f"/v1beta/models/{model}:{method}", {"contents": [{"role": "user", "parts": [{"text": "one two"}]}]}
    # A stored answer has an id of its own, whether or not it was made anew.
    responses = {"input": "one two", "store": False}
    turns = responses if path == "/v1/responses" else {"messages": TURN, "max_tokens": 50}
    return path, {"model": model, "stream": stream, **turns}


PATHS = ["/v1/chat/completions", "/v1/responses", "/v1/messages", "gemini", "gemini array"]
EVERY_DOOR = pytest.mark.parametrize("path", PATHS)
FORMS = pytest.mark.parametrize("stream", [False, True])


def cached(reply: httpx.Response) -> str | None:
    assert reply.status_code == 200, reply.text
    found: str | None = reply.headers.get("x-waypost-cache")
    return found


@EVERY_DOOR
@FORMS
@pytest.mark.parametrize("model", ["gpt-kept", "claude-kept"])
async def test_the_same_words_again_are_a_hit(doors: Doors, path: str, model: str, stream: bool) -> None:
    """From a provider of the caller's dialect or of another, as one piece or as a stream."""
    url, body = asked(path, model, stream=stream)
    first, second = await doors.ask(url, body), await doors.ask(url, body)
    assert (cached(first), cached(second), doors.calls) == ("miss", "hit", 1)
    assert first.content == second.content != b""
    assert ("age" in first.headers, second.headers["age"]) == (False, "0")
    for name in ("content-type", "x-waypost-provider", "x-waypost-model", "cache-control"):
        assert first.headers[name] == second.headers[name]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert second.headers.get("request-id", second.headers["x-request-id"]) == second.headers["x-request-id"]
    assert "x-waypost-attempts" not in second.headers


async def test_a_stream_and_a_whole_answer_are_no_hits_of_each_other(doors: Doors) -> None:
    replies = [await doors.chat("gpt-kept", stream=stream) for stream in (False, True)]
    assert [cached(reply) for reply in replies] == ["miss", "miss"]


async def test_an_alias_shares_the_answers_of_its_route(doors: Doors) -> None:
    replies = [await doors.chat(name) for name in ("nick", "gpt-kept", "short", "claude-kept")]
    assert [cached(reply) for reply in replies] == ["miss", "hit", "hit", "miss"]


async def test_another_caller_gets_an_answer_of_its_own(doors: Doors) -> None:
    path, body = asked(PATHS[0], "gpt-kept", stream=False)
    replies = [await doors.ask(path, body, name) for name in ("ann", "bob", "bob")]
    assert [cached(reply) for reply in replies] == ["miss", "miss", "hit"]


async def test_a_route_without_a_cache_keeps_nothing(doors: Doors) -> None:
    assert [cached(await doors.chat("plain")) for _ in range(2)] == [None, None]
    assert doors.calls == 2


async def test_the_request_says_whether_a_kept_answer_will_do(doors: Doors) -> None:
    wishes = ["no-store", "", "max-age=60", "max-age=0", "no-cache", "no-store", ""]
    replies = [await doors.chat("gpt-kept", headers={"cache-control": wish}) for wish in wishes]
    assert [cached(reply) for reply in replies] == [None, "miss", "hit", "miss", "miss", None, "hit"]


async def test_neither_a_cut_stream_nor_an_error_is_kept(doors: Doors) -> None:
    for _ in range(2):
        cut = await doors.chat("gpt-kept", "cut me", stream=True)
        assert cached(cut) == "miss"
        assert "error" in cut.text.rpartition("data: ")[2]
        failed = await doors.chat("gpt-kept", "cut me")
        assert failed.status_code == 502
    assert doors.calls == 4


async def test_a_stream_whose_caller_left_is_not_kept(doors: Doors) -> None:
    path, body = asked(PATHS[0], "gpt-kept", stream=True)
    body["messages"] = [{"role": "user", "content": "slow " * 30}]
    async with doors.http.stream("POST", path, json=body, headers=shows("ann")) as reply:
        async for _ in reply.aiter_raw():
            break
    await doors.simulator.request(1)
    assert cached(await doors.ask(path, body)) == "miss"


async def test_the_log_names_the_hit_and_who_had_answered(doors: Doors, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "waypost.access")
    for _ in range(2):
        await doors.chat("claude-kept")

    def lines_of_log() -> list[dict[str, Any]]:
        return [json.loads(record.getMessage()) for record in caplog.records if record.name == "waypost.access"]

    assert await asyncio.to_thread(becomes, lambda: len(lines_of_log()) == 2)
    lines = lines_of_log()
    assert [line.get("cache") for line in lines] == [None, "hit"]
    assert [line["provider"] for line in lines] == ["claude", "claude"]
    assert [line.get("attempts") for line in lines] == [1, None]


@EVERY_DOOR
@FORMS
async def test_a_key_gives_the_same_answer_for_one_call(doors: Doors, path: str, stream: bool) -> None:
    """One that comes while the first runs, too."""
    url, body = asked(path, "plain", stream=stream)
    sent = {"idempotency-key": "k"}
    replies = await asyncio.gather(*(doors.ask(url, body, **sent) for _ in range(3)))
    replies.append(await doors.ask(url, body, **sent))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 1
    assert sorted(reply.headers.get("idempotent-replayed", "") for reply in replies) == ["", *["true"] * 3]
    for reply in replies:
        assert reply.headers.get("request-id", reply.headers["x-request-id"]) == reply.headers["x-request-id"]
    assert doors.calls == 1


EMBEDDED = [
    ("/v1/embeddings", {"model": "plain", "input": "one two"}),
    ("/v1beta/models/plain:embedContent", {"content": {"parts": [{"text": "one two"}]}}),
]


@pytest.mark.parametrize(("path", "body"), EMBEDDED)
async def test_embeddings_take_a_key_too(doors: Doors, path: str, body: dict[str, Any]) -> None:
    replies = [await doors.ask(path, body, **{"idempotency-key": "k"}) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [200, 200]
    assert replies[0].content == replies[1].content
    assert (replies[1].headers["idempotent-replayed"], doors.calls) == ("true", 1)


async def test_a_replay_tells_no_cost(doors: Doors, running: Any) -> None:
    """The first answer's was paid once; whoever adds up costs must not count it twice."""
    body = {"model": "gpt/gpt-4.1-mini", "messages": TURN}
    first, second = [await doors.ask(PATHS[0], body, **{"idempotency-key": "k"}) for _ in range(2)]
    assert float(first.headers["x-waypost-cost-usd"]) >= 0
    assert "x-waypost-cost-usd" not in second.headers


async def test_a_key_s_errors_are_those_of_the_sdk(doors: Doors) -> None:
    """A conflict is 422 with either SDK, by its own exception."""
    url, key = doors.running.url, KEYS["ann"]
    headers = {"idempotency-key": "k"}
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as gpt:
        for text in ("a", "b"):
            asking = gpt.chat.completions.create(
                model="plain", messages=[{"role": "user", "content": text}], extra_headers=headers
            )
            if text == "a":
                await asking
            else:
                with pytest.raises(openai.UnprocessableEntityError) as refused:
                    await asking
                assert refused.value.code == "idempotency_key_reused"
    async with AsyncAnthropic(base_url=url, api_key=key, max_retries=0) as claude:
        for text in ("a", "b"):
            telling = claude.messages.create(
                model="plain", max_tokens=9, messages=[{"role": "user", "content": text}], extra_headers=headers
            )
            if text == "a":
                await telling
            else:
                with pytest.raises(anthropic.UnprocessableEntityError):
                    await telling


async def test_an_error_that_no_try_would_mend_is_the_answer(doors: Doors) -> None:
    for replayed in (None, "true"):
        reply = await doors.ask("/v1/messages", {"model": "plain"}, **{"idempotency-key": "k"})
        assert (reply.status_code, reply.json()["type"]) == (400, "error")
        assert reply.headers.get("idempotent-replayed") == replayed


async def test_a_broken_stream_is_the_answer_and_not_charged_again(doors: Doors) -> None:
    sent = {"idempotency-key": "k"}
    first, second = [await doors.chat("plain", "cut me", stream=True, headers=sent) for _ in range(2)]
    assert first.content == second.content
    assert "error" in first.text.rpartition("data: ")[2]
    assert doors.calls == 1


async def test_who_joins_goes_on_after_the_first_hung_up(doors: Doors) -> None:
    path, body = asked("/v1/messages", "plain", stream=True)
    body["messages"] = [{"role": "user", "content": "slow " * 20}]
    headers = {**shows("ann"), "idempotency-key": "k"}
    async with doors.http.stream("POST", path, json=body, headers=headers) as first:
        joining = asyncio.create_task(doors.ask(path, body, **headers))
        pieces = first.aiter_raw()
        await anext(pieces)
        assert await asyncio.to_thread(becomes, lambda: doors.running.server.lifecycle.in_flight == 2)
    second = await joining
    assert second.headers["idempotent-replayed"] == "true"
    assert "event: message_stop" in second.text
    assert doors.calls == 1


async def test_what_costs_nothing_needs_no_key(doors: Doors) -> None:
    for _ in range(2):
        listed = await doors.http.get("/v1/models", headers={**shows("ann"), "idempotency-key": "k"})
        assert (listed.status_code, "idempotent-replayed" in listed.headers) == (200, False)


async def test_a_stream_that_went_on_alone_has_a_story_that_knows_its_end(doors: Doors) -> None:
    """With all that it used, although its caller had left in the middle."""
    asked = {"prompt": "slow " * 20, "model": "plain", "stream": True}
    async with doors.http.stream("POST", "/api/ai/generate", json=asked, headers=shows("ann")) as reply:
        async for _ in reply.aiter_raw():
            break
    stream_id, request_id = reply.headers["x-waypost-response-id"], reply.headers["x-request-id"]
    later = await doors.http.get(f"/api/ai/responses/{stream_id}/events", headers=shows("ann"))
    assert later.text.rpartition("event: ")[2].startswith("done")
    story = (await doors.http.get(f"/api/ai/requests/{request_id}/explain", headers=shows("ann"))).json()
    assert (story["outcome"], story["status"]) == ("answered", 200)
    done = json.loads(later.text.rpartition("data: ")[2])
    assert story["usage"]["output_tokens"] == done["usage"]["output_tokens"] > 10
