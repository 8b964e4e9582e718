"""Claims about /metrics of a real server: what is counted is exact, and bounded whatever callers send."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from tests.simulated import serving
from tests.telemetry.scraped import Scraped, scrape

from waypost.simulator import Simulator

CHAT = "/v1/chat/completions"
INPUT_USD, OUTPUT_USD = 0.7, 1.3
"""For a million tokens."""
SCRIPT = {
    "rules": [
        {"match": {"contains": "fail"}, "fault": {"status": 503}},
        {"match": {"contains": "cut"}, "fault": {"end_after_events": 4}, "pacing": {"token_interval_s": 0.2}},
        {"reply": {"text": "one two three four five six seven"}},
    ]
}
ANSWER = {"text": "one two three four five six seven"}
ANSWER_TOKENS = 9
REQUESTS = "waypost_requests_total"
JSON = {"content-type": "application/json"}
RAW = {"x-waypost-raw": "1"}
ONCE = {"max_attempts": 1, "recover": False}


@dataclass
class Place:
    """A server, and the simulator behind it."""

    url: str
    simulator: Simulator

    def ask(self, text: str, **told: Any) -> httpx.Response:
        body = {"model": "main", "messages": [{"role": "user", "content": text}], **told}
        return httpx.post(f"{self.url}{CHAT}", json=body, timeout=30)

    def scraped(self) -> Scraped:
        return scrape(self.url)


def settings_of(simulator: Simulator, data: Path, **more: Any) -> dict[str, Any]:
    return {
        "data_dir": str(data),
        "providers": {
            "gpt": {"kind": "openai", "api_key": "key-of-gpt", "base_url": simulator.openai_url},
            "claude": {"kind": "anthropic", "api_key": "key-of-claude", "base_url": simulator.anthropic_url},
        },
        "routes": {
            "default": {"targets": ["gpt/gpt-simulated"], "policy": ONCE},
            "main": {"targets": ["gpt/gpt-simulated"], "policy": ONCE},
            "either": {"targets": ["gpt/gpt-simulated", "claude/claude-simulated"], "policy": {"max_attempts": 2}},
        },
        "prices": {
            "gpt/gpt-simulated": {"input": INPUT_USD, "output": OUTPUT_USD},
            "claude/claude-simulated": {"input": 0, "output": 0},
        },
        "jobs": {"worker": False},
        **more,
    }


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(SCRIPT) as running:
        yield running


@pytest.fixture
def place(simulator: Simulator, tmp_path: Path) -> Iterator[Place]:
    with serving(settings_of(simulator, tmp_path)) as url:
        yield Place(url, simulator)


async def away(call: Callable[[], Any]) -> Any:
    """In a thread, as the simulator runs in this test's loop."""
    return await asyncio.to_thread(call)


def cost_usd(usage: Mapping[str, int]) -> float:
    """As the ledger rounds it: up to the next millionth."""
    exact = usage["prompt_tokens"] * INPUT_USD + usage["completion_tokens"] * OUTPUT_USD
    return math.ceil(exact - 1e-9) / 1_000_000


async def test_answers_are_counted_exactly(place: Place) -> None:
    def work() -> None:
        usages = [place.ask("hello " * (number + 1)).json()["usage"] for number in range(5)]
        told = place.scraped()
        main = {"door": "openai_chat", "route": "main"}
        target = {"provider": "gpt", "model": "gpt-simulated"}
        assert told.of("waypost_requests_total", **main, outcome="answered") == 5
        assert told.of("waypost_request_seconds_count", **main) == 5
        assert told.of("waypost_attempts_total", **target, outcome="answered") == 5
        assert told.of("waypost_attempt_seconds_count", **target) == 5
        assert told.of("waypost_tokens_total", **target, kind="input") == sum(each["prompt_tokens"] for each in usages)
        outputs = sum(each["completion_tokens"] for each in usages)
        assert told.of("waypost_tokens_total", **target, kind="output") == outputs
        assert told.of("waypost_cost_usd_total", **target) == pytest.approx(sum(map(cost_usd, usages)), abs=1e-9)
        assert told.of("waypost_first_token_seconds_count", route="main") is None

    await away(work)


