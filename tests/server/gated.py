"""A provider whose every piece waits until the test lets it go, and callers with keys."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from waypost import AIResponse, AIServiceProvider
from waypost.server.callers import Callers
from waypost.settings import KeySettings

KEYS = {"ann": "key-of-ann-0123456789", "bob": "key-of-bob-0123456789"}


def callers() -> Callers:
    return Callers({name: KeySettings.model_validate({"key": key}) for name, key in KEYS.items()})


def shows(name: str) -> dict[str, str]:
    """The headers of a caller with that key."""
    return {"authorization": f"Bearer {KEYS[name]}"}


class Gated(AIServiceProvider):
    """Says "piece 0 ", "piece 1 " and so on, one for each `let_go`."""

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces
        self.calls = 0
        self.said = 0
        self.finished = threading.Event()
        self.cancelled = threading.Event()
        self.running = threading.Event()
        self._gate = threading.Semaphore(0)

    def let_go(self, pieces: int) -> None:
        self._gate.release(pieces)

    async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
        text = "".join([piece async for piece in self.stream_response(prompt)])
        return AIResponse(text, {"id": "answer-1", "finish_reason": "stop"}, "", "m1")

    async def stream_response(self, prompt: str, **kwargs: Any) -> AsyncIterator[str]:
        self.calls += 1
        try:
            for number in range(self.pieces):
                self.running.set()
                # The test lets go in another thread, which an asyncio.Event would not notice.
                while not self._gate.acquire(blocking=False):  # noqa: ASYNC110
                    await asyncio.sleep(0.002)
                self.said += 1
                yield f"piece {number} "
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise
        self.finished.set()


def becomes(condition: Callable[[], bool], limit_s: float = 10.0) -> bool:
    """Is it true before the time is over?"""
    end = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()
