"""Whatever is killed, every call that the provider saw is in the ledger once, and each sum is exact."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from tests.databases import PostgresServer
from tests.ledger.fleet import Seen, Server, crowd

from waypost.catalogue import PUBLISHED
from waypost.chat import Usage
from waypost.simulator import SeenRequest, Simulator
from waypost.store import tables
from waypost.store.database import Database
from waypost.store.migrate import upgrade

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


@pytest.mark.fault
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


@pytest.mark.fault
@pytest.mark.timeout(300)
async def test_a_database_that_is_away_for_a_while_costs_nobody_a_call(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """PostgreSQL is stopped for 15 s in the middle: every request is answered, and all of it is written down later."""
    database = Database(postgres.create())
    upgrade(database)
    async with Simulator(SCRIPT) as simulator:
        server = Server(tmp_path / "server", settings(simulator, database))
        await asyncio.to_thread(server.start)
        try:
            load = asyncio.create_task(crowd([server.url], 2000, at_once=40, model="default"))
            await asyncio.sleep(1)
            await asyncio.to_thread(postgres.stop)
            await asyncio.sleep(15)
            ready = await asyncio.to_thread(httpx.get, f"{server.url}/ready", timeout=10)
            assert (ready.status_code, ready.json()["ledger"]["status"]) == (200, "behind")
            await asyncio.to_thread(postgres.start)
            seen = await load
            await eventually(lambda: len(read(database).requests) == len(seen))
        finally:
            await asyncio.to_thread(server.stop)
        assert all(each.finished for each in seen)
        check(await asyncio.to_thread(read, database), seen, simulator.requests)
        database.close()


@pytest.mark.fault
@pytest.mark.timeout(300)
async def test_of_two_replicas_one_is_frozen_and_woken(tmp_path: Path, postgres: PostgresServer) -> None:
    """SIGSTOP for some seconds: the other neither takes the frozen one's calls for dead nor waits for it."""
    database = Database(postgres.create())
    upgrade(database)
    async with Simulator(SCRIPT) as simulator:
        replicas = [Server(tmp_path / name, settings(simulator, database)) for name in ("first", "second")]
        try:
            for replica in replicas:
                await asyncio.to_thread(replica.start)
            load = asyncio.create_task(crowd([each.url for each in replicas], 1000, at_once=60, model="default"))
            await asyncio.sleep(1)
            replicas[0].send(signal.SIGSTOP)
            await asyncio.sleep(6)
            replicas[0].send(signal.SIGCONT)
            seen = await load
        finally:
            for replica in replicas:
                await asyncio.to_thread(replica.stop)
        # One that wakes late for its own timers closes connections that seem idle, and turns new callers away at first.
        assert {each.status for each in seen if not each.finished} <= {None, 503}
        assert all(each.finished for each in seen[1::2]), "the other one does as always"
        assert sum(each.finished for each in seen) > 700
        check(await asyncio.to_thread(read, database), seen, simulator.requests)
        database.close()


@pytest.mark.fault
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
@pytest.mark.timeout(300)
async def test_on_a_full_disk_no_call_is_made_that_cannot_be_written_down(tmp_path: Path) -> None:
    """The disk is filled in the middle, and has room again after a while."""
    folder = tmp_path / "server" / "data"
    folder.mkdir(parents=True)
    await asyncio.to_thread(mount, "mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder))
    try:
        async with Simulator(SCRIPT) as simulator:
            # Small files: of a large one the room is set aside before the disk is full.
            small = {**settings(simulator, None), "ledger": {"journal_max_bytes": 1024 * 1024}}
            server = Server(tmp_path / "server", small)
            await asyncio.to_thread(server.start)
            try:
                load = asyncio.create_task(crowd([server.url], 2000, at_once=40, model="default"))
                await asyncio.sleep(1.5)
                await asyncio.to_thread(fill, folder / "ballast")
                refuses = await eventually(lambda: httpx.get(f"{server.url}/ready", timeout=10).status_code == 503)
                assert refuses, "the disk is full, and nothing says so"
                # Crowds of their own: refusals are quick, and the first one may be over by now.
                refused = await crowd([server.url], 40, at_once=10, model="default", first=10_000)
                (folder / "ballast").unlink()
                await eventually(lambda: httpx.get(f"{server.url}/ready", timeout=10).status_code == 200)
                answered = await crowd([server.url], 40, at_once=10, model="default", first=20_000)
                seen = [*await load, *refused, *answered]
            finally:
                await asyncio.to_thread(server.stop)
            assert any(each.status == 503 for each in refused)
            assert any(each.finished for each in answered), "it did not recover"
            from waypost.store.database import database_url

            database = Database(database_url(None, folder))
            check(await asyncio.to_thread(read, database), seen, simulator.requests)
            database.close()
    finally:
        await asyncio.to_thread(mount, "umount", str(folder))


def mount(*command: str) -> None:
    """Run a command of the system's."""
    subprocess.run(command, check=True)


def fill(file: Path) -> None:
    """Write until there is no room left."""
    with file.open("wb", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    ballast.write(b"x" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


async def eventually(claim: Callable[[], bool], within_s: float = 30) -> bool:
    """Does it come true?"""
    end_s = time.monotonic() + within_s
    while not await asyncio.to_thread(claim):
        if time.monotonic() > end_s:
            return False
        await asyncio.sleep(0.2)
    return True


def opened(server: Server, database: Database) -> Database:
    """The server's own SQLite file, or the PostgreSQL database it was given."""
    if not database.is_sqlite:
        return database
    from waypost.store.database import database_url

    return Database(database_url(None, server.folder / "data"))