async def test_what_fails_is_refused_or_streamed_is_counted_apart(place: Place) -> None:
    def work() -> None:
        main = {"door": "openai_chat", "route": "main"}
        assert place.ask("fail").status_code == 503
        assert place.ask("hello", model="nobody/nothing").status_code == 404
        assert httpx.post(f"{place.url}{CHAT}", content="{", headers=JSON).status_code == 400
        streamed = place.ask("hello", stream=True)
        assert "[DONE]" in streamed.text
        broken = place.ask("cut", stream=True)
        assert broken.status_code == 200
        assert "[DONE]" not in broken.text
        told = place.scraped()
        assert told.of("waypost_requests_total", **main, outcome="failed") == 2
        assert told.of("waypost_requests_total", **main, outcome="answered") == 1
        assert told.of("waypost_requests_total", door="openai_chat", route="", outcome="refused") == 2
        failures = {
            labels["outcome"]: value
            for labels, value in told.samples("waypost_attempts_total")
            if labels["outcome"].startswith("failed")
        }
        assert failures == {"failed_provider_overloaded": 1, "failed_provider_incomplete_stream": 1}
        # The one that broke off had begun to answer.
        assert told.of("waypost_first_token_seconds_count", route="main") == 2
        assert told.of("waypost_open_streams") == 0

    await away(work)


async def test_a_fallback_is_two_calls_of_one_request(place: Place) -> None:
    def work() -> None:
        place.simulator.use({"rules": [{"match": {"format": "openai"}, "fault": {"status": 500}}, {"reply": ANSWER}]})
        assert place.ask("hello", model="either").status_code == 200
        told = place.scraped()
        assert told.of("waypost_requests_total", door="openai_chat", route="either", outcome="answered") == 1
        gpt, claude = {"provider": "gpt", "model": "gpt-simulated"}, {"provider": "claude", "model": "claude-simulated"}
        assert told.of("waypost_attempts_total", **gpt, outcome="failed_provider_server_error") == 1
        assert told.of("waypost_attempts_total", **claude, outcome="answered") == 1
        # A call that its provider refused cost nothing, and an answer that is free has no unknown cost.
        assert not list(told.samples("waypost_cost_unknown_total"))

    await away(work)


async def test_each_door_has_its_name(place: Place) -> None:
    def work() -> None:
        user = {"role": "user", "content": "hello"}
        parts = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
        calls: Mapping[str, tuple[str, Any]] = {
            "openai_chat": (CHAT, {"model": "main", "messages": [user]}),
            "openai_responses": ("/v1/responses", {"model": "main", "input": "hello"}),
            "anthropic_messages": ("/v1/messages", {"model": "main", "messages": [user], "max_tokens": 10}),
            "gemini": ("/v1beta/models/main:generateContent", parts),
            "embeddings": ("/v1/embeddings", {"model": "gpt/text-embedding-3-small", "input": "hello"}),
            "generate": ("/api/ai/generate", {"model": "main", "prompt": "hello"}),
            "raw": ("/providers/gpt/moderations", {"input": "hello"}),
            "other": ("/v1/messages/count_tokens", {"model": "main", "messages": [user]}),
        }
        for door, (path, body) in calls.items():
            reply = httpx.post(f"{place.url}{path}", json=body, headers=RAW, timeout=30)
            assert reply.status_code == 200, (door, reply.text)
        told = place.scraped()
        doors = {labels["door"]: value for labels, value in told.samples("waypost_requests_total")}
        assert doors == dict.fromkeys(calls, 1.0)

    await away(work)


async def test_hostile_names_and_paths_make_no_series(place: Place) -> None:
    def work() -> None:
        before = list(place.scraped().samples("waypost_breaker_open"))
        with httpx.Client(base_url=place.url, timeout=30) as client:
            for number in range(300):
                body = {"model": f'gpt/invented-{number}"\n{{}}', "messages": [{"role": "user", "content": "hi"}]}
                client.post(CHAT, json=body)
                body["model"] = f"route-{number}"
                client.post(CHAT, json=body)
                client.get(f"/path/{number}")
                client.delete(f"/api/ai/responses/{number}")
        told = place.scraped()
        assert {labels["model"] for labels, _ in told.samples("waypost_attempts_total")} == {"other"}
        requests = dict.fromkeys((labels["door"], labels["route"]) for labels, _ in told.samples(REQUESTS))
        assert set(requests) == {("openai_chat", ""), ("other", "")}
        assert sum(value for _, value in told.samples(REQUESTS)) == 1201
        models = [labels["model"] for labels, _ in told.samples("waypost_breaker_open")]
        assert len(models) == len(before) + 1
        assert models.count("other") == 1

    await away(work)


