"""What a route's policy does over real sockets: hedging, the fastest target first, and keys that rest."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack
from typing import Any

import httpx
import pytest

from waypost.app import build
from waypost.settings import Settings
from waypost.simulator import Simulator, key_hash

Live = Callable[[Any], AbstractContextManager[Any]]
SLOW = {"rules": [{"fault": {"first_token_s": 30}}]}
BOTH = pytest.mark.parametrize("stream", [False, True])


def asked(*, stream: bool, model: str = "r", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Say this."}], "stream": stream, **more}


def settings(targets: dict[str, Any], policy: dict[str, Any], model: str = "m") -> Settings:
    """One route "r" over providers of one target each."""
    names = [f"{name}/{model}" for name in targets]
    routes = {"default": {"targets": names[:1]}, "r": {"targets": names, "policy": policy}}
    return Settings.model_validate({"providers": targets, "routes": routes})


def openai(simulator: Simulator, **more: Any) -> dict[str, Any]:
    return {"kind": "openai", "api_key": "k", "base_url": simulator.openai_url, **more}


def anthropic(simulator: Simulator) -> dict[str, Any]:
    return {"kind": "anthropic", "api_key": "k", "base_url": simulator.url}


async def ask(http: httpx.AsyncClient, *, stream: bool, **more: Any) -> tuple[str, dict[str, Any]]:
    """The text of the answer, and the request's story."""
    reply = await http.post("/v1/chat/completions", json=asked(stream=stream, **more))
    assert reply.status_code == 200, reply.text
    story = (await http.get(f"/api/ai/requests/{reply.headers['x-request-id']}/explain")).json()
    if not stream:
        return reply.json()["choices"][0]["message"]["content"], story
    events = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices), story


def told(story: dict[str, Any], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(attempt[name] for name in ("provider", "reason_next", *names)) for attempt in story["attempts"]]


@pytest.fixture
async def simulators() -> Any:
    async with AsyncExitStack() as stack:

        async def start(*scripts: Any) -> list[Simulator]:
            return [await stack.enter_async_context(Simulator(script)) for script in scripts]

        yield start


@BOTH
@pytest.mark.parametrize("second", [openai, anthropic])
async def test_a_second_target_answers_in_the_place_of_a_slow_one_whose_connection_is_closed(
    simulators: Any, live: Live, stream: bool, second: Callable[[Simulator], dict[str, Any]]
) -> None:
    slow, fast = await simulators(SLOW, {"rules": [{"reply": "From the second."}]})
    policy = {"hedge_after_s": 0.1}
    with live(build(settings({"slow": openai(slow), "fast": second(fast)}, policy))) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=10) as http:
            text, story = await ask(http, stream=stream)
        assert text == "From the second."
        assert told(story) == [("slow", "hedge"), ("fast", "answered")]
        assert (await asyncio.wait_for(slow.request(1), 2)).outcome == "client_closed"
        assert (await asyncio.wait_for(fast.request(1), 2)).outcome == "completed"
    words = "\n".join(story["explanation"])
    assert "was ended, because the call started beside it was faster; its provider may bill it" in words
    assert story["usage"]["output_tokens"] > 0
    assert story["outcome"] == "answered"


@BOTH
async def test_a_first_that_answers_after_all_closes_the_second(simulators: Any, live: Live, stream: bool) -> None:
    late, slow = await simulators({"rules": [{"reply": "From the first.", "fault": {"first_token_s": 0.6}}]}, SLOW)
    policy = {"hedge_after_s": 0.1}
    with live(build(settings({"late": openai(late), "slow": openai(slow)}, policy))) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=10) as http:
            text, story = await ask(http, stream=stream)
        assert text == "From the first."
        assert told(story) == [("late", "answered"), ("slow", "lost")]
        assert (await asyncio.wait_for(slow.request(1), 2)).outcome == "client_closed"


@BOTH
async def test_a_caller_who_leaves_ends_both_calls(simulators: Any, live: Live, stream: bool) -> None:
    first, second = await simulators(SLOW, SLOW)
    policy = {"hedge_after_s": 0.05}
    with live(build(settings({"a": openai(first), "b": openai(second)}, policy))) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=10) as http:
            asking = asyncio.ensure_future(http.post("/v1/chat/completions", json=asked(stream=stream)))
            await asyncio.wait_for(second.request(1, ended=False), 5)
            asking.cancel()
            left_at = time.monotonic()
            seen = await asyncio.wait_for(asyncio.gather(first.request(1), second.request(1)), 5)
        assert [each.outcome for each in seen] == ["client_closed"] * 2
        assert time.monotonic() - left_at < 1.5


