"""Real Waypost servers in threads, whose providers are one simulator in its dialects."""

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


def wide_settings_of(simulator: Simulator) -> Settings:
    """With a provider of each kind, and a route from one that has no embeddings to one that has."""
    return Settings.model_validate(
        {
            "server": {"max_body_bytes": 100_000},
            "providers": {
                "gpt": {"kind": "openai", "api_key": "key-of-gpt", "base_url": simulator.openai_url},
                "own": {"kind": "openai_compatible", "api_key": "key-of-own", "base_url": simulator.openai_url},
                "claude": {"kind": "anthropic", "api_key": "key-of-claude", "base_url": simulator.url},
                "gem": {"kind": "gemini", "api_key": "key-of-gem", "base_url": f"{simulator.url}/v1beta"},
            },
            "routes": {
                "default": {"targets": ["gpt"], "policy": ONCE},
                "to-gpt": {"targets": ["gpt/text-embedding-3-small"], "policy": ONCE},
                "to-own": {"targets": ["own/bge-m3"], "policy": ONCE},
                "to-claude": {"targets": ["claude/claude-simulated"], "policy": ONCE},
                "to-gem": {"targets": ["gem/gemini-embedding-001"], "policy": ONCE},
                "to-all": {"targets": ["claude/c", "gpt/status-503", "gem/gemini-embedding-001"], "policy": ONCE},
            },
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
def wide(simulator: Simulator, live: Callable[[Any], AbstractContextManager[Any]]) -> Iterator[House]:
    with live(build(wide_settings_of(simulator))) as running:
        yield House(running.url, simulator, running.server)


@pytest.fixture
async def wide_http(wide: House) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=wide.url, timeout=10) as client:
        yield client


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