async def test_a_model_with_a_published_price_is_named_once_it_has_answered(place: Place) -> None:
    def work() -> None:
        for _ in range(2):
            assert place.ask("hello", model="gpt/gpt-4o-mini").status_code == 200
        told = place.scraped()
        assert told.of("waypost_attempts_total", provider="gpt", model="gpt-4o-mini", outcome="answered") == 2

    await away(work)


async def test_a_resumable_stream_whose_reader_leaves_is_counted_when_it_has_ended(place: Place) -> None:
    def work() -> None:
        place.simulator.use({"rules": [{"reply": ANSWER, "pacing": {"token_interval_s": 0.2}}]})
        # The first one takes longer than any other.
        place.scraped()
        body = {"model": "main", "prompt": "hello", "stream": True}
        with httpx.stream("POST", f"{place.url}/api/ai/generate", json=body, timeout=30) as reply:
            lines = reply.iter_lines()
            next(lines)
            stream_id = reply.headers["x-waypost-response-id"]
            told = place.scraped()
            assert told.of("waypost_open_streams") == 1
            assert told.of("waypost_requests_in_flight") == 1
        events = httpx.get(f"{place.url}/api/ai/responses/{stream_id}/events", timeout=30).text
        assert "event: done" in events
        told = place.scraped()
        labels = {"door": "generate", "route": "main", "outcome": "answered"}
        assert told.of(REQUESTS, **labels) == 1
        assert told.of("waypost_attempts_total", provider="gpt", model="gpt-simulated", outcome="answered") == 1
        assert told.of("waypost_tokens_total", provider="gpt", model="gpt-simulated", kind="output") == ANSWER_TOKENS
        assert told.of("waypost_open_streams") == 0

    await away(work)


@pytest.mark.parametrize("stream", [False, True])
async def test_without_a_ledger_answers_are_counted_too(simulator: Simulator, tmp_path: Path, stream: bool) -> None:
    def work() -> None:
        with serving(settings_of(simulator, tmp_path, ledger={"enabled": False})) as url:
            place = Place(url, simulator)
            assert place.ask("hello", stream=stream).status_code == 200
            assert place.ask("fail", stream=stream).status_code == 503
            told = place.scraped()
            target = {"provider": "gpt", "model": "gpt-simulated"}
            assert told.of("waypost_attempts_total", **target, outcome="answered") == 1
            assert told.of("waypost_attempts_total", **target, outcome="failed_provider_overloaded") == 1
            assert told.of("waypost_tokens_total", **target, kind="output") == ANSWER_TOKENS
            assert (told.of("waypost_cost_usd_total", **target) or 0) > 0
            assert not list(told.samples("waypost_cost_unknown_total"))

    await away(work)


async def test_open_breakers_are_told(place: Place) -> None:
    def work() -> None:
        target = {"provider": "gpt", "model": "gpt-simulated"}
        assert place.scraped().of("waypost_breaker_open", **target) == 0
        for _ in range(8):
            place.ask("fail")
        assert place.scraped().of("waypost_breaker_open", **target) == 1

    await away(work)


async def test_openmetrics_is_told_to_who_asks_for_it(place: Place) -> None:
    def work() -> None:
        place.ask("hello")
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        reply = httpx.get(f"{place.url}/metrics", headers=accept)
        assert reply.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        families = openmetrics.text_string_to_metric_families(reply.text)  # type: ignore[no-untyped-call]
        names = {family.name for family in families}
        assert {"waypost_requests", "waypost_request_seconds", "process_cpu_seconds"} <= names
        plain = httpx.get(f"{place.url}/metrics")
        assert plain.headers["content-type"].startswith("text/plain; version=")
        assert plain.headers["cache-control"] == "no-store"

    await away(work)


async def test_scrapes_make_no_database(simulator: Simulator, tmp_path: Path) -> None:
    def work() -> None:
        with serving(settings_of(simulator, tmp_path)) as url:
            told = scrape(url)
            assert told.of("waypost_jobs", state="queued") == 0
            assert not (tmp_path / "waypost.db").exists()

    await away(work)


async def test_off_counts_nothing(simulator: Simulator, tmp_path: Path) -> None:
    def work() -> None:
        with serving(settings_of(simulator, tmp_path, telemetry={"metrics": False})) as url:
            assert httpx.get(f"{url}/metrics").status_code == 404

    await away(work)
