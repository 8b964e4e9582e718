"""gateway/idempotency.py between a real server and real connections: joined, left, cut off."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import aiohttp
import pytest
import uvicorn

from waypost.errors import AnswerNotKept
from waypost.gateway.idempotency import Fresh, IdempotencyStore, Pending, Replay, body_digest

Scope: TypeAlias = Any
Receive: TypeAlias = Any
Send: TypeAlias = Any


class Paid:
    """An application whose every call costs: it streams a line for each `let_go`, and stops when its caller leaves."""

    def __init__(self) -> None:
        self.calls = 0
        self.cancelled = asyncio.Event()
        self.called = asyncio.Event()
        self._go = asyncio.Semaphore(0)

    def let_go(self, lines: int = 1) -> None:
        for _ in range(lines):
            self._go.release()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        self.called.set()
        await receive()
        work = asyncio.create_task(self._answer(send))
        gone = asyncio.create_task(receive())
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        cut = work.cancel()
        gone.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)
        if cut:
            self.cancelled.set()

    async def _answer(self, send: Send) -> None:
        await self._go.acquire()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        for number in range(3):
            await send({"type": "http.response.body", "body": b"line %d\n" % number, "more_body": number < 2})
            await self._go.acquire()


class Idempotent:
    """What a server does with the store: all of it."""

    def __init__(self, app: Paid) -> None:
        self.app = app
        self.store = IdempotencyStore(ttl_s=60.0, max_bytes=1_000_000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        message = await receive()
        key = dict(scope["headers"])[b"idempotency-key"].decode()
        try:
            found = self.store.begin("t", scope["path"], key, body_digest(message["body"]))
        except AnswerNotKept as error:
            await _start(send, error.http_status, ())
            await send({"type": "http.response.body", "body": error.code.encode()})
            return
        if isinstance(found, Fresh):
            with found:
                await self._first(found, scope, message, receive, send)
        else:
            await self._tell(found, receive, send)

    async def _first(self, fresh: Fresh, scope: Scope, body: Any, receive: Receive, send: Send) -> None:
        read = False

        async def receive_or_deserted() -> Any:
            nonlocal read
            if not read:
                read = True
                return body
            gone = await receive()
            fresh.leave()
            await fresh.deserted()
            return gone

        async def send_and_record(message: Any) -> None:
            if message["type"] == "http.response.start":
                fresh.start(message["status"], message["headers"])
            else:
                fresh.append(message["body"])
                if not message.get("more_body"):
                    fresh.finish()
            await send(message)

        await self.app(scope, receive_or_deserted, send_and_record)

    async def _tell(self, found: Pending | Replay, receive: Receive, send: Send) -> None:
        with found:
            telling = asyncio.create_task(_tell(found, send))
            gone = asyncio.create_task(receive())
            await asyncio.wait((telling, gone), return_when=asyncio.FIRST_COMPLETED)
            for task in (telling, gone):
                task.cancel()
            await asyncio.gather(telling, gone, return_exceptions=True)


async def _start(send: Send, status: int, headers: Any) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def _tell(found: Pending | Replay, send: Send) -> None:
    await _start(send, *(await found.head()))
    async for chunk in found.chunks():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body"})


class Site:
    """A running server and a client that always sends the same request."""

    def __init__(self, app: Idempotent, url: str, session: aiohttp.ClientSession) -> None:
        self.app = app
        self.paid = app.app
        self._url = url
        self._session = session

    async def ask(self) -> aiohttp.ClientResponse:
        return await self._session.post(self._url, data=b"{}", headers={"idempotency-key": "k"})


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    app = Idempotent(Paid())
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        async with aiohttp.ClientSession() as session, asyncio.timeout(30):
            yield Site(app, f"http://127.0.0.1:{listener.getsockname()[1]}/v1/chat/completions", session)
        server.should_exit = True
        await serving


ALL = b"line 0\nline 1\nline 2\n"


async def test_two_at_once_and_one_later_get_one_answer_for_one_charge(site: Site) -> None:
    site.paid.let_go()
    first = await site.ask()
    second = await site.ask()
    site.paid.let_go(3)
    assert await first.read() == await second.read() == ALL
    third = await site.ask()
    assert await third.read() == ALL
    assert [reply.headers.get("idempotent-replayed") for reply in (first, second, third)] == [None, "true", "true"]
    assert {reply.headers["content-type"] for reply in (first, second, third)} == {"text/plain"}
    assert site.paid.calls == 1


async def test_the_second_caller_gets_the_whole_answer_although_the_first_hung_up(site: Site) -> None:
    site.paid.let_go()
    first = await site.ask()
    second = await site.ask()
    first.close()
    site.paid.let_go(3)
    assert await second.read() == ALL
    assert await (await site.ask()).read() == ALL
    assert (site.paid.calls, site.paid.cancelled.is_set()) == (1, False)


async def test_when_both_hang_up_the_work_is_cancelled_and_not_paid_for_again(site: Site) -> None:
    site.paid.let_go()
    first = await site.ask()
    second = await site.ask()
    first.close()
    second.close()
    await site.paid.cancelled.wait()
    third = await site.ask()
    assert (third.status, await third.text()) == (409, "answer_not_kept")
    assert site.paid.calls == 1


async def test_when_the_only_caller_hangs_up_before_any_answer_the_key_is_free(site: Site) -> None:
    first = asyncio.create_task(site.ask())
    await site.paid.called.wait()
    first.cancel()
    await site.paid.cancelled.wait()
    site.paid.let_go(4)
    second = await site.ask()
    assert await second.read() == ALL
    assert "idempotent-replayed" not in second.headers
    assert site.paid.calls == 2
