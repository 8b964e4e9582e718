"""Calls that are passed through as they are: each is billed as through its door."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from tests.ledger.administered import key as new_key
from tests.ledger.administered import project as new_project
from tests.ledger.fleet import Server
from tests.ledger.test_books import rows

from waypost.catalogue import PUBLISHED
from waypost.chat import Usage
from waypost.simulator import Simulator
from waypost.store import tables
from waypost.store.database import Database, database_url
from waypost.store.migrate import upgrade

RAW = {"x-waypost-raw": "1"}
MESSAGES = [{"role": "user", "content": "one two three four five six seven eight nine ten eleven twelve"}]
CONTENTS = [{"role": "user", "parts": [{"text": "one two three four five six seven eight"}]}]
GEMINI = "/providers/google/models/gemini-2.5-flash"
Start = Callable[..., Server]


@pytest.fixture
async def simulator() -> Any:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
def start(tmp_path: Path, simulator: Simulator) -> Iterator[Start]:
    servers: list[Server] = []

    def make() -> Server:
        providers = {
            "chat": {"kind": "openai", "api_key": "any", "base_url": simulator.openai_url},
            "claude": {"kind": "anthropic", "api_key": "any", "base_url": simulator.anthropic_url},
            "google": {"kind": "gemini", "api_key": "any", "base_url": f"{simulator.gemini_url}/v1beta"},
        }
        prices = {"chat/cut-8": {"input": 1, "output": 4}}
        told = {"providers": providers, "routes": {"default": {"targets": ["chat"]}}, "prices": prices}
        servers.append(Server(tmp_path / "server", told))
        servers[-1].start()
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def send(server: Server, path: str, body: Any, headers: Mapping[str, str] = RAW) -> httpx.Response:
    return httpx.post(f"{server.url}{path}", json=body, headers=headers, timeout=30)


CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("/providers/chat/chat/completions", {"model": "gpt-5-mini", "messages": MESSAGES}, "reported"),
    (
        "/providers/chat/chat/completions",
        {"model": "gpt-5-mini", "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}},
        "reported",
    ),
    # The caller did not ask for counts, and nothing is asked for him: what came is counted here.
    (
        "/providers/chat/chat/completions",
        {"model": "gpt-5-mini", "messages": MESSAGES, "stream": True, "user": "u7"},
        "estimated",
    ),
    ("/providers/chat/responses", {"model": "gpt-5-mini", "input": "one two three"}, "reported"),
    ("/providers/chat/responses", {"model": "gpt-5-mini", "input": "one two three", "stream": True}, "reported"),
    (
        "/providers/claude/v1/messages",
        {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": MESSAGES},
        "reported",
    ),
    (
        "/providers/claude/v1/messages",
        {"model": "claude-haiku-4-5", "max_tokens": 99, "messages": MESSAGES, "stream": True},
        "reported",
    ),
    (f"{GEMINI}:generateContent", {"contents": CONTENTS}, "reported"),
    (f"{GEMINI}:streamGenerateContent?alt=sse", {"contents": CONTENTS}, "reported"),
    (f"{GEMINI}:streamGenerateContent", {"contents": CONTENTS}, "reported"),
    ("/providers/chat/embeddings", {"model": "text-embedding-3-small", "input": "one two"}, "reported"),
]


async def test_what_generates_is_counted_and_priced_whole_or_streamed(start: Start) -> None:
    """In every dialect; the model that answered is in the log, and the end user that the request names."""

    def work() -> None:
        server = start()
        for path, body, _ in CALLS:
            passed = send(server, path, body)
            assert passed.status_code == 200, (path, passed.text)
        attempts = sorted(rows(server, tables.attempts, len(CALLS)), key=lambda row: row.id)
        for (path, body, basis), row in zip(CALLS, attempts, strict=True):
            assert (row.outcome, row.cost_basis) == ("answered", basis), path
            assert row.input_tokens > 0, path
            assert "embeddings" in path or row.output_tokens > 0, path
            kind = {"chat": "openai", "claude": "anthropic", "google": "gemini"}[row.provider]
            model = body.get("model", "gemini-2.5-flash")
            usage = Usage(row.input_tokens, output_tokens=row.output_tokens)
            assert row.cost_micro_usd == PUBLISHED.cost_micro_usd(row.provider, kind, model, usage)
            assert row.cost_micro_usd > 0
        requests = rows(server, tables.requests, len(CALLS))
        assert [row.end_user for row in requests if row.end_user] == ["u7"]
        assert {row.model for row in requests} >= {"gpt-5-mini", "claude-haiku-4-5", "gemini-2.5-flash"}

    await asyncio.to_thread(work)


async def test_what_is_not_counted_says_so_and_what_is_free_costs_nothing(start: Start) -> None:
    def work() -> None:
        server = start()
        send(server, "/providers/chat/moderations", {"input": "hello"})
        httpx.get(f"{server.url}/providers/chat/models", headers=RAW, timeout=30)
        send(server, "/providers/claude/v1/messages/count_tokens", {"model": "claude-haiku-4-5", "messages": MESSAGES})
        send(server, "/providers/chat/chat/completions", {"model": "status-429", "messages": MESSAGES})
        send(server, "/providers/chat/chat/completions", {"model": "nobody-knows", "messages": MESSAGES})
        attempts = sorted(rows(server, tables.attempts, 5), key=lambda row: row.id)
        told = [(row.outcome, row.cost_basis, row.cost_micro_usd) for row in attempts]
        assert told == [
            ("answered", "free", 0),
            ("answered", "free", 0),
            ("answered", "free", 0),
            ("failed", "free", 0),
            ("answered", "unpriced", None),
        ]
        assert attempts[-1].input_tokens > 0

    await asyncio.to_thread(work)


async def test_a_stream_that_is_cut_is_billed_for_what_had_come(start: Start) -> None:
    """The caller's reply breaks off as well, and the call is a failure."""

    def work() -> None:
        server = start()
        body = {"model": "cut-8", "messages": MESSAGES, "stream": True}
        with pytest.raises(httpx.RemoteProtocolError):
            send(server, "/providers/chat/chat/completions", body)
        [attempt] = rows(server, tables.attempts)
        assert (attempt.outcome, attempt.cost_basis) == ("failed", "estimated")
        assert attempt.output_tokens >= 2
        assert attempt.cost_micro_usd >= attempt.input_tokens + 4 * attempt.output_tokens

    await asyncio.to_thread(work)


