"""A real server that is killed when it has warned of a budget, and before the warning has arrived."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from tests.ledger.administered import key as new_key
from tests.ledger.administered import project as new_project
from tests.ledger.fleet import Server
from tests.ledger.test_budget_crash import ANSWER_TOKENS, CALL_MICRO_USD, SCRIPT, settings
from tests.transport.raw_server import RawConnection
from tests.webhooks.receivers import SECRET, Got, reply, serving
from tests.webhooks.test_courier import until

from waypost.simulator import Simulator
from waypost.store.database import Database
from waypost.webhooks import verify
from waypost.webhooks.log import find
from waypost.webhooks.signing import derived_secret


async def ask(server: Server, key: str) -> int:
    """The status of one call."""
    body = {"model": "default", "messages": [{"role": "user", "content": "x"}], "max_tokens": ANSWER_TOKENS}
    async with httpx.AsyncClient(timeout=60) as client:
        headers = {"authorization": f"Bearer {key}"}
        return (await client.post(f"{server.url}/v1/chat/completions", json=body, headers=headers)).status_code


@pytest.mark.fault
@pytest.mark.timeout(180)
async def test_a_warning_that_had_not_arrived_when_its_server_was_killed_arrives_later(
    database: Database, tmp_path: Path
) -> None:
    """With the same id and bytes, signed for the installation; and no second warning of the same share is made."""
    got: list[Got] = []
    asked, answers = asyncio.Event(), False

    async def receive(connection: RawConnection) -> None:
        got.append(Got.of(await connection.request()))
        asked.set()
        if answers:
            await connection.send(reply(204))
        else:
            await connection.until_client_leaves()

    owner = new_project(database, "search")
    key = new_key(database, owner, "web", daily_budget_usd=CALL_MICRO_USD * 4 / 1_000_000, warn_at=[0.5]).text
    async with Simulator(SCRIPT) as simulator, serving(receive) as hook:
        told = settings(simulator, database)
        told["ledger"] = {"warning_webhook": f"{hook.url}/x?token=s3cret"}
        told["webhooks"] = {"secret": SECRET}
        server = Server(tmp_path / "server", told)
        try:
            await asyncio.to_thread(server.start)
            assert [await ask(server, key) for _ in range(2)] == [200, 200]
            await asyncio.wait_for(asked.wait(), 30)
            await asyncio.to_thread(server.kill)
            with database.read() as connection:
                (queued,) = find(connection)
            assert (queued.state, queued.attempts, queued.project_id) == ("pending", 1, owner.id)
            answers = True
            # As if its lease were over: nobody waits for that here.
            with database.write() as connection:
                connection.exec_driver_sql("UPDATE webhook_deliveries SET next_attempt_at_ms = 0")
            await asyncio.to_thread(server.start)
            assert await ask(server, key) == 200
            await until(lambda: len(got) == 2, 30)
            await until(lambda: _state(database) == ["delivered"], 30)
        finally:
            await asyncio.to_thread(server.stop)
    assert len({each.body for each in got}) == 1
    for each in got:
        assert verify(each.headers, each.body, derived_secret(SECRET, None)) == queued.id
    event = json.loads(got[0].body)
    assert (event["type"], event["data"]["share"], event["data"]["name"]) == ("budget.warning", 0.5, "web")
    assert "s3cret" not in server.log


def _state(database: Database) -> list[str]:
    with database.read() as connection:
        return [each.state for each in find(connection)]
