"""Whatever is killed, every call that the provider saw is in the ledger once, and each sum is exact."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.ledger.fleet import Seen, Server, crowd

from waypost.catalogue import PUBLISHED
from waypost.chat import Usage
from waypost.simulator import SeenRequest, Simulator
from waypost.store import tables
from waypost.store.database import Database

MODEL = "gpt-5-mini"
SCRIPT: Mapping[str, Any] = {
    "rules": [{"reply": {"text": "one two three four five six seven eight nine ten"}}],
    "pacing": {"first_token_s": 0.05, "token_interval_s": 0.01},
}


def settings(simulator: Simulator, database: Database | None) -> dict[str, Any]:
    """One target, asked once: a crash is not to be covered up by a retry."""
    told: dict[str, Any] = {
        "server": {"log_level": "warning"},
        "providers": {"simulated": {"kind": "openai", "api_key": "any", "base_url": simulator.openai_url}},
        "routes": {"default": {"targets": [f"simulated/{MODEL}"], "policy": {"max_attempts": 1, "recover": False}}},
    }
    if database is not None:
        told["database_url"] = database.url.render_as_string(hide_password=False)
    return told


@dataclass
class Books:
    """What the database says."""

    attempts: Sequence[Any]
    requests: Sequence[Any]
    day_sum: int
    spend_sum: int


def read(database: Database) -> Books:
    with database.read() as connection:
        return Books(
            connection.execute(select(tables.attempts)).all(),
            connection.execute(select(tables.requests)).all(),
            connection.execute(select(func.coalesce(func.sum(tables.daily_totals.c.cost_micro_usd), 0))).scalar_one(),
            connection.execute(
                select(func.coalesce(func.sum(tables.spend.c.micro_usd), 0)).where(
                    tables.spend.c.subject.like("key:%"), func.length(tables.spend.c.window) == len("2026-11-26")
                )
            ).scalar_one(),
        )


def price(usage: Mapping[str, int]) -> int:
    cost = PUBLISHED.cost_micro_usd(
        "simulated", "openai", MODEL, Usage(usage["prompt_tokens"], output_tokens=usage["completion_tokens"])
    )
    assert cost is not None
    return cost


def check(books: Books, seen: Sequence[Seen], asked: Sequence[SeenRequest]) -> None:
    """The claim of this module, over what the callers saw, what the provider saw, and what the database says."""
    number_of = {row.id: int(row.request_id.removeprefix("r")) for row in books.requests}
    assert len(number_of) == len(set(number_of.values())), "a request has two rows"
    by_number = {number_of[row.entry_id]: row for row in books.attempts}
    assert len(by_number) == len(books.attempts), "an attempt has two rows"
    provider = Counter(_number(each) for each in asked)
    assert set(provider.values()) <= {1}
    assert set(provider) <= set(by_number), "the provider saw a call that is not in the ledger"
    for number in set(by_number) - set(provider):
        # Written down, and killed before it was sent: nobody can know that it was not.
        assert by_number[number].outcome in ("unknown", "failed", "caller_left")
    finished = [each for each in seen if each.finished]
    for each in finished:
        row = by_number[each.number]
        assert each.usage is not None
        told = (row.outcome, row.cost_basis, row.cost_micro_usd)
        assert told == ("answered", "reported", price(each.usage)), (each, told)
    for number, row in by_number.items():
        assert row.outcome != "open", number
        if row.outcome != "answered":
            assert row.cost_basis in ("estimated", "free"), (number, row.outcome, row.cost_basis)
    total = sum(row.cost_micro_usd for row in books.attempts)
    assert books.day_sum == total
    assert books.spend_sum == total
    exact = [row for row in books.attempts if row.cost_basis == "reported"]
    assert sum(row.cost_micro_usd for row in exact) >= sum(price(each.usage or {}) for each in finished)


def _number(seen: SeenRequest) -> int:
    body: Any = seen.body
    return int(body["messages"][0]["content"].removeprefix("request "))


@pytest.mark.timeout(300)
async def test_five_kills_under_load_lose_and_double_nothing(tmp_path: Path, database: Database) -> None:
    """2,000 requests at 100 in flight; the server is killed five times at random and started anew."""
    chance = random.Random(20261126)  # noqa: S311 - a plan that can be played again
    async with Simulator(SCRIPT) as simulator:
        server = Server(tmp_path / "server", settings(simulator, None if database.is_sqlite else database))
        await asyncio.to_thread(server.start)
        try:
            load = asyncio.create_task(crowd([server.url], 2000, at_once=100, model="default"))
            for _ in range(5):
                await asyncio.sleep(0.3 + chance.random())
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            seen = await load
        finally:
            await asyncio.to_thread(server.stop)
        assert sum(each.finished for each in seen) > 200
        books = await asyncio.to_thread(read, opened(server, database))
        check(books, seen, simulator.requests)


def opened(server: Server, database: Database) -> Database:
    """The server's own SQLite file, or the PostgreSQL database it was given."""
    if not database.is_sqlite:
        return database
    from waypost.store.database import database_url

    return Database(database_url(None, server.folder / "data"))
