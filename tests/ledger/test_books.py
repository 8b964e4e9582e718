"""What a real server writes down of real calls: whose they are, how they ended, what they cost; bodies on demand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest
from sqlalchemy import Table, select
from tests.ledger.fleet import Server

from waypost.simulator import Simulator
from waypost.store import tables
from waypost.store.database import Database, database_url
from waypost.store.migrate import upgrade

MODEL = "gpt-5-mini"
SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJ"
Start = Callable[..., Server]


@pytest.fixture
async def simulator() -> Any:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
def start(tmp_path: Path, simulator: Simulator) -> Iterator[Start]:
    """Start a server with two targets; `more` are further settings."""
    servers: list[Server] = []

    def make(**more: Any) -> Server:
        providers = {
            "chat": {"kind": "openai", "api_key": "any", "base_url": simulator.openai_url},
            "claude": {"kind": "anthropic", "api_key": "any", "base_url": simulator.anthropic_url},
            "answers": {"kind": "openai", "wire": "responses", "api_key": "any", "base_url": simulator.openai_url},
        }
        routes = {
            "default": {"targets": [f"chat/{MODEL}"]},
            "falls": {"targets": ["chat/status-503", "claude/claude-sonnet-4-5"], "policy": {"max_retries": 0}},
            "kept": {"targets": [f"chat/{MODEL}"], "store_bodies": True},
        }
        servers.append(Server(tmp_path / "server", {"providers": providers, "routes": routes, **more}))
        servers[-1].start()
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def post(server: Server, path: str = "/v1/chat/completions", *, headers: Any = None, **body: Any) -> httpx.Response:
    told = {"model": "default", "messages": [{"role": "user", "content": "hello"}], **body}
    return httpx.post(f"{server.url}{path}", json=told, headers=headers, timeout=30)


def said_in(kept: str) -> str:
    """The text of an answer, whole or as events."""
    if not kept.startswith("data: "):
        return str(json.loads(kept)["choices"][0]["message"]["content"])
    events = [json.loads(line.removeprefix("data: ")) for line in kept.split("\n\n") if line and "[DONE]" not in line]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


def rows(server: Server, table: Table, count: int = 1) -> list[Any]:
    """The rows, once there are so many."""
    database = Database(database_url(None, server.folder / "data"))
    upgrade(database)
    end_s = time.monotonic() + 20
    while True:
        with database.read() as connection:
            found = connection.execute(select(table)).all()
        if (
            len(found) >= count and not any(getattr(row, "outcome", "") == "open" for row in found)
        ) or time.monotonic() > end_s:
            database.close()
            return list(found)
        time.sleep(0.1)


async def run(work: Callable[[], Any]) -> Any:
    """In a thread: the simulator answers in this one's loop."""
    return await asyncio.to_thread(work)


async def test_a_request_is_written_down_whole(start: Start) -> None:
    """Tags, end user, path, status, usage and cost are in the log, and the cost is that of the reply's header."""

    def work() -> None:
        server = start()
        reply = post(
            server, headers={"x-waypost-tags": "team=search, feature=summary", "x-request-id": "mine"}, user="u7"
        )
        [request] = rows(server, tables.requests)
        [attempt] = rows(server, tables.attempts)
        assert (request.request_id, request.end_user, request.tags) == (
            "mine",
            "u7",
            {"team": "search", "feature": "summary"},
        )
        assert (request.path, request.route, request.asked_model) == ("/v1/chat/completions", "default", "default")
        assert (request.status, request.end_state, request.attempts, request.stream) == (200, "answered", 1, False)
        usage = reply.json()["usage"]
        assert (request.input_tokens, request.output_tokens) == (usage["prompt_tokens"], usage["completion_tokens"])
        assert (
            request.cost_micro_usd == attempt.cost_micro_usd == round(float(reply.headers["x-waypost-cost-usd"]) * 1e6)
        )
        assert attempt.entry_id == request.id
        assert attempt.price_source.startswith("genai-prices")

    await run(work)


async def test_a_fallback_is_two_attempts_of_which_one_cost(start: Start) -> None:
    """A refused call costs nothing, and is there all the same."""

    def work() -> None:
        server = start()
        assert post(server, model="falls").status_code == 200
        attempts = sorted(rows(server, tables.attempts, 2), key=lambda row: row.number)
        told = [(row.provider, row.outcome, row.cost_basis, row.error_code) for row in attempts]
        assert told == [
            ("chat", "failed", "free", "provider_overloaded"),
            ("claude", "answered", "reported", None),
        ]
        assert attempts[0].cost_micro_usd == 0
        assert attempts[1].cost_micro_usd > 0

    await run(work)


