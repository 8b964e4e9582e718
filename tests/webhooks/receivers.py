"""Receivers of webhooks: real servers on loopback that note what came, and do what a test says."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.transport.raw_server import RawConnection, RawServer, Script
from tests.transport.replies import http_reply

from waypost.transport import Found
from waypost.webhooks import AddressRules, Limits, Sender
from waypost.webhooks.signing import new_secret

SECRET = new_secret()
QUICK = Limits(connect_s=5.0, total_s=5.0)


def reply(status: int, body: bytes = b"", headers: str = "") -> bytes:
    """A whole reply."""
    return http_reply(body, status=f"{status} Some Reason", headers=headers)


@dataclass
class Got:
    """A request as it came: its request line, its headers in small letters, its body."""

    line: str
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, request: bytes) -> Got:
        head, _, body = request.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        pairs = [text.split(": ", 1) for text in lines]
        return cls(line, {name.lower(): value for name, value in pairs}, body)


@dataclass
class Receiver:
    """Answers with these replies in turn, and with the last one ever after."""

    replies: Sequence[bytes]
    got: list[Got] = field(default_factory=list)
    server: RawServer | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def port(self) -> int:
        assert self.server is not None
        return self.server.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=s3cret"

    @property
    def ids(self) -> list[str]:
        return [each.headers["webhook-id"] for each in self.got]

    async def answer(self, connection: RawConnection) -> None:
        while True:
            try:
                request = await connection.request()
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            answer = self.replies[min(len(self.got), len(self.replies) - 1)]
            self.got.append(Got.of(request))
            self.arrived.set()
            await connection.send(answer)


@asynccontextmanager
async def serving(
    script: Script, tls: ssl.SSLContext | None = None, place: str = "127.0.0.1:0"
) -> AsyncIterator[RawServer]:
    """A server of that script, for the block."""
    server = RawServer(script, tls)
    host, _, port = place.partition(":")
    server.server = await asyncio.start_server(server._accept, host, int(port), ssl=tls)
    try:
        yield server
    finally:
        await server.stop()
        assert server.failures == []


@asynccontextmanager
async def receiving(*replies: bytes, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver, for the block."""
    receiver = Receiver(replies or (reply(204),))
    async with serving(receiver.answer, tls) as server:
        receiver.server = server
        yield receiver


@asynccontextmanager
async def sending(rules: AddressRules | None = None, **options: Any) -> AsyncIterator[Sender]:
    """A sender that may call this machine, unless other rules are given."""
    sender = Sender(rules or AddressRules(["127.0.0.1"]), **{"limits": QUICK, **options})
    try:
        yield sender
    finally:
        await sender.close()


@dataclass
class Names:
    """A name service: gives each name's answers in turn, the last one ever after. `asked` is what was asked for."""

    answers: dict[str, list[list[str]]]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Found:
        turns = self.answers[host]
        texts = turns[min(self.asked.count(host), len(turns) - 1)]
        self.asked.append(host)
        return [_answer(text, port) for text in texts]


def _answer(text: str, port: int) -> tuple[Any, ...]:
    if ":" in text:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (text, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (text, port)
