"""Two installations that are in trouble: requests that fail, are late or too dear, jobs that wait, a loop that is late.

production: a server and a worker of its own on a PostgreSQL, with keys and budgets. staging: a server without a worker
on an SQLite file, whose provider is down. The provider of both is the simulator.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy.engine import URL
from tests.databases import PostgresServer
from tests.jobs.workers import Worker, ask, states
from tests.ledger.administered import key, project
from tests.ledger.fleet import Server, free_port

from waypost.simulator import Simulator
from waypost.store.database import Database
from waypost.store.migrate import upgrade

ADMIN: Final = "wp-admin-0123456789abcdef0123456789abcdef"
METRICS_TOKEN: Final = "metrics-token-0123456789"
SCRIPT: Final[dict[str, Any]] = {
    "rules": [
        {"match": {"model": "down"}, "fault": {"status": 500}},
        {"match": {"model": "one-in-three"}, "every": 3, "fault": {"status": 500}},
        {"match": {"model": "one-in-ten"}, "every": 10, "fault": {"status": 500}},
        {"match": {"model": "one-in-thirty"}, "every": 30, "fault": {"status": 500}},
        {"match": {"model": "late"}, "reply": {"text": "at last"}, "pacing": {"first_token_s": 6.0}},
        {"match": {"model": "dear"}, "reply": {"text": "gold"}, "usage": {"output_tokens": 10}},
        {"match": {"contains": "takes long"}, "reply": {"text": "done"}, "pacing": {"first_token_s": 90.0}},
        {"reply": {"echo": True}},
    ]
}
BROKEN: Final = ("down", "one-in-three", "one-in-ten", "one-in-thirty")
PROVIDERS: Final = ("simulated", *(f"vendor-{name}" for name in BROKEN))
GIVEN_UP_S: Final = 120.0
ONCE: Final[dict[str, Any]] = {"max_attempts": 1, "recover": False}


def settings(simulator: Simulator, database: URL) -> dict[str, Any]:
    """Of both installations: a provider for each way to fail, each target asked once."""
    provider = {"kind": "openai", "api_key": "any", "base_url": simulator.openai_url}
    routes: dict[str, Any] = {name: {"targets": [f"vendor-{name}/{name}"], "policy": ONCE} for name in BROKEN}
    routes |= {name: {"targets": [f"simulated/{name}"], "policy": ONCE} for name in ("late", "dear")}
    routes["default"] = {"targets": ["simulated/gpt-5-mini"], "policy": ONCE}
    routes["bulky"] = {"targets": ["simulated/gpt-5-mini"], "policy": ONCE, "store_bodies": True}
    return {
        "server": {"log_level": "info", "shutdown_grace_s": 2},
        "database_url": database.render_as_string(hide_password=False),
        "providers": dict.fromkeys(PROVIDERS, provider),
        "routes": routes,
        "prices": {"simulated/dear": {"input": 0, "output": 1_000_000}},
        "ledger": {"journal_max_bytes": 1024 * 1024},
        "telemetry": {"metrics_token": METRICS_TOKEN, "worker_metrics_port": free_port()},
        "jobs": {"worker": False, "concurrency": 1},
    }


@dataclass
class Troubles:
    """Both installations, and what is asked of them until `end`."""

    production: Server
    staging: Server
    worker: Worker
    database: Database
    """Production's."""
    postgres: PostgresServer
    budget_keys: tuple[str, str]
    """Of a project that spends steadily, and of one that spends all."""
    client: httpx.AsyncClient
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self) -> None:
        """Start all; a job kills the worker until it is given up, before the machine has much to do."""
        self.production.start()
        self.staging.start()
        ask(self.database, 1, type="poison")
        self.worker.start()
        end = time.monotonic() + GIVEN_UP_S
        while states(self.database) != ["failed"]:
            assert time.monotonic() < end, self.worker.log
            if self.worker.process_ended:
                self.worker.start()
            time.sleep(0.05)

    def stop(self) -> None:
        """End all of it, whichever of it still runs."""
        self.ending.set()
        self.postgres.thaw()
        for process in (self.production.process, self.staging.process, self.worker.process):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    async def chat(self, server: Server, model: str, *, key: str = ADMIN, prompt: str = "hello", **more: Any) -> int:
        """One request; the status it was answered with, 0 for none at all."""
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": 10, **more}
        headers = {"authorization": f"Bearer {key}"} if server is self.production else {}
        try:
            reply = await self.client.post(f"{server.url}/v1/chat/completions", json=body, headers=headers)
        except httpx.TransportError:
            return 0
        return reply.status_code

    async def keep_asking(self, server: Server, model: str, pause_s: float, **more: Any) -> None:
        """One request after the other, until all of it ends."""
        while not self.ending.is_set():
            await self.chat(server, model, **more)
            await self.pause(pause_s)

    async def pause(self, pause_s: float) -> None:
        """That is how often callers ask; the end does not wait for it."""
        try:
            async with asyncio.timeout(pause_s):
                await self.ending.wait()
        except TimeoutError:
            return

    async def spend(self) -> None:
        """Ten dollars of a hundred at a time, to the half of one budget, and to the end of the other."""
        steady, all_of_it = self.budget_keys
        for number in range(10):
            await self.chat(self.production, "dear", key=all_of_it)
            if number % 2:
                await self.chat(self.production, "dear", key=steady)
            await self.pause(1.5)

    async def stutter(self) -> None:
        """The server in staging stands still half of the time, as on a machine that has too much to do."""
        while not self.ending.is_set():
            self.staging.send(signal.SIGSTOP)
            await self.pause(0.6)
            self.staging.send(signal.SIGCONT)
            await self.pause(0.5)

    async def give_jobs(self) -> None:
        """Two that are done, then some that take long, one after the other."""
        await asyncio.to_thread(ask, self.database, 2)
        await asyncio.to_thread(ask, self.database, 3, request={"prompt": "this takes long"})

    def begin(self) -> list[asyncio.Task[None]]:
        """All of it at once."""
        asked = [
            self.keep_asking(self.production, "default", 0.2),
            self.keep_asking(self.production, "default", 0.5, stream=True),
            self.keep_asking(self.production, "down", 0.4),
            self.keep_asking(self.staging, "down", 0.4),
            *(self.keep_asking(self.production, "one-in-three", 0.3) for _ in range(2)),
            *(self.keep_asking(self.production, "one-in-ten", 0.2) for _ in range(2)),
            *(self.keep_asking(self.production, "one-in-thirty", 0.2) for _ in range(3)),
            *(self.keep_asking(self.production, "late", 0.1, stream=True) for _ in range(24)),
            self.spend(),
            self.stutter(),
            self.give_jobs(),
        ]
        return [asyncio.create_task(each) for each in asked]


