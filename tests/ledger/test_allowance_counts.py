"""What keys' limits and budgets came to is counted where a metric can take it from, and is no failure of a provider."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
from tests.ledger.administered import key as new_key
from tests.ledger.administered import project as new_project
from tests.ledger.fleet import Server

from waypost.simulator import Simulator
from waypost.store.database import Database, database_url
from waypost.store.migrate import upgrade

SCRIPT = {"rules": [{"reply": {"text": "one two three four five six seven eight nine ten"}}]}
COUNTS = ("budget_warnings", "budget_refusals", "price_refusals", "limit_refusals")


def counts(server: Server, admin_key: str) -> tuple[int, ...]:
    headers = {"authorization": f"Bearer {admin_key}"}
    told = httpx.get(f"{server.url}/api/admin/status", headers=headers, timeout=30).json()
    return tuple(told["workers"][0]["allowances"][name] for name in COUNTS)


async def test_warnings_and_refusals_are_counted_and_log_no_failed_attempt(tmp_path: Path) -> None:
    """A budget of one call: its end is warned of, the next one refused; so is one without a price, and one too many."""

    def work(simulator: Simulator) -> None:
        folder = tmp_path / "server" / "data"
        folder.mkdir(parents=True)
        database = Database(database_url(None, folder))
        upgrade(database)
        project = new_project(database)
        spent = new_key(database, project, "spent", daily_budget_usd=0.001).text
        slow = new_key(database, project, "slow", requests_per_minute=1).text
        admin = new_key(database, None, "admin").text
        database.close()
        settings = {
            "providers": {"chat": {"kind": "openai", "api_key": "any", "base_url": simulator.openai_url}},
            "routes": {"default": {"targets": ["chat/m"]}, "dear": {"targets": ["chat/unknown"]}},
            "prices": {"chat/m": {"input": 0, "output": 100}},
        }
        server = Server(tmp_path / "server", settings)
        server.start()
        try:

            def ask(key: str, model: str = "default") -> int:
                body: dict[str, Any] = {
                    "model": model,
                    "messages": [{"role": "user", "content": "x"}],
                    "max_tokens": 10,
                }
                headers = {"authorization": f"Bearer {key}"}
                return httpx.post(
                    f"{server.url}/v1/chat/completions", json=body, headers=headers, timeout=30
                ).status_code

            assert counts(server, admin) == (0, 0, 0, 0)
            assert (ask(spent), ask(spent), ask(spent), ask(spent, "dear")) == (200, 429, 429, 403)
            # Three, as the minute may end in between.
            assert 429 in {ask(slow) for _ in range(3)}
            warned, *refused, limited = counts(server, admin)
            assert (warned, refused) == (3, [2, 1]), "80 %, 100 %, and that it begins to refuse"
            assert limited >= 1
        finally:
            server.stop()
        assert "attempt failed" not in server.log
        lines = [line for line in server.log.splitlines() if '"error_code":"budget_exceeded"' in line]
        assert {json.loads(line[line.index("{") :])["outcome"] for line in lines} == {"failed"}

    async with Simulator(SCRIPT) as simulator:
        await asyncio.to_thread(work, simulator)