@pytest.mark.parametrize("model", ["cut-3", "stall-3"])
async def test_a_stream_that_breaks_is_billed_by_an_estimate_that_says_so(start: Start, model: str) -> None:
    """The provider never told usage: what had come is counted by us, and marked."""

    def work() -> None:
        fast = {"total_s": 3, "max_attempts": 1, "recover": False}
        server = start(
            routes={"default": {"targets": [f"chat/{model}"], "policy": fast}},
            prices={"chat/*": {"input": 1, "output": 4}},
        )
        said = "one two three four five six seven eight nine ten"
        post(server, messages=[{"role": "user", "content": said}], stream=True)
        [attempt] = rows(server, tables.attempts)
        assert (attempt.outcome, attempt.cost_basis) == ("failed", "estimated")
        assert attempt.input_tokens > 0
        assert attempt.output_tokens > 0
        assert attempt.cost_micro_usd >= attempt.input_tokens + 4 * attempt.output_tokens

    await run(work)


CUT: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("/v1/chat/completions", {"model": "chat/cut-8"}),
    "anthropic": ("/v1/messages", {"model": "claude/cut-8", "max_tokens": 99}),
    "translated": ("/v1/chat/completions", {"model": "claude/cut-8"}),
    "responses": ("/v1/responses", {"model": "answers/cut-8", "store": False}),
}


@pytest.mark.parametrize("door", CUT)
async def test_what_had_come_of_a_cut_stream_is_counted_in_every_dialect(start: Start, door: str) -> None:
    """Passed on or translated: the words that the caller got before the break are in the estimate."""

    def work() -> None:
        server = start()
        path, body = CUT[door]
        words = "one two three four five six seven eight nine ten eleven twelve"
        asked = {"input": words} if door == "responses" else {"messages": [{"role": "user", "content": words}]}
        httpx.post(f"{server.url}{path}", json={"stream": True, **asked, **body}, timeout=30)
        for attempt in rows(server, tables.attempts):
            assert (attempt.outcome, attempt.error_code) == ("failed", "provider_connection_lost")
            assert attempt.output_tokens >= 2

    await run(work)


async def test_a_caller_who_leaves_a_stream_is_billed_for_what_had_come(start: Start) -> None:
    """The call is cancelled, closed as caller_left, and estimated."""

    def work() -> None:
        server = start()
        body = {"model": "chat/slow-2", "stream": True, "messages": [{"role": "user", "content": "word " * 400}]}
        with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=body, timeout=30) as reply:
            next(reply.iter_lines())
        [attempt] = rows(server, tables.attempts)
        assert attempt.outcome in ("caller_left", "answered")

    await run(work)


async def test_other_doors_are_written_down_as_well(start: Start) -> None:
    """The Anthropic SDK's message, a count, embeddings and a raw call: each its own row."""

    def work() -> None:
        server = start()
        client = anthropic.Anthropic(base_url=server.url, api_key="any")
        client.messages.create(
            model="claude/claude-sonnet-4-5", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
        )
        client.messages.count_tokens(model="claude/claude-sonnet-4-5", messages=[{"role": "user", "content": "hi"}])
        post(server, "/v1/embeddings", model="chat/text-embedding-3-small", input="hello")
        httpx.get(f"{server.url}/providers/chat/models", headers={"x-waypost-raw": "1"}, timeout=30)
        attempts = rows(server, tables.attempts, 4)
        told = sorted((row.provider, row.cost_basis, (row.cost_micro_usd or 0) > 0) for row in attempts)
        assert told == [
            ("chat", "free", False),
            ("chat", "reported", True),
            ("claude", "free", False),
            ("claude", "reported", True),
        ]
        paths = {row.path for row in rows(server, tables.requests, 4)}
        assert paths == {"/v1/messages", "/v1/messages/count_tokens", "/v1/embeddings", "/providers/chat/models"}

    await run(work)


@pytest.mark.parametrize("stream", [False, True])
async def test_bodies_are_kept_where_the_route_says_so_and_without_secrets(start: Start, stream: bool) -> None:
    """Of any other route nothing of what was said is in the database, nor in the journal's folder."""

    def work() -> None:
        server = start()
        words = f"my key is {SECRET}, and the word is marigold"
        post(server, messages=[{"role": "user", "content": "the other word is hyacinth"}])
        post(server, model="kept", stream=stream, messages=[{"role": "user", "content": words}])
        [kept] = rows(server, tables.bodies)
        assert "marigold" in kept.request
        assert "marigold" in said_in(kept.response)
        assert SECRET not in kept.request + kept.response
        server.stop()
        held = b"".join(file.read_bytes() for file in (server.folder / "data").rglob("*") if file.is_file())
        assert b"hyacinth" not in held
        assert SECRET.encode() not in held

    await run(work)
