"""Each way a network can fail, made with real sockets, and the typed error it becomes."""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.transport.certificates import needs_openssl, serving_tls

from waypost.errors import (
    MalformedResponse,
    Phase,
    ProviderConnectionLost,
    ProviderError,
    ProviderTimeout,
    ProviderUnreachable,
)
from waypost.transport import Deadlines, HttpClient
from waypost.transport.failures import MAX_HEADER_BYTES, MAX_HEADERS

if TYPE_CHECKING:
    from tests.transport.raw_server import RawConnection, StartRawServer


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SOON_S = 0.2


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient()
    yield made
    await made.close()


async def failure(client: HttpClient, url: str, deadlines: Deadlines | None = None, **headers: str) -> ProviderError:
    """The error of an exchange that must fail, whenever it does, and within 5 s."""
    with pytest.raises(ProviderError) as raised:
        async with asyncio.timeout(5):
            async with client.send(
                "POST", url, headers=headers, body=b"{}", deadlines=deadlines or Deadlines()
            ) as reply:
                await reply.read()
    return raised.value


# Deadlines


@pytest.mark.parametrize(
    ("sends", "deadlines", "phase"),
    [
        pytest.param(b"", Deadlines(first_byte_s=SOON_S), "first_byte", id="no reply"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Half", Deadlines(first_byte_s=SOON_S), "first_byte", id="half the headers"),
        pytest.param(STREAM_HEAD, Deadlines(idle_s=SOON_S), "idle", id="no body"),
        pytest.param(STREAM_HEAD + b"5\r\nfirst\r\n", Deadlines(idle_s=SOON_S), "idle", id="a body that stalls"),
        pytest.param(b"", Deadlines(total_s=SOON_S), "total", id="no reply in all the time"),
        pytest.param(STREAM_HEAD, Deadlines(total_s=SOON_S), "total", id="no body in all the time"),
        pytest.param(b"", Deadlines(total_s=0), "total", id="no time left"),
        pytest.param(b"", Deadlines(total_s=-1), "total", id="less than no time left"),
        pytest.param(b"", Deadlines(first_byte_s=SOON_S, total_s=9), "first_byte", id="the nearer limit is named"),
        pytest.param(b"", Deadlines(first_byte_s=9, total_s=SOON_S), "total", id="the nearer limit is the total"),
    ],
)
async def test_each_phase_has_its_deadline(
    client: HttpClient, raw_server: StartRawServer, sends: bytes, deadlines: Deadlines, phase: Phase
) -> None:
    """The error says which limit was met and what it was, and the connection is closed."""
    left = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        try:
            await connection.request()
            await connection.send(sends)
            await connection.until_client_leaves()
        finally:
            left.set()

    server = await raw_server(script)
    error = await failure(client, server.url, deadlines)
    assert isinstance(error, ProviderTimeout)
    limits = {"first_byte": deadlines.first_byte_s, "idle": deadlines.idle_s, "total": deadlines.total_s}
    assert (error.phase, error.limit_s) == (phase, limits[phase])
    assert f"127.0.0.1:{server.port}" in error.message
    if server.accepted:
        await asyncio.wait_for(left.wait(), 1)


async def test_a_server_that_accepts_no_connection_meets_the_connect_deadline(client: HttpClient) -> None:
    """A full backlog drops the SYN: only the connect limit ends the wait, and first_byte_s does not count yet."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    try:
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            waiting.append(filler)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        error = await failure(client, url, Deadlines(connect_s=SOON_S, first_byte_s=0.01))
    finally:
        for opened in [listener, *waiting]:
            opened.close()
    assert isinstance(error, ProviderTimeout)
    assert (error.phase, error.limit_s) == ("connect", SOON_S)


async def test_a_tls_handshake_that_stalls_meets_the_connect_deadline(
    client: HttpClient, raw_server: StartRawServer
) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.until_client_leaves()

    server = await raw_server(script)
    error = await failure(client, f"https://127.0.0.1:{server.port}", Deadlines(connect_s=SOON_S))
    assert isinstance(error, ProviderTimeout)
    assert error.phase == "connect"


async def test_a_slow_stream_is_not_idle(client: HttpClient, raw_server: StartRawServer) -> None:
    """idle_s is the time between two chunks: a body that takes several times as long passes."""

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(STREAM_HEAD)
        for _ in range(6):
            await asyncio.sleep(0.05)
            await connection.send(b"1\r\nx\r\n")
        await connection.send(b"0\r\n\r\n")

    server = await raw_server(script)
    deadlines = Deadlines(first_byte_s=SOON_S, idle_s=SOON_S)
    async with client.send("POST", server.url, headers={}, body=b"{}", deadlines=deadlines) as reply:
        assert await reply.read() == b"x" * 6


async def test_a_slow_reader_is_not_an_idle_provider_but_uses_up_the_total(
    client: HttpClient, raw_server: StartRawServer
) -> None:
    """The reader's own time is not the provider's silence, but it counts in the total.

    That holds too when every chunk is there already when it is asked for, so that no wait could be interrupted.
    """

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(STREAM_HEAD)
        while True:
            await connection.send(b"1\r\nx\r\n")
            await asyncio.sleep(0.01)

    server = await raw_server(script)
    received = 0
    deadlines = Deadlines(idle_s=0.05, total_s=0.5)
    with pytest.raises(ProviderTimeout) as raised:
        async with client.send("POST", server.url, headers={}, body=b"{}", deadlines=deadlines) as reply:
            async for _ in reply.chunks():
                received += 1
                await asyncio.sleep(0.1)
    assert raised.value.phase == "total"
    assert 2 <= received <= 6


# No connection


async def test_a_refused_connection_is_unreachable(client: HttpClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = await failure(client, f"http://127.0.0.1:{port}")
    assert type(error) is ProviderUnreachable
    assert error.message == f"No connection to 127.0.0.1:{port}: Connection refused."
    assert error.hint


async def test_a_name_that_does_not_resolve_is_unreachable(client: HttpClient) -> None:
    error = await failure(client, "http://nonexistent.invalid/v1")
    assert type(error) is ProviderUnreachable
    assert error.message.startswith("The name in nonexistent.invalid:80 could not be looked up: ")


async def test_a_proxy_that_is_away_is_named_as_the_proxy() -> None:
    """Not the provider is at fault, and the message says so, without the proxy's credentials."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = HttpClient(proxy=f"http://user:word@127.0.0.1:{port}")
    try:
        error = await failure(client, "https://provider.invalid/v1")
    finally:
        await client.close()
    assert type(error) is ProviderUnreachable
    assert error.message == f"No connection to the proxy 127.0.0.1:{port}: Connection refused."


async def test_a_proxy_that_refuses_the_tunnel_is_told_with_its_status(raw_server: StartRawServer) -> None:
    async def script(connection: RawConnection) -> None:
        assert (await connection.request()).startswith(b"CONNECT provider.invalid:443 ")
        await connection.send(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

    server = await raw_server(script)
    client = HttpClient(proxy=server.url)
    try:
        error = await failure(client, "https://provider.invalid/v1")
    finally:
        await client.close()
    assert type(error) is ProviderUnreachable
    assert error.message == "The proxy opened no tunnel to provider.invalid:443: HTTP status 407."


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "http:///v1",
        "127.0.0.1:8000/v1",
        "http://[::1/",
        "http://127.0.0.1:99999/",
        "http://a..b/",
        f"http://{'a' * 64}.invalid/",
        "",
    ],
)
async def test_an_address_that_is_none_is_unreachable(client: HttpClient, url: str) -> None:
    assert type(await failure(client, url)) is ProviderUnreachable


