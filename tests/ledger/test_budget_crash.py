"""A budget over two real servers of which one is killed and one is frozen: never overspent, and spent to the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from tests.ledger.administered import key as new_key
from tests.ledger.administered import project as new_project
from tests.ledger.fleet import Server

from waypost.simulator import Simulator
from waypost.store.database import Database
from waypost.store.tables import spend

ANSWER_TOKENS = 10
CALL_MICRO_USD = 1_000
"""What a call costs, at most and really: prompts are free."""
PAID_CALLS = 100
SOME = 15
SCRIPT = {
    "rules": [{"reply": {"text": "one two three four five six seven eight nine ten"}}],
    "pacing": {"first_token_s": 0.1, "token_interval_s": 0.03},
}


def settings(simulator: Simulator, database: Database) -> dict[str, Any]:
    price = {"input": 0, "output": CALL_MICRO_USD / ANSWER_TOKENS}
    return {
        "server": {"log_level": "warning"},
        "database_url": database.url.render_as_string(hide_password=False),
        "providers": {"simulated": {"kind": "openai", "api_key": "any", "base_url": simulator.openai_url}},
        "routes": {"default": {"targets": ["simulated/m"], "policy": {"max_attempts": 1, "recover": False}}},
        "prices": {"simulated/m": price},
    }


@contextmanager
def two_servers(folder: Path, simulator: Simulator, database: Database) -> Iterator[tuple[Server, Server]]:
    """Each with a data folder, and so a journal, of its own: as on two machines."""
    # Two workers each, so that at an SQLite file neither of them spends alone.
    told = settings(simulator, database)
    if database.is_sqlite:
        told["server"]["workers"] = 2
    servers = Server(folder / "first", told), Server(folder / "second", told)
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.stop()


class Callers:
    """Many who want one call each, and ask again as long as they are told that it may help."""

    def __init__(self, key: str, urls: Sequence[str]) -> None:
        self.answered = self.refused = self.lost = 0
        self.begun = asyncio.Event()
        """Have some of them been answered?"""
        self._key = key
        self._urls = urls

    async def all(self, count: int) -> None:
        limits = httpx.Limits(max_connections=count, max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            await asyncio.gather(*(self._one(client, number) for number in range(count)))

    async def _one(self, client: httpx.AsyncClient, number: int) -> None:
        headers = {"authorization": f"Bearer {self._key}"}
        body = {"model": "default", "messages": [{"role": "user", "content": "x"}], "max_tokens": ANSWER_TOKENS}
        while True:
            number += 1
            try:
                url = f"{self._urls[number % len(self._urls)]}/v1/chat/completions"
                reply = await client.post(url, json=body, headers=headers)
            except httpx.ConnectError:
                await asyncio.sleep(0.2)
                continue
            except httpx.HTTPError:
                # It was killed under way: what it cost is not for the caller to know.
                self.lost += 1
                return
            if reply.status_code == 200:
                self.answered += 1
                if self.answered >= SOME:
                    self.begun.set()
                return
            assert reply.status_code in (429, 503), reply.text
            if reply.headers.get("x-should-retry") == "false":
                self.refused += 1
                return
            await asyncio.sleep(min(2.0, float(reply.headers["retry-after"])))


def spent(database: Database, window_length: int) -> set[int]:
    with database.read() as connection:
        rows = connection.execute(select(spend.c.window, spend.c.micro_usd))
        return {micro_usd for window, micro_usd in rows if len(window) == window_length}


async def until_drained(database: Database, micro_usd: int) -> None:
    for _ in range(200):
        if spent(database, len("2026-11-26")) == {micro_usd}:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"spent: {spent(database, len('2026-11-26'))}")


@pytest.mark.fault
@pytest.mark.timeout(180)
async def test_a_budget_is_spent_to_the_end_though_one_of_two_servers_is_killed(
    tmp_path: Path, database: Database
) -> None:
    """Many want a hundred calls, ten at a time. What the killed one had begun is spent, what it had not comes back."""
    budget = PAID_CALLS * CALL_MICRO_USD / 1_000_000
    limits: dict[str, Any] = {
        "daily_budget_usd": budget,
        "monthly_budget_usd": budget,
        "concurrent_requests": 10,
    }
    shown = new_key(database, new_project(database), **limits).text
    async with Simulator(SCRIPT) as simulator:
        with two_servers(tmp_path, simulator, database) as (first, second):
            callers = Callers(shown, [first.url, second.url])
            load = asyncio.create_task(callers.all(250))
            await callers.begun.wait()
            await asyncio.to_thread(first.kill)
            await asyncio.sleep(2)
            await asyncio.to_thread(first.start)
            await load
            # Neither more nor less: each call that was begun is in it at its full price.
            await until_drained(database, PAID_CALLS * CALL_MICRO_USD)
        assert callers.answered + callers.lost >= PAID_CALLS
        assert callers.answered <= len(simulator.requests) <= PAID_CALLS
        assert callers.refused > 0


@pytest.mark.fault
@pytest.mark.timeout(180)
async def test_a_server_that_was_frozen_for_long_overspends_nothing_when_it_wakes(
    tmp_path: Path, database: Database
) -> None:
    budget = PAID_CALLS * CALL_MICRO_USD / 1_000_000
    shown = new_key(database, new_project(database), daily_budget_usd=budget).text
    if database.is_sqlite:
        pytest.skip("a frozen process would hold the one writer's lock of an SQLite file")
    async with Simulator(SCRIPT) as simulator:
        with two_servers(tmp_path, simulator, database) as (first, second):
            warm = Callers(shown, [first.url])
            await warm.all(5)
            first.send(signal.SIGSTOP)
            callers = Callers(shown, [second.url])
            load = asyncio.create_task(callers.all(300))
            await asyncio.sleep(5)
            first.send(signal.SIGCONT)
            late = Callers(shown, [first.url, second.url])
            await asyncio.gather(load, late.all(100))
            await until_drained(database, PAID_CALLS * CALL_MICRO_USD)
        assert warm.answered + callers.answered + late.answered == len(simulator.requests) == PAID_CALLS