@BOTH
async def test_a_second_call_that_could_cost_more_than_the_limit_is_not_made(
    simulators: Any, live: Live, stream: bool
) -> None:
    late, second = await simulators({"rules": [{"reply": "Late.", "fault": {"first_token_s": 0.4}}]}, {})
    targets = {"late": openai(late), "second": openai(second)}
    for limit_usd, calls in ((0.000001, 0), (100.0, 1)):
        made = settings(targets, {"hedge_after_s": 0.05, "hedge_max_cost_usd": limit_usd}, "gpt-5.4-mini")
        with live(build(made)) as running:
            async with httpx.AsyncClient(base_url=running.url, timeout=10) as http:
                await ask(http, stream=stream, max_tokens=1000)
        assert len(second.requests) == calls


@BOTH
async def test_after_a_few_requests_the_faster_target_is_asked_first(simulators: Any, live: Live, stream: bool) -> None:
    slow, fast = await simulators({"rules": [{"fault": {"first_token_s": 1.0}}]}, {})
    policy = {"balance": "least_latency"}
    application = build(settings({"slow": openai(slow), "fast": openai(fast)}, policy))
    with live(application) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=10) as http:
            firsts = [told((await ask(http, stream=stream))[1])[0][0] for _ in range(12)]
    # Each is tried once; then one request in twenty goes to the other one.
    assert firsts[:2] == ["slow", "fast"]
    assert firsts[2:].count("fast") >= 5
    board, other = application.gateway.latencies, application.gateway.whole_latencies
    measured, untold = (board, other) if stream else (other, board)
    assert (measured.latencies()["slow", "m"] or 0) >= 1.0
    assert untold.latencies() == {}


async def test_a_target_that_gives_no_token_in_time_is_asked_last(simulators: Any, live: Live) -> None:
    slow, fast = await simulators(SLOW, {})
    policy = {"balance": "least_latency", "first_token_s": 1.0}
    application = build(settings({"slow": openai(slow), "fast": openai(fast)}, policy))
    with live(application) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=10) as http:
            first, *later = [told((await ask(http, stream=True))[1])[0][0] for _ in range(6)]
    assert first == "slow"
    assert "fast" in later
    assert (application.gateway.latencies.latencies()["slow", "m"] or 0) >= 1.0


KEYS = ["key-number-one", "key-number-two"]


def keyed(first: Simulator, other: Simulator | None = None) -> Settings:
    targets = {"keyed": {"kind": "openai", "base_url": first.openai_url, "api_keys": KEYS}}
    if other is not None:
        targets["other"] = openai(other)
    return settings(targets, {"max_retries": 1, "backoff_first_s": 0.01})


def hashes(simulator: Simulator) -> list[str]:
    return [seen.key_hash for seen in simulator.requests]


@BOTH
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 401},
        {"named_error": "quota"},
        {"named_error": "rate_limit", "retry_after_s": 30},
        {"named_error": "rate_limit"},
    ],
)
async def test_a_key_that_is_refused_or_at_its_limit_rests_and_the_next_one_goes_at_once(
    simulators: Any, live: Live, stream: bool, fault: dict[str, Any]
) -> None:
    (simulator,) = await simulators({"rules": [{"match": {"key": KEYS[0]}, "fault": fault}]})
    with live(build(keyed(simulator))) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=10) as http:
            _, story = await ask(http, stream=stream)
            _, second = await ask(http, stream=stream)
    one, two = map(key_hash, KEYS)
    assert hashes(simulator) == [one, two, two]
    assert told(story, "key_label") == [("keyed", "next_key", "#1"), ("keyed", "answered", "#2")]
    assert told(second, "key_label") == [("keyed", "answered", "#2")]
    assert story["attempts"][0]["waited_ms"] == 0
    words = json.dumps(story)
    assert "with the key #1" in words
    assert "it was asked again with the next key" in words
    assert not any(key in words for key in KEYS)


@BOTH
async def test_when_all_keys_rest_the_next_target_is_asked(simulators: Any, live: Live, stream: bool) -> None:
    keyed_one, other = await simulators({"rules": [{"fault": {"status": 401}}]}, {})
    with live(build(keyed(keyed_one, other))) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=10) as http:
            _, story = await ask(http, stream=stream)
    assert told(story, "key_label") == [
        ("keyed", "next_key", "#1"),
        ("keyed", "next_target", "#2"),
        ("other", "answered", None),
    ]
    assert hashes(keyed_one) == [key_hash(key) for key in KEYS]