async def test_a_key_with_a_line_end_is_told_without_showing_it(client: HttpClient, raw_server: StartRawServer) -> None:
    """A key read from a file often has one; it must neither be sent as a header of its own nor be shown."""

    async def script(connection: RawConnection) -> None:
        await connection.until_client_leaves()

    server = await raw_server(script)
    error = await failure(client, server.url, Authorization="Bearer hidden\r\nX-Injected: yes")
    assert type(error) is ProviderUnreachable
    assert "hidden" not in str(error)
    assert "line end" in error.hint


# A connection that breaks


@pytest.mark.parametrize(
    "sends",
    [
        pytest.param(b"", id="before any byte"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-", id="in the headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", id="short of Content-Length"),
        pytest.param(STREAM_HEAD, id="before the first chunk"),
        pytest.param(STREAM_HEAD + b"a\r\nshort", id="inside a chunk"),
        pytest.param(STREAM_HEAD + b"5\r\nfirst\r\n", id="between chunks"),
        pytest.param(STREAM_HEAD + b"5\r\nfirst\r\n0\r\n", id="before the last line end"),
    ],
)
@pytest.mark.parametrize("how", ["closed", "reset"])
async def test_a_broken_connection_is_never_the_end_of_a_body(
    client: HttpClient, raw_server: StartRawServer, sends: bytes, how: str
) -> None:
    """Wherever it breaks, by FIN or RST, the exchange fails as a lost connection that may be tried again."""

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(sends)
        if how == "reset":
            await asyncio.sleep(0.05)
            await connection.reset()

    server = await raw_server(script)
    error = await failure(client, server.url)
    assert type(error) is ProviderConnectionLost
    assert error.retryable
    assert f"127.0.0.1:{server.port}" in error.message


@pytest.mark.parametrize("how", ["closed", "reset"])
async def test_what_came_before_a_break_is_given_first(
    client: HttpClient, raw_server: StartRawServer, how: str
) -> None:
    """A reader that was busy when the connection broke still gets every byte that had come, and then the error."""
    broken = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(STREAM_HEAD + b"5\r\nfirst\r\n" + b"6\r\nsecond\r\n")
        await asyncio.sleep(0.05)
        if how == "reset":
            await connection.reset()
        else:
            connection.writer.close()
        broken.set()

    server = await raw_server(script)
    received = b""
    with pytest.raises(ProviderConnectionLost):
        async with client.send("POST", server.url, headers={}, body=b"{}") as reply:
            await broken.wait()
            await asyncio.sleep(0.05)
            async for chunk in reply.chunks():
                received += chunk
    assert received == b"firstsecond"


# A reply that is not HTTP


@pytest.mark.parametrize(
    "sends",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", id="another protocol"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n", id="TLS"),
        pytest.param(b"\x00" * 5000, id="zeros"),
        pytest.param(b"HTTP/1.1 two hundred\r\n\r\n", id="a status that is no number"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", id="a negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nfirst", id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n", id="a header without colon"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (MAX_HEADER_BYTES + 1) + b"\r\n\r\n", id="too long a header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (8 * MAX_HEADER_BYTES), id="a header without end"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * (MAX_HEADERS + 1) + b"\r\n", id="too many headers"),
        pytest.param(STREAM_HEAD + b"not hex\r\n", id="a chunk size that is no number"),
        pytest.param(STREAM_HEAD + b"5\r\nfirst, and more than five\r\n", id="a chunk over its size"),
    ],
)
async def test_garbage_is_a_malformed_response(client: HttpClient, raw_server: StartRawServer, sends: bytes) -> None:
    """The server keeps the connection open: the bytes alone are enough to refuse them."""

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(sends)
        await connection.until_client_leaves()

    server = await raw_server(script)
    error = await failure(client, server.url)
    assert type(error) is MalformedResponse
    assert f"127.0.0.1:{server.port}" in error.message


