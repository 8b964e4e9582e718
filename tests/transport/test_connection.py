"""What a connection makes of its transport's word, where no real socket can be made to say it."""

from __future__ import annotations

import asyncio

import pytest
from tests.transport.replies import STREAM_HEAD, http_chunk, http_reply

from waypost.transport.address import address_of
from waypost.transport.connection import Connection
from waypost.transport.deadlines import Deadlines
from waypost.transport.gathered import BUSY_WRITES, GatheredWrites
from waypost.transport.request import request_to


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and says that `unsent_bytes` of it have not left yet."""

    def __init__(self, unsent_bytes: int) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.written = asyncio.Event()
        self.aborted = False
        self._unsent_bytes = unsent_bytes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))
        self.written.set()

    def get_write_buffer_size(self) -> int:
        return self._unsent_bytes

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


async def exchanged(wire: Wire, *, leaves: bool = True) -> Connection:
    """A connection that has had an answer. `leaves`: has the turn ended in which the request was written?"""
    connection = Connection(asyncio.get_running_loop(), "key", lambda _lost: None)
    connection.connection_made(wire)
    request = request_to(address_of("http://host/"), "POST", {}, b"body", proxy=None)
    connection.begin(request, Deadlines(), "host:80", float("inf"))
    if leaves:
        await wire.written.wait()
    connection.data_received(http_reply(b"answer"))
    assert connection.take() == b"answer"
    return connection


@pytest.mark.parametrize("unsent_bytes", [0, 1])
async def test_a_request_that_has_not_left_whole_leaves_no_connection_to_use(unsent_bytes: int) -> None:
    """The server answered without having read it: what is left would be the beginning of the next request."""
    connection = await exchanged(Wire(unsent_bytes))
    assert connection.rest() is (unsent_bytes == 0)
    connection.connection_lost(None)


async def test_a_request_that_is_held_back_leaves_no_connection_to_use() -> None:
    """The server spoke before the end of the busy turn in which it was asked."""
    for _ in range(BUSY_WRITES):
        GatheredWrites(Wire(0)).write(b"much to do")
    turn_over = asyncio.Event()
    asyncio.get_running_loop().call_soon(turn_over.set)
    await turn_over.wait()
    connection = await exchanged(Wire(0), leaves=False)
    assert not connection.rest()
    connection.connection_lost(None)


async def test_a_small_request_leaves_in_one_write() -> None:
    wire = Wire(0)
    connection = await exchanged(wire)
    assert len(wire.writes) == 1
    assert wire.writes[0].endswith(b"\r\ncontent-length: 4\r\n\r\nbody")
    connection.connection_lost(None)


async def streaming(wire: Wire) -> Connection:
    """A connection whose reply has begun, and is a stream."""
    connection = Connection(asyncio.get_running_loop(), "key", lambda _lost: None)
    connection.connection_made(wire)
    request = request_to(address_of("http://host/"), "POST", {}, b"body", proxy=None)
    connection.begin(request, Deadlines(), "host:80", float("inf"))
    await wire.written.wait()
    connection.data_received(STREAM_HEAD)
    connection.head_taken()
    return connection


async def test_a_taker_gets_what_comes_while_somebody_waits_and_leaves_him_asleep() -> None:
    connection = await streaming(Wire(0))
    taken: list[bytes] = []

    def taker(data: bytes) -> bytes:
        taken.append(data)
        return data.partition(b"|")[2]

    connection.taker = taker
    connection.data_received(http_chunk(b"before anybody waits"))
    assert connection.take() == b"before anybody waits"
    waiter = connection.wait("idle", None)
    connection.data_received(http_chunk(b"all of it"))
    assert (taken, waiter.done()) == ([b"all of it"], False)
    connection.data_received(http_chunk(b"some|the rest"))
    assert waiter.done()
    assert connection.take() == b"the rest"
    connection.connection_lost(None)


async def test_the_end_of_a_reply_is_for_who_waits() -> None:
    """With bytes in the same piece, so that nobody deals with the last of them and then waits for more."""
    connection = await streaming(Wire(0))
    connection.taker = lambda _data: b""
    waiter = connection.wait("idle", None)
    connection.data_received(http_chunk(b"last") + b"0\r\n\r\n")
    assert waiter.done()
    assert connection.take() == b"last"
    assert connection.rest()
    connection.connection_lost(None)


async def test_nobody_deals_with_what_comes_for_a_reader_who_was_cancelled() -> None:
    connection = await streaming(Wire(0))
    connection.taker = lambda _data: b""
    connection.wait("idle", None).cancel()
    connection.data_received(http_chunk(b"late"))
    assert connection.take() == b"late"
    connection.connection_lost(None)


async def test_a_taker_is_of_one_exchange() -> None:
    connection = await exchanged(Wire(0))
    connection.taker = lambda _data: b""
    assert connection.rest()
    request = request_to(address_of("http://host/"), "POST", {}, b"body", proxy=None)
    connection.begin(request, Deadlines(), "host:80", float("inf"))
    left: object = connection.taker
    assert left is None
    connection.connection_lost(None)
