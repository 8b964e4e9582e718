"""What the server's tests share: a provider with a script, an application around it, and real servers on port 0."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi.testclient import TestClient

from waypost import AIResponse, AIServiceManager, AIServiceProvider
from waypost.app import stores_of
from waypost.chat import Event
from waypost.gateway.gateway import Gateway
from waypost.gateway.stores import Stores
from waypost.providers.provider import ProviderState
from waypost.server.api import create_app
from waypost.server.callers import Callers
from waypost.server.listen import listen, url_of
from waypost.server.run import DrainingServer, make_server
from waypost.settings import Settings
from waypost.store.lazy import LazyDatabase
from waypost.telemetry.observers import NOBODY, Observers

SETTINGS: dict[str, Any] = {
    "providers": {"first": {"kind": "openai", "api_key": "k"}, "second": {"kind": "openai", "api_key": "k"}},
    "routes": {"default": {"targets": ["first"]}},
}


class Scripted(AIServiceProvider):
    """Plays its script: text is said, a number is a pause in seconds, an exception is raised."""

    def __init__(self, *script: str | float | Exception, state: ProviderState | None = None) -> None:
        self.script = script
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.cancelled_at: float | None = None
        self.running = threading.Event()
        self._state = state or ProviderState("ready")

    async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
        pieces = [piece async for piece in self._play(prompt, kwargs)]
        usage = {"input_tokens": 3, "output_tokens": len(pieces), "total_tokens": 3 + len(pieces)}
        metadata = {"id": "answer-1", "finish_reason": "stop"}
        return AIResponse("".join(pieces), metadata, "", kwargs.get("model") or "m1", usage)

    async def stream_response(self, prompt: str, **kwargs: Any) -> AsyncIterator[str]:
        async for piece in self._play(prompt, kwargs):
            yield piece

    def state(self) -> ProviderState:
        return self._state

    async def _play(self, prompt: str, arguments: dict[str, Any]) -> AsyncIterator[str]:
        self.calls.append((prompt, arguments))
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, str):
                    yield step
                else:
                    self.running.set()
                    await asyncio.sleep(step)
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled_at = time.monotonic()
            raise


class Eventful(Scripted):
    """Gives canonical events instead of text."""

    def __init__(self, *events: Event) -> None:
        super().__init__()
        self.events = events

    @asynccontextmanager
    async def stream_events(self, prompt: str, **kwargs: Any) -> AsyncIterator[AsyncIterator[Event]]:
        async def play() -> AsyncIterator[Event]:
            for event in self.events:
                yield event

        yield play()


@dataclass
class Served:
    """A built application with a real manager."""

    settings: Settings
    manager: AIServiceManager = field(default_factory=AIServiceManager)
    gateway: Gateway = field(default_factory=lambda: Gateway({}, {}, {}))
    callers: Callers = field(default_factory=lambda: Callers({}))
    stores: Stores = field(init=False)
    database: LazyDatabase = field(init=False)
    ledger: None = None
    jobs: None = None
    observers: Observers = NOBODY
    metrics: None = None
    closed: int = 0

    def __post_init__(self) -> None:
        self.stores = stores_of(self.settings)
        self.database = LazyDatabase(self.settings)

    async def close(self) -> None:
        self.closed += 1


def build_served(*providers: AIServiceProvider, **server: Any) -> Served:
    """The providers are named first, second; `server` are settings of the server."""
    served = Served(Settings.model_validate({**SETTINGS, "server": server}))
    for name, provider in zip(("first", "second"), providers, strict=False):
        served.manager.add_provider(name, provider)
    return served


@dataclass
class Running:
    """A server in a thread of this process."""

    server: DrainingServer
    thread: threading.Thread
    url: str
    port: int
    served: Served


@contextmanager
def running(served: Served) -> Iterator[Running]:
    """A real server on a free port."""
    started = threading.Event()
    sockets = listen("127.0.0.1", 0)
    server = make_server(served, started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": sockets})
    url, port = url_of(sockets), sockets[0].getsockname()[1]
    thread.start()
    try:
        assert started.wait(20)
        yield Running(server, thread, url, port, served)
    finally:
        server.should_exit = server.force_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted


@pytest.fixture
def eventful() -> type[Eventful]:
    return Eventful


@pytest.fixture
def serve() -> Callable[..., Served]:
    return build_served


@pytest.fixture
def client() -> Callable[..., TestClient]:
    def make(*providers: AIServiceProvider, **server: Any) -> TestClient:
        return TestClient(create_app(build_served(*providers, **server)))

    return make


@pytest.fixture
def live() -> Callable[[Served], AbstractContextManager[Running]]:
    return running
