"""What a connection makes of its transport's word, where no real socket can be made to say it."""

from __future__ import annotations

import asyncio

import pytest
from tests.transport.replies import http_reply

from waypost.transport.address import address_of
from waypost.transport.connection import Connection
from waypost.transport.deadlines import Deadlines
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
    """The server spoke before the end of the turn in which it was asked."""
    connection = await exchanged(Wire(0), leaves=False)
    assert not connection.rest()
    connection.connection_lost(None)


async def test_a_small_request_leaves_in_one_write() -> None:
    wire = Wire(0)
    connection = await exchanged(wire)
    assert len(wire.writes) == 1
    assert wire.writes[0].endswith(b"\r\ncontent-length: 4\r\n\r\nbody")
    connection.connection_lost(None)
