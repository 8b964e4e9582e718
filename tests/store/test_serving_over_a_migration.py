"""Claims about real servers of two ages on one database: nothing is lost, and code that is too old is refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select
from tests.ledger.fleet import Server
from tests.planted import Planted

from waypost.simulator import Simulator
from waypost.store.database import Database
from waypost.store.migrate import check, newest, upgrade
from waypost.store.tables import requests

ADDED = (
    "op.add_column('requests', sa.Column('note', sa.String(10)))\nop.create_table('extra', sa.Column('a', sa.Integer))"
)


@pytest.fixture
async def server(database: Database, tmp_path: Path) -> AsyncIterator[Server]:
    """A server of this version, not started, with the simulator as its provider."""
    async with Simulator() as simulator:
        settings = {
            "database_url": database.url.render_as_string(hide_password=False),
            "providers": {"simulated": {"kind": "openai", "api_key": "any", "base_url": simulator.openai_url}},
            "routes": {"default": {"targets": ["simulated/gpt-5-mini"]}},
        }
        server = Server(tmp_path / "server", settings)
        yield server
        await asyncio.to_thread(server.stop)


async def ask(server: Server, name: str) -> None:
    body = {"model": "default", "messages": [{"role": "user", "content": name}]}
    async with httpx.AsyncClient(timeout=30) as client:
        reply = await client.post(f"{server.url}/v1/chat/completions", json=body, headers={"x-request-id": name})
    assert reply.status_code == 200, reply.text


async def until_logged(database: Database, *names: str) -> None:
    """Wait until the request log holds these and nothing else."""
    end = time.monotonic() + 30
    found: list[str] = []
    while found != sorted(names):
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)
        with database.read() as connection:
            found = sorted(connection.scalars(select(requests.c.request_id)))


async def migrate(database: Database, planted: Planted) -> None:
    """What the first server of a later version does at its start, in a process of its own."""
    process = planted.start(database)
    output, _ = await asyncio.to_thread(process.communicate, timeout=60)
    assert (output, process.returncode) == ("", 0)


async def test_a_server_goes_on_while_a_later_version_expands_its_database_and_can_be_started_again(
    database: Database, server: Server, planted: Planted
) -> None:
    await asyncio.to_thread(server.start)
    await ask(server, "before")
    await until_logged(database, "before")
    step = planted.add(ADDED, oldest_code=1)
    await migrate(database, planted)
    await ask(server, "after")
    await until_logged(database, "before", "after")
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    await ask(server, "again")
    await until_logged(database, "before", "after", "again")
    assert check(database).version == step
    assert "trouble" not in server.log


async def test_a_server_that_the_database_has_outgrown_does_not_start(
    database: Database, server: Server, planted: Planted
) -> None:
    step = planted.add("op.drop_column('requests', 'cache')", oldest_code=newest() + 1)
    upgrade(database, planted.folders)
    database.close()
    with pytest.raises(AssertionError):
        await asyncio.to_thread(server.start)
    assert server.process is not None
    assert server.process.wait(10) == 3
    assert f"has schema {step}, made by Waypost" in server.log
    assert "Install Waypost" in server.log
    assert "Traceback" not in server.log
