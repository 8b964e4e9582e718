"""A real Waypost server in a thread, whose two providers are one simulator in its two dialects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from waypost.app import build
from waypost.settings import Settings
from waypost.simulator import Simulator

GPT, CLAUDE = "to-gpt", "to-claude"
ONCE = {"max_retries": 0, "backoff_first_s": 0.01, "recover": False}


def settings_of(simulator: Simulator) -> Settings:
    return Settings.model_validate(
        {
            "server": {"max_body_bytes": 100_000},
            "providers": {
                "gpt": {"kind": "openai", "api_key": "key-of-gpt", "base_url": simulator.openai_url},
                "claude": {"kind": "anthropic", "api_key": "key-of-claude", "base_url": simulator.url},
            },
            "routes": {
                "default": {"targets": ["gpt"], "policy": ONCE},
                GPT: {"targets": ["gpt/gpt-simulated"], "policy": ONCE},
                CLAUDE: {"targets": ["claude/claude-simulated"], "policy": ONCE},
                "to-both": {"targets": ["gpt/status-503", "claude/claude-simulated"], "policy": ONCE},
            },
            "aliases": {"quick": GPT},
        }
    )


@dataclass(frozen=True)
class House:
    """The server's address and the simulator behind it."""

    url: str
    simulator: Simulator
    server: Any


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
def house(simulator: Simulator, live: Callable[[Any], AbstractContextManager[Any]]) -> Iterator[House]:
    with live(build(settings_of(simulator))) as running:
        yield House(running.url, simulator, running.server)


@pytest.fixture
async def gpt(house: House) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{house.url}/v1", api_key="any", max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
async def claude(house: House) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=house.url, api_key="any", max_retries=0, timeout=10) as client:
        yield client


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=house.url, timeout=10) as client:
        yield client