@asynccontextmanager
async def troubles(folder: Path, postgres: PostgresServer) -> AsyncIterator[Troubles]:
    """Both installations, started, and stopped again whatever happens."""
    async with Simulator(SCRIPT) as simulator, httpx.AsyncClient(timeout=30, limits=httpx.Limits()) as client:
        production, staging = Database(postgres.url), Database(_file(folder))
        try:
            keys = await asyncio.to_thread(_prepare, production, staging)
            keyed = {**settings(simulator, postgres.url), "keys": {"admin": {"key": ADMIN, "admin": True}}}
            made = Troubles(
                Server(folder / "production", keyed),
                Server(folder / "staging", settings(simulator, _file(folder))),
                Worker(folder / "worker", keyed),
                production,
                postgres,
                keys,
                client,
            )
            try:
                await asyncio.to_thread(made.start)
                yield made
            finally:
                await asyncio.to_thread(made.stop)
        finally:
            production.close()
            staging.close()


def _file(folder: Path) -> URL:
    return URL.create("sqlite+pysqlite", database=str(folder / "staging.db"))


def _prepare(production: Database, staging: Database) -> tuple[str, str]:
    """Tables, two projects with budgets, and staging's jobs, which nobody will do. The projects' keys."""
    for database in (production, staging):
        upgrade(database)
    ask(staging, 3)
    steady, spent = (project(production, name, monthly_budget_usd=102) for name in ("steady", "spent"))
    return key(production, steady).text, key(production, spent).text
