"""Callers who never stop asking: short questions and paced streams, each of which has to come to its end, whole."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

CHAT: Final = "/v1/chat/completions"
PAUSE_S: Final = 0.02
LIMIT_S: Final = 60.0


@dataclass
class Seen:
    """What came back. `failures` says of each request that was not answered, and each stream that was cut, why."""

    answered: int = 0
    streamed: int = 0
    failures: list[str] = field(default_factory=list)
    open_streams: int = 0


class Load:
    """Asks `url` from a thread of its own until it is stopped."""

    def __init__(self, url: str, key: str, streamed_model: str, streamed_text: str) -> None:
        self.seen = Seen()
        self._url = url + CHAT
        self._headers = {"authorization": f"Bearer {key}"}
        self._streamed = (streamed_model, streamed_text)
        self._stopping = threading.Event()

    def run(self, callers: int, fresh_callers: int, streams: int) -> None:
        """Returns when it was stopped and every request has ended."""
        asyncio.run(self._run(callers, fresh_callers, streams))

    def stop(self) -> None:
        """No further requests; those under way end by themselves."""
        self._stopping.set()

    async def _run(self, callers: int, fresh_callers: int, streams: int) -> None:
        limit = aiohttp.ClientTimeout(total=LIMIT_S)
        kept = aiohttp.ClientSession(headers=self._headers, timeout=limit)
        fresh = aiohttp.ClientSession(
            headers=self._headers, timeout=limit, connector=aiohttp.TCPConnector(force_close=True, limit=0)
        )
        async with kept, fresh, asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(self._again(lambda: self._ask(kept)))
            for _ in range(fresh_callers):
                group.create_task(self._again(lambda: self._ask(fresh)))
            for _ in range(streams):
                group.create_task(self._again(lambda: self._stream(fresh)))

    async def _again(self, once: Callable[[], Awaitable[None]]) -> None:
        while not self._stopping.is_set():
            try:
                await once()
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                self.seen.failures.append(repr(error))
            await asyncio.sleep(PAUSE_S)

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        async with session.post(self._url, json=_question("sim/one", "ping")) as reply:
            body = await reply.read()
            content = json.loads(body)["choices"][0]["message"]["content"] if reply.status == 200 else None
            if content != "ping":
                raise ValueError(f"status {reply.status}: {body[:300]!r}")
        self.seen.answered += 1

    async def _stream(self, session: aiohttp.ClientSession) -> None:
        model, expected = self._streamed
        async with session.post(self._url, json={**_question(model, "go"), "stream": True}) as reply:
            if reply.status != 200:
                raise ValueError(f"status {reply.status}: {(await reply.read())[:300]!r}")
            self.seen.open_streams += 1
            try:
                body = await reply.read()
            finally:
                self.seen.open_streams -= 1
        _demand_whole(body.decode(), expected)
        self.seen.streamed += 1


def _question(model: str, content: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": content}]}


def _demand_whole(body: str, expected: str) -> None:
    """Raises ValueError if a word, the finish reason or [DONE] is missing."""
    data = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
    if not data or data[-1] != "[DONE]":
        raise ValueError(f"a stream ended without [DONE]: {body[-300:]!r}")
    choices = [choice for each in data[:-1] for choice in json.loads(each).get("choices", [])]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    if text != expected or not any(choice.get("finish_reason") for choice in choices):
        raise ValueError(f"a stream is not whole: {text!r}")


@contextmanager
def load_on(load: Load, *, callers: int, fresh_callers: int, streams: int) -> Iterator[Seen]:
    """Under load in the block. At its end everything that was asked has ended."""
    thread = threading.Thread(target=load.run, args=(callers, fresh_callers, streams))
    thread.start()
    try:
        yield load.seen
    finally:
        load.stop()
        thread.join(2 * LIMIT_S)
        assert not thread.is_alive()
