"""When a connection serves another exchange, and when it does not; and what a reader that is slow does to a sender."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from tests.transport.replies import STREAM_HEAD, http_chunk, http_reply

from waypost.errors import MalformedResponse, ProviderConnectionLost, ProviderUnreachable
from waypost.transport import Deadlines, HttpClient, deadlines

if TYPE_CHECKING:
    from tests.transport.raw_server import RawConnection, StartRawServer


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient()
    yield made
    await made.close()


async def fetch(client: HttpClient, url: str) -> bytes:
    reply = await client.open("POST", url, headers={}, body=b"{}")
    try:
        return await reply.read()
    finally:
        reply.close()


@pytest.mark.parametrize(
    ("sends", "connections"),
    [
        pytest.param(http_reply(b"answer"), 1, id="a clean end"),
        pytest.param(STREAM_HEAD + http_chunk(b"answer") + b"0\r\n\r\n", 1, id="chunked"),
        pytest.param(STREAM_HEAD + http_chunk(b"answer") + b"0\r\nX-Sum: 1\r\n\r\n", 1, id="trailers"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\n" + http_reply(b"answer"), 1, id="informational"),
        pytest.param(http_reply(b"answer", headers="Connection: close\r\n"), 3, id="connection: close"),
        pytest.param(http_reply(b"answer").replace(b"1.1", b"1.0"), 3, id="HTTP/1.0"),
        pytest.param(http_reply(b"answer") + b"x", 3, id="a byte too many"),
        pytest.param(http_reply(b"answer") + http_reply(b"evil"), 3, id="a second reply"),
        pytest.param(http_reply(b"answer") + b"HTTP/1.1 200 OK\r\n", 3, id="half of a second reply"),
    ],
)
async def test_only_a_clean_end_lets_a_connection_go_on(
    client: HttpClient, raw_server: StartRawServer, sends: bytes, connections: int
) -> None:
    """The answer itself is right in every case; nothing beyond it is ever taken for the next one."""

    async def script(connection: RawConnection) -> None:
        while True:
            await connection.request()
            await connection.send(sends)

    server = await raw_server(script)
    for _ in range(3):
        assert await fetch(client, server.url) == b"answer"
    assert server.accepted == connections


@pytest.mark.parametrize("extra", [b"x", http_reply(b"evil"), b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
async def test_bytes_that_come_while_a_connection_rests_end_it(
    client: HttpClient, raw_server: StartRawServer, extra: bytes
) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(http_reply(b"answer"))
        await asyncio.sleep(0.02)
        await connection.send(extra)
        await connection.until_client_leaves()

    server = await raw_server(script)
    assert await fetch(client, server.url) == b"answer"
    await asyncio.wait_for(asyncio.gather(*server.tasks), 1)
    assert await fetch(client, server.url) == b"answer"
    assert server.accepted == 2


async def test_a_body_that_was_complete_but_not_taken_ends_the_connection(
    client: HttpClient, raw_server: StartRawServer
) -> None:
    """Its bytes must not be the first of the next reply."""
    bodies = iter((b"first", b"second"))

    async def script(connection: RawConnection) -> None:
        while True:
            await connection.request()
            await connection.send(http_reply(next(bodies)))

    server = await raw_server(script)
    reply = await client.open("POST", server.url, headers={}, body=b"{}")
    reply.close()
    assert await fetch(client, server.url) == b"second"
    assert server.accepted == 2


async def test_a_body_until_the_connection_ends_is_read_to_its_end(
    client: HttpClient, raw_server: StartRawServer
) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        await asyncio.sleep(0.02)
        await connection.send(b"second")

    server = await raw_server(script)
    for _ in range(2):
        assert await fetch(client, server.url) == b"firstsecond"
    assert server.accepted == 2


async def test_a_body_until_the_connection_ends_is_cut_by_a_reset(
    client: HttpClient, raw_server: StartRawServer
) -> None:
    """An end of that kind is no end."""

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        await asyncio.sleep(0.02)
        await connection.reset()

    server = await raw_server(script)
    async with client.send("POST", server.url, headers={}, body=b"{}") as reply:
        assert await reply.next_chunk() == b"first"
        with pytest.raises(ProviderConnectionLost):
            await reply.next_chunk()


async def test_a_head_in_many_packets_is_one_reply(client: HttpClient, raw_server: StartRawServer) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.request()
        for byte in http_reply(b"answer"):
            await connection.send(bytes((byte,)))
            await asyncio.sleep(0)

    server = await raw_server(script)
    assert await fetch(client, server.url) == b"answer"


async def test_a_connection_that_rests_too_long_is_ended(
    client: HttpClient, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By us, so that a request does not meet one which the server is just about to end."""
    monkeypatch.setattr(deadlines, "KEEP_ALIVE_S", 0.1)

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(http_reply(b"answer"))
        await connection.until_client_leaves()

    server = await raw_server(script)
    assert await fetch(client, server.url) == b"answer"
    await asyncio.wait_for(asyncio.gather(*server.tasks), 2)
    assert await fetch(client, server.url) == b"answer"
    assert server.accepted == 2