async def test_long_and_many_headers_within_the_limits_are_read(client: HttpClient, raw_server: StartRawServer) -> None:
    """Providers behind content networks send headers well over the usual limit of 8 KB."""

    async def script(connection: RawConnection) -> None:
        await connection.request()
        long = b"X-Long: " + b"x" * 30_000 + b"\r\n"
        many = b"".join(b"X-%d: x\r\n" % number for number in range(200))
        await connection.send(b"HTTP/1.1 200 OK\r\n" + long + many + b"Content-Length: 0\r\n\r\n")

    server = await raw_server(script)
    async with client.send("POST", server.url, headers={}, body=b"{}") as reply:
        assert len(reply.headers["x-long"]) == 30_000


# Secrets


@pytest.mark.parametrize(
    "sends",
    [
        pytest.param(None, id="refused"),
        pytest.param(b"", id="closed"),
        pytest.param(b"garbage\r\n\r\n", id="garbage"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"echoed-SECRET" * 4000 + b"\r\n\r\n", id="a long header"),
        pytest.param(STREAM_HEAD + b"a\r\nshort", id="cut"),
        pytest.param(STREAM_HEAD, id="idle"),
    ],
)
async def test_no_secret_is_in_an_error(client: HttpClient, raw_server: StartRawServer, sends: bytes | None) -> None:
    """Neither the message nor the traceback, with all that is chained to it, shows what may hold a secret.

    That is: the URL's credentials, its query string, any header.
    """

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(sends or b"")
        if sends == STREAM_HEAD:
            await connection.until_client_leaves()

    server = await raw_server(script)
    port = server.port
    if sends is None:
        await server.stop()
    url = f"http://user:SECRET@127.0.0.1:{port}/v1?key=SECRET"
    error = await failure(client, url, Deadlines(idle_s=SOON_S), **{"x-api-key": "SECRET"})
    assert f"127.0.0.1:{port}" in str(error)
    assert "SECRET" not in str(error)
    assert "SECRET" not in "".join(traceback.format_exception(error))


