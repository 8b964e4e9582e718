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
from tests.simulated import serving
from tests.telemetry.scraped import Scraped, scrape

from waypost.simulator import Simulator

CHAT = "/v1/chat/completions"
INPUT_USD, OUTPUT_USD = 0.7, 1.3
"""For a million tokens."""
SCRIPT = {
    "rules": [
        {"match": {"contains": "fail"}, "fault": {"status": 503}},
        {"match": {"contains": "cut"}, "fault": {"cut_after_events": 3}},
        {"reply": {"text": "one two three four five six seven"}},
    ]
}
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
