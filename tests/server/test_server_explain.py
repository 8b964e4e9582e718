"""GET /api/ai/requests/{id}/explain and `waypost explain`: what became of a request, in words, for whoever made it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from waypost.app import build
from waypost.settings import Settings
from waypost.simulator import Simulator

ASKED = {"model": "both", "messages": [{"role": "user", "content": "the secret prompt"}]}
ALICE, ADMIN, BOB = ({"authorization": f"Bearer {name}-0123456789abcdef"} for name in ("alice", "admin", "bob"))


@pytest.fixture
async def simulator() -> Any:
    async with Simulator() as running:
        yield running


@pytest.fixture
def url(simulator: Simulator, live: Callable[[Any], AbstractContextManager[Any]]) -> Iterator[str]:
    settings = Settings.model_validate(
        {
            "keys": {
                "alice": {"key": "alice-0123456789abcdef"},
                "bob": {"key": "bob-0123456789abcdef", "routes": ["other"]},
                "admin": {"key": "admin-0123456789abcdef", "admin": True},
            },
            "providers": {
                "gpt": {"kind": "openai", "api_key": "k", "base_url": simulator.openai_url},
                "claude": {"kind": "anthropic", "api_key": "k", "base_url": simulator.url},
            },
            "routes": {
                "default": {"targets": ["gpt"]},
                "both": {"targets": ["gpt/status-503", "claude/c"], "policy": {"backoff_first_s": 0.01}},
            },
        }
    )
    with live(build(settings)) as running:
        yield running.url


async def test_each_attempt_is_told_with_its_end_and_what_was_tried_next(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, headers=ALICE, timeout=10) as http:
        reply = await http.post("/v1/chat/completions", json=ASKED)
        assert reply.status_code == 200, reply.text
        request_id = reply.headers["x-request-id"]
        story = (await http.get(f"/api/ai/requests/{request_id}/explain")).json()
    assert [attempt["reason_next"] for attempt in story["attempts"]] == ["retry", "next_target", "answered"]
    assert (story["outcome"], story["route"], story["model"]) == ("answered", "both", "both")
    words = "\n".join(story["explanation"])
    assert "gpt/status-503" in words
    assert "answered 503" in words
    assert "the next target was asked" in words
    assert story["usage"]["output_tokens"] > 0
    assert "secret prompt" not in json.dumps(story)


async def test_a_stream_tells_its_usage_and_first_token_at_its_end(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, headers=ALICE, timeout=10) as http:
        reply = await http.post("/v1/chat/completions", json={**ASKED, "stream": True})
        story = (await http.get(f"/api/ai/requests/{reply.headers['x-request-id']}/explain")).json()
    last = story["attempts"][-1]
    assert last["first_token_ms"] is not None
    assert last["duration_ms"] >= last["first_token_ms"]
    assert story["usage"]["output_tokens"] > 0


async def test_only_the_key_that_made_the_request_and_an_admin_are_told(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=10) as http:
        reply = await http.post("/v1/chat/completions", json=ASKED, headers=ALICE)
        path = f"/api/ai/requests/{reply.headers['x-request-id']}/explain"
        assert (await http.get(path, headers=BOB)).status_code == 404
        assert (await http.get(path)).status_code == 401
        assert (await http.get(path, headers=ADMIN)).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
async def test_a_key_asks_only_for_what_it_may(url: str, stream: bool) -> None:
    async with httpx.AsyncClient(base_url=url, headers=BOB, timeout=10) as http:
        refused = await http.post("/v1/chat/completions", json={**ASKED, "stream": stream})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_allowed")
        native = await http.post("/api/ai/generate", json={"prompt": "p", "model": "both", "stream": stream})
        assert (native.status_code, native.json()["error"]["code"]) == (403, "not_allowed")


async def test_what_an_answer_cost_is_told_where_its_price_is_known(url: str) -> None:
    """In a header of whole answers, in Waypost's own answers, and in the story; where it is not known it is absent."""
    async with httpx.AsyncClient(base_url=url, headers=ALICE, timeout=10) as http:
        reply = await http.post("/v1/chat/completions", json={**ASKED, "model": "gpt/gpt-5.4-mini"})
        cost = float(reply.headers["x-waypost-cost-usd"])
        story = (await http.get(f"/api/ai/requests/{reply.headers['x-request-id']}/explain")).json()
        assert cost > 0
        assert story["cost_micro_usd"] == round(cost * 1_000_000)
        native = {"prompt": "Hello", "model": "gpt/gpt-5.4-mini"}
        whole = (await http.post("/api/ai/generate", json=native)).json()
        told = (await http.post("/api/ai/generate", json={**native, "stream": True})).text
        assert whole["cost_usd"] == json.loads(told.rpartition("data: ")[2])["cost_usd"] > 0
        unknown = await http.post("/v1/chat/completions", json={**ASKED, "model": "gpt/some-model"})
        assert unknown.status_code == 200
        assert "x-waypost-cost-usd" not in unknown.headers


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "waypost.cli.main", "explain", "--key", "alice-0123456789abcdef", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


async def test_the_command_tells_the_same(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, headers=ALICE, timeout=10) as http:
        request_id = (await http.post("/v1/chat/completions", json=ASKED)).headers["x-request-id"]
    ran = await asyncio.to_thread(run, "--url", url, request_id)
    assert ran.returncode == 0, ran.stderr
    assert "The request was answered with HTTP status 200" in ran.stdout
    unknown = await asyncio.to_thread(run, "--url", url, "req_nothing")
    assert unknown.returncode == 1
    assert "is remembered" in unknown.stderr


async def test_lists_hold_what_the_key_may_ask_for(url: str) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=10) as http:
        for path in ("/v1/models", "/v1/capabilities"):
            mine, all_of_it = [(await http.get(path, headers=key)).json()["data"] for key in (BOB, ADMIN)]
            assert (mine, len(all_of_it) > 1) == ([], True), "bob may ask for a route that there is not"
        assert (await http.get("/v1/models/both", headers=BOB)).status_code == 403