# TLS


@needs_openssl
async def test_a_private_authority_is_trusted_only_if_named(raw_server: StartRawServer, tmp_path: Path) -> None:
    """A self-signed server is refused with a hint at ca_file, and answers when its certificate is that file."""
    tls, certificate = serving_tls(tmp_path)

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ntrusted")

    server = await raw_server(script, tls=tls)
    distrusting, trusting = HttpClient(), HttpClient(ca_file=certificate)
    try:
        error = await failure(distrusting, server.url)
        async with trusting.send("POST", server.url, headers={}, body=b"{}") as reply:
            assert await reply.read() == b"trusted"
    finally:
        await distrusting.close()
        await trusting.close()
    assert type(error) is ProviderUnreachable
    assert error.message == f"127.0.0.1:{server.port} could not prove who it is: self-signed certificate."
    assert "ca_file" in error.hint


@needs_openssl
async def test_leaving_a_tls_stream_closes_the_connection(raw_server: StartRawServer, tmp_path: Path) -> None:
    """TLS has a farewell of its own, which must not delay the end."""
    tls, certificate = serving_tls(tmp_path)
    left = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(STREAM_HEAD + b"5\r\nfirst\r\n")
        await connection.until_client_leaves()
        left.set()

    server = await raw_server(script, tls=tls)
    client = HttpClient(ca_file=certificate)
    try:
        async with client.send("POST", server.url, headers={}, body=b"{}") as reply:
            async for chunk in reply.chunks():
                assert chunk == b"first"
                break
        await asyncio.wait_for(left.wait(), 1)
    finally:
        await client.close()


async def test_https_to_a_plain_server_is_unreachable(client: HttpClient, raw_server: StartRawServer) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.reader.read(100)
        await connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await raw_server(script)
    error = await failure(client, f"https://127.0.0.1:{server.port}")
    assert type(error) is ProviderUnreachable
    assert error.message.startswith(f"TLS with 127.0.0.1:{server.port} failed: ")
