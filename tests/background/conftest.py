"""Servers, workers and a simulator on a real database: what callers see of answers that are made in the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from tests.jobs.servers import Server, servers
from tests.jobs.workers import Worker, until, workers

from waypost.simulator import Pacing, Reply, Rule, Script, Simulator
from waypost.simulator.ledger import SeenRequest
from waypost.simulator.script import Match
from waypost.store.database import Database

WORDS = " ".join(f"word{number}" for number in range(1, 41))
SLOW = Rule(match=Match(contains="slowly"), reply=Reply(text=WORDS), pacing=Pacing(token_interval_s=0.05))
ENDLESS = Rule(match=Match(contains="for ever"), reply=Reply(text=WORDS * 20), pacing=Pacing(token_interval_s=0.05))
SCRIPT = Script(rules=(SLOW, ENDLESS, Rule(reply=Reply(text="one two three"))))


@dataclass
class House:
    """Two servers and as many workers as a test starts, on one database."""

    simulator: Simulator
    servers: Sequence[Server]
    workers: Sequence[Worker]
    stack: ExitStack = field(default_factory=ExitStack)
    clients: dict[Any, Any] = field(default_factory=dict)

    def url(self, number: int) -> str:
        """The address of a server, which is started if it was not."""
        server = self.servers[number]
        if server.process is None:
            self.stack.enter_context(servers(server))
        return server.url

    def client(self, number: int = 0) -> AsyncOpenAI:
        """OpenAI's own client, at one of the servers."""
        address = f"{self.url(number)}/v1"
        made: AsyncOpenAI = self._made(
            "openai", number, lambda: AsyncOpenAI(base_url=address, api_key="any", max_retries=0)
        )
        return made

    def http(self, number: int = 0) -> httpx.AsyncClient:
        """A plain client, at one of the servers."""
        address = self.url(number)
        made: httpx.AsyncClient = self._made("plain", number, lambda: httpx.AsyncClient(base_url=address, timeout=30))
        return made

    def _made(self, kind: str, number: int, make: Any) -> Any:
        if (kind, number) not in self.clients:
            self.clients[kind, number] = make()
        return self.clients[kind, number]

    async def close(self) -> None:
        """Close the clients."""
        for client in self.clients.values():
            await (client.close() if isinstance(client, AsyncOpenAI) else client.aclose())

    async def called(self) -> None:
        """Until a provider has been asked."""
        async with asyncio.timeout(20):
            while not self.simulator.requests:  # noqa: ASYNC110 - it has no event for that
                await asyncio.sleep(0.02)

    async def call_over(self) -> SeenRequest:
        """The newest call, once it is over."""
        async with asyncio.timeout(20):
            while (seen := self.simulator.requests[-1]).outcome == "open":  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        return seen

    async def work(self, number: int = 0) -> None:
        """Start a worker."""
        await asyncio.to_thread(lambda: self.stack.enter_context(workers(self.workers[number])))


async def waits_for(is_so: Any, within_s: float = 20.0, told: Any = lambda: "") -> None:
    """Wait until it is so, without holding up the simulator."""
    await asyncio.to_thread(until, is_so, within_s, told)


def settings_of(simulator: Simulator, database: Database, **more: Any) -> dict[str, Any]:
    """One target of each dialect, asked once."""
    once = {"max_attempts": 1, "recover": False}
    providers = {
        "at-openai": {"kind": "openai", "wire": "responses", "api_key": "any", "base_url": simulator.openai_url},
        "at-claude": {"kind": "anthropic", "api_key": "any", "base_url": simulator.anthropic_url},
    }
    return {
        "server": {"log_level": "info", "shutdown_grace_s": 5},
        "database_url": database.url.render_as_string(hide_password=False),
        "providers": providers,
        "routes": {
            "default": {"targets": ["at-openai/gpt-5-mini"], "policy": once},
            "same": {"targets": ["at-openai/gpt-5-mini"], "policy": once},
            "other": {"targets": ["at-claude/claude-haiku-4-5"], "policy": once},
            "broken": {"targets": ["at-claude/cut-9"], "policy": once},
        },
        "jobs": {"worker": False},
        **more,
    }


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(SCRIPT) as running:
        yield running


@pytest.fixture
async def house(
    simulator: Simulator, database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[House]:
    """With the settings that a test's own parameter adds."""
    settings = settings_of(simulator, database, **getattr(request, "param", {}))
    both = [Server(tmp_path, settings, name=f"server{number}") for number in range(2)]
    there = [Worker(tmp_path, settings, name=f"worker{number}") for number in range(2)]
    made = House(simulator, both, there)
    with made.stack:
        yield made
        await made.close()
