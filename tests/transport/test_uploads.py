"""Request bodies that are large or come piece by piece."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
from tests.transport.replies import http_reply

from waypost.errors import ProviderConnectionLost, ProviderTimeout, ProviderUnreachable
from waypost.transport import Deadlines, HttpClient

if TYPE_CHECKING:
    from tests.transport.raw_server import RawConnection, StartRawServer


PIECE = bytes(range(256)) * 256


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient()
    yield made
    await made.close()


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        await asyncio.sleep(0)
        yield PIECE


async def dechunked(connection: RawConnection) -> bytes:
    """Read a chunked body."""
    body = b""
    while size_bytes := int(await connection.reader.readline(), 16):
        body += await connection.reader.readexactly(size_bytes)
        assert await connection.reader.readexactly(2) == b"\r\n"
    assert await connection.reader.readexactly(2) == b"\r\n"
    return body


async def test_pieces_without_a_length_are_sent_chunked(client: HttpClient, raw_server: StartRawServer) -> None:
    """And the connection serves the next request."""

    async def script(connection: RawConnection) -> None:
        while True:
            head = await connection.reader.readuntil(b"\r\n\r\n")
            assert b"transfer-encoding: chunked\r\n" in head
            assert b"content-length" not in head
            await connection.send(http_reply(await dechunked(connection)))

    server = await raw_server(script)
    for count in (0, 1, 20):
        async with client.send("POST", server.url, headers={}, body=pieces(count)) as reply:
            assert await reply.read() == PIECE * count
    assert server.accepted == 1


async def test_pieces_of_declared_length_are_sent_with_it(client: HttpClient, raw_server: StartRawServer) -> None:
    async def script(connection: RawConnection) -> None:
        while True:
            head, _, body = (await connection.request()).partition(b"\r\n\r\n")
            assert b"transfer-encoding" not in head
            await connection.send(http_reply(body))

    server = await raw_server(script)
    for count in (0, 1, 20):
        headers = {"Content-Length": str(len(PIECE) * count)}
        async with client.send("POST", server.url, headers=headers, body=pieces(count)) as reply:
            assert await reply.read() == PIECE * count
    assert server.accepted == 1


@pytest.mark.parametrize("declared_bytes", [len(PIECE) * 3 - 1, len(PIECE) * 3 + 1])
async def test_pieces_that_belie_their_length_are_not_sent_as_a_request(
    client: HttpClient, raw_server: StartRawServer, declared_bytes: int
) -> None:
    """Too many would begin a second request, too few would wait for ever: the caller is told, the connection ends."""

    async def script(connection: RawConnection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        received = await connection.reader.read()
        assert len(received) < declared_bytes

    server = await raw_server(script)
    with pytest.raises(ValueError, match=f"not {declared_bytes} bytes long"):
        await client.open("POST", server.url, headers={"content-length": str(declared_bytes)}, body=pieces(3))
    await asyncio.wait_for(asyncio.gather(*server.tasks), 1)


async def test_what_the_body_raises_is_raised_by_the_exchange(client: HttpClient, raw_server: StartRawServer) -> None:
    """A caller that lost its own source gets its own error, and the provider an end that is none of the body."""

    async def failing() -> AsyncIterator[bytes]:
        yield b"first"
        raise KeyError("mine")

    async def script(connection: RawConnection) -> None:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await connection.reader.readuntil(b"0\r\n\r\n")

    server = await raw_server(script)
    with pytest.raises(KeyError, match="mine"):
        await client.open("POST", server.url, headers={}, body=failing())
    await asyncio.wait_for(asyncio.gather(*server.tasks), 1)


@pytest.mark.parametrize("how", ["cancelled", "timed out"])
async def test_a_body_that_is_cut_off_is_closed(client: HttpClient, raw_server: StartRawServer, how: str) -> None:
    """The iterator's own clean-up has run, and the server sees the end."""
    started, closed = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            started.set()
            while True:
                yield PIECE
        finally:
            closed.set()

    async def script(connection: RawConnection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        await started.wait()
        await connection.until_client_leaves()

    server = await raw_server(script)
    deadlines = Deadlines(first_byte_s=None if how == "cancelled" else 0.1)
    task = asyncio.create_task(client.open("POST", server.url, headers={}, body=endless(), deadlines=deadlines))
    await started.wait()
    if how == "cancelled":
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        with pytest.raises(ProviderTimeout):
            await task
    await asyncio.wait_for(closed.wait(), 1)
    await asyncio.wait_for(asyncio.gather(*server.tasks), 1)


@pytest.mark.parametrize("kind", ["whole", "pieces"])
async def test_a_server_that_does_not_read_stops_the_sending(
    client: HttpClient, raw_server: StartRawServer, kind: str
) -> None:
    """No more is taken from the body than the socket takes; it all arrives when the server reads on."""
    given = 0
    proceed = asyncio.Event()

    async def counted() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(500):
            given += 1
            yield PIECE

    async def script(connection: RawConnection) -> None:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await proceed.wait()
        connection.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await connection.reader.readuntil(b"\r\n\r\n")
        body = await connection.reader.readexactly(len(PIECE) * 500)
        await connection.send(http_reply(b"%d" % len(body)))

    server = await raw_server(script)
    headers = {"content-length": str(len(PIECE) * 500)} if kind == "pieces" else {}
    body = counted() if kind == "pieces" else PIECE * 500
    task = asyncio.create_task(client.open("POST", server.url, headers=headers, body=body))
    await asyncio.sleep(0.2)
    assert given < 400
    proceed.set()
    reply = await task
    assert await reply.read() == b"%d" % (len(PIECE) * 500)
    reply.close()


async def test_a_reply_ahead_of_the_request_is_given_but_its_connection_is_not_used_again(
    client: HttpClient, raw_server: StartRawServer
) -> None:
    """A server may refuse a body by its size without reading it."""

    async def script(connection: RawConnection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.send(http_reply(b"too large", status="413 Content Too Large"))
        await connection.until_client_leaves()

    server = await raw_server(script)
    for _ in range(2):
        async with client.send("POST", server.url, headers={}, body=bytes(32 * 1024 * 1024)) as reply:
            assert (reply.status, await reply.read()) == (413, b"too large")
    assert server.accepted == 2


async def test_a_connection_that_breaks_during_the_sending_is_lost(
    client: HttpClient, raw_server: StartRawServer
) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        await connection.reset()

    server = await raw_server(script)
    with pytest.raises(ProviderConnectionLost):
        await client.open("POST", server.url, headers={}, body=bytes(32 * 1024 * 1024))


@pytest.mark.parametrize(
    "headers",
    [
        {"content-length": "5, 6"},
        {"content-length": "-1"},
        {"content-length": "٣"},
        {"x-name\r\nx-injected": "yes"},
        {"x name": "yes"},
        {"": "yes"},
        {"x-value": "a\nb"},
        {"x-value": "a\rb"},
        {"x-value": "a\x00b"},
        {"x-value": "a\r\nx-injected: yes"},
    ],
)
async def test_a_header_that_could_be_another_is_refused(client: HttpClient, headers: dict[str, str]) -> None:
    """Before anything is connected to: nobody listens there."""
    with pytest.raises(ProviderUnreachable, match="one of the headers is not valid"):
        await client.open("POST", "http://127.0.0.1:1/", headers=headers, body=pieces(1))


async def test_a_caller_s_framing_is_not_taken_for_ours(client: HttpClient, raw_server: StartRawServer) -> None:
    """A length that contradicts the body would let its rest be read as a request of its own."""
    seen: list[bytes] = []

    async def script(connection: RawConnection) -> None:
        seen.append(await connection.request())
        await connection.send(http_reply(b""))

    server = await raw_server(script)
    headers = {"Content-Length": "2", "Transfer-Encoding": "chunked", "Connection": "close", "Host": "other.example"}
    async with client.send("POST", server.url, headers=headers, body=b"body") as reply:
        await reply.read()
    head, _, body = seen[0].lower().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert body == b"body"
    assert [line for line in lines if line.startswith((b"content-length", b"transfer-", b"connection", b"host"))] == [
        b"host: other.example",
        b"content-length: 4",
    ]


async def test_a_body_that_is_still_given_is_cut_off_when_its_reply_is_closed(
    client: HttpClient, raw_server: StartRawServer
) -> None:
    """Its later pieces would be taken for the next request: the connection ends, and the iterator is closed."""
    closed = asyncio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def script(connection: RawConnection) -> None:
        await connection.reader.readuntil(b"first")
        await connection.send(http_reply(b"enough", status="400 Bad Request"))
        await connection.until_client_leaves()

    server = await raw_server(script)
    for _ in range(2):
        async with client.send("POST", server.url, headers={}, body=waiting()) as reply:
            assert (reply.status, await reply.read()) == (400, b"enough")
        await asyncio.wait_for(closed.wait(), 1)
        closed.clear()
    assert server.accepted == 2
