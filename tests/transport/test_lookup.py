"""Names are looked up once for all who ask at the same time."""

from __future__ import annotations

import asyncio
import socket

import pytest

from waypost.transport import lookup
from waypost.transport.lookup import Found, Lookups


class Resolver:
    """Answers when it is told to. `asked` are the questions that reached it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.proceed = asyncio.Event()

    async def __call__(self, host: str, port: int) -> Found:
        self.asked.append(host)
        await self.proceed.wait()
        if host == "unknown":
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


@pytest.fixture
async def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    made = Resolver()
    monkeypatch.setattr(lookup, "_look_up", made)
    return made


async def asking(lookups: Lookups, *hosts: str) -> list[asyncio.Task[Found]]:
    tasks = [asyncio.create_task(lookups.addresses(host, 1)) for host in hosts]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_those_who_ask_together_share_one_lookup(resolver: Resolver) -> None:
    lookups = Lookups()
    tasks = await asking(lookups, "one", "one", "two", "one")
    resolver.proceed.set()
    answers = await asyncio.gather(*tasks)
    assert sorted(resolver.asked) == ["one", "two"]
    assert all(answer[0][4] == ("127.0.0.1", 1) for answer in answers)


async def test_an_answer_is_not_kept(resolver: Resolver) -> None:
    """An address that has moved is found by the next connection."""
    resolver.proceed.set()
    lookups = Lookups()
    for _ in range(2):
        await lookups.addresses("one", 1)
    assert resolver.asked == ["one", "one"]


async def test_a_failure_is_everybody_s_and_is_not_kept(resolver: Resolver) -> None:
    lookups = Lookups()
    tasks = await asking(lookups, "unknown", "unknown")
    resolver.proceed.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [socket.gaierror] * 2
    with pytest.raises(socket.gaierror):
        await lookups.addresses("unknown", 1)
    assert resolver.asked == ["unknown"] * 2


@pytest.mark.parametrize("host", ["one", "unknown"])
async def test_one_who_is_cancelled_leaves_the_others_their_answer(resolver: Resolver, host: str) -> None:
    """And a failure that nobody waits for any more is no complaint of the loop."""
    lookups = Lookups()
    first, second = await asking(lookups, host, host)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not second.done()
    if host == "unknown":
        second.cancel()
    resolver.proceed.set()
    await asyncio.wait([second])
    assert second.cancelled() is (host == "unknown")