async def test_a_budget_holds_for_calls_that_are_passed_through(
    start: Start, simulator: Simulator, tmp_path: Path
) -> None:
    """What can be priced is reserved and paid; what cannot is refused, which names why; what is free always goes."""

    def work() -> None:
        folder = tmp_path / "server" / "data"
        folder.mkdir(parents=True)
        database = Database(database_url(None, folder))
        upgrade(database)
        answer = 1000 * 2  # micro-dollars of gpt-5-mini's thousand tokens
        budget = (answer * 3) / 1_000_000
        shown = new_key(database, new_project(database), daily_budget_usd=budget).text
        server = start()
        headers = {"authorization": f"Bearer {shown}"}
        told = {"model": "gpt-5-mini", "messages": MESSAGES, "max_tokens": 1000}

        refused = send(server, "/providers/chat/batches", {"input_file_id": "f"}, headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "price_unknown")
        assert "/batches" in refused.json()["error"]["message"]
        assert "without a budget" in refused.json()["error"]["hint"]
        assert httpx.get(f"{server.url}/providers/chat/models", headers=headers, timeout=30).status_code == 200
        assert send(server, "/providers/chat/moderations", {"input": "a"}, headers).status_code == 200
        too_large = send(server, "/providers/chat/chat/completions", {**told, "max_tokens": 4000}, headers)
        assert (too_large.status_code, too_large.json()["error"]["code"]) == (429, "budget_exceeded")
        asked = len(simulator.requests)
        assert send(server, "/providers/chat/chat/completions", told, headers).status_code == 200
        assert len(simulator.requests) == asked + 1, "what was refused was not sent"
        [paid] = [row for row in rows(server, tables.attempts, 3) if row.cost_micro_usd]
        with database.read() as connection:
            spent = set(connection.execute(select(tables.spend.c.micro_usd)).scalars())
        assert spent == {paid.cost_micro_usd}
        opened = [row for row in rows(server, tables.attempts, 3) if row.reserved_micro_usd]
        assert [row.reserved_micro_usd > row.cost_micro_usd for row in opened] == [True]
        database.close()

    await asyncio.to_thread(work)