async def test_the_connection_that_rested_least_is_taken_first(client: HttpClient, raw_server: StartRawServer) -> None:
    """So that after a burst the others end, instead of being kept alive in turn."""
    busy = asyncio.Barrier(3)
    served: list[int] = []

    async def script(connection: RawConnection) -> None:
        number = server.accepted
        await connection.request()
        await busy.wait()
        await connection.send(http_reply(b"answer"))
        while True:
            await connection.request()
            served.append(number)
            await connection.send(http_reply(b"answer"))

    server = await raw_server(script)
    await asyncio.gather(*(fetch(client, server.url) for _ in range(3)))
    for _ in range(4):
        await fetch(client, server.url)
    assert len(set(served)) == 1
    assert server.accepted == 3


async def test_a_closed_reply_gives_nothing_of_the_next_exchange(
    client: HttpClient, raw_server: StartRawServer
) -> None:
    """Closing again is harmless: the connection may be another reply's by then."""

    async def script(connection: RawConnection) -> None:
        while True:
            await connection.request()
            await connection.send(http_reply(b"answer"))

    server = await raw_server(script)
    first = await client.open("POST", server.url, headers={}, body=b"{}")
    assert await first.read() == b"answer"
    first.close()
    second = await client.open("POST", server.url, headers={}, body=b"{}")
    first.close()
    with pytest.raises(ProviderConnectionLost, match="was closed before it was read"):
        await first.next_chunk()
    assert await second.read() == b"answer"
    second.close()
    assert server.accepted == 1


async def test_raw_headers_are_those_of_the_wire(client: HttpClient, raw_server: StartRawServer) -> None:
    """In order, and with the capitals they came in; a later exchange on the connection does not change them."""

    async def script(connection: RawConnection) -> None:
        while True:
            await connection.request()
            await connection.send(http_reply(b"", headers="X-Many: one\r\nx-many: tw\xc3\xb6\r\n"))

    server = await raw_server(script)
    replies = []
    for _ in range(2):
        async with client.send("GET", server.url, headers={}) as reply:
            await reply.read()
            replies.append(reply)
    for reply in replies:
        assert [name for name, _ in reply.raw_headers] == [b"Content-Length", b"X-Many", b"x-many"]


async def test_a_slow_reader_makes_the_sender_wait_and_loses_nothing(
    client: HttpClient, raw_server: StartRawServer
) -> None:
    """Far less than the whole body leaves the sender before the reader goes on."""
    sent_bytes = 0
    size_bytes = 64 * 1024 * 1024
    piece = bytes(256 * 1024)

    async def script(connection: RawConnection) -> None:
        nonlocal sent_bytes
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size_bytes)
        while sent_bytes < size_bytes:
            await connection.send(piece)
            sent_bytes += len(piece)

    server = await raw_server(script)
    async with client.send("GET", server.url, headers={}) as reply:
        await asyncio.sleep(0.3)
        assert sent_bytes < size_bytes / 2
        received = 0
        while chunk := await reply.next_chunk():
            received += len(chunk)
    assert received == size_bytes


async def test_a_chunk_that_is_there_is_given_without_a_pause(client: HttpClient, raw_server: StartRawServer) -> None:
    """Nor is the end: a stream that is ahead of its reader costs no turn of the loop."""

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(http_reply(b"answer"))
        await connection.until_client_leaves()

    server = await raw_server(script)
    async with client.send("POST", server.url, headers={}, body=b"{}") as reply:
        await asyncio.sleep(0.05)
        for expected in (b"answer", b"", b""):
            with pytest.raises(StopIteration) as ended:
                reply.next_chunk().send(None)
            assert ended.value.value == expected


async def test_a_reader_that_was_cancelled_may_come_again(client: HttpClient, raw_server: StartRawServer) -> None:
    """The idle limit counts for readers, not for the time between two of them."""
    proceed = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(STREAM_HEAD)
        await proceed.wait()
        await connection.send(http_chunk(b"first") + b"0\r\n\r\n")
        await connection.until_client_leaves()

    server = await raw_server(script)
    limits = Deadlines(idle_s=0.1)
    async with client.send("POST", server.url, headers={}, body=b"{}", deadlines=limits) as reply:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await reply.next_chunk()
        await asyncio.sleep(0.2)
        proceed.set()
        assert await reply.read() == b"first"


async def test_closing_the_client_leaves_nothing_open(raw_server: StartRawServer) -> None:
    """Resting connections and busy ones have ended when `close` returns, and no transport is left to complain."""

    async def script(connection: RawConnection) -> None:
        while True:
            await connection.request()
            await connection.send(http_reply(b"answer"))

    server = await raw_server(script)
    client = HttpClient()
    busy = [await client.open("POST", server.url, headers={}, body=b"{}") for _ in range(3)]
    await busy[0].read()
    busy[0].close()
    await client.close()
    with pytest.raises(ProviderUnreachable, match="was closed"):
        await client.open("POST", server.url, headers={}, body=b"{}")
    await asyncio.wait_for(asyncio.gather(*server.tasks), 1)
    for reply in busy:
        reply.close()
    gc.collect()


@pytest.mark.parametrize("coding", ["gzip, chunked", "gzip"])
async def test_a_compressed_transfer_is_refused(client: HttpClient, raw_server: StartRawServer, coding: str) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n".encode())
        await connection.until_client_leaves()

    server = await raw_server(script)
    with pytest.raises(MalformedResponse, match="which was not asked for"):
        await client.open("POST", server.url, headers={}, body=b"{}")
