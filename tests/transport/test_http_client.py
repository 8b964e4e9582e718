"""HttpClient over real sockets: what is sent, what comes back, and when connections are kept or closed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import weakref
from collections.abc import AsyncIterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from waypost.errors import (
    ConfigurationError,
    MalformedResponse,
    ProviderConnectionLost,
    ProviderUnreachable,
)
from waypost.transport import Deadlines, HttpClient

if TYPE_CHECKING:
    from tests.transport.raw_server import RawConnection, StartRawServer


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LEAVES_WITHIN_S = 1.0
"""How soon the server must see that the client has gone."""


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient()
    yield made
    await made.close()


async def fetch(client: HttpClient, url: str, body: bytes = b"{}") -> bytes:
    async with client.send("POST", url, headers={"Content-Type": "application/json"}, body=body) as reply:
        return await reply.read()


def reply_bytes(body: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n") -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def answer_for_ever(connection: RawConnection) -> None:
    while True:
        await connection.request()
        await connection.send(reply_bytes(b"answer"))


# What is sent, and what comes back


async def test_status_headers_and_body_are_those_of_the_wire(client: HttpClient, raw_server: StartRawServer) -> None:
    """Any status is a reply, not an error; header names are lower-case; repeated headers are joined in order."""

    async def script(connection: RawConnection) -> None:
        await connection.request()
        head = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nX-Many: one\r\nx-many: two\r\n"
        await connection.send(reply_bytes(b'{"error": "slow down"}', head))

    server = await raw_server(script)
    async with client.send("POST", server.url, headers={}, body=b"{}") as reply:
        assert reply.status == 429
        assert reply.headers["retry-after"] == "3"
        assert reply.headers["x-many"] == "one, two"
        assert await reply.read() == b'{"error": "slow down"}'


async def test_a_request_carries_our_name_and_asks_for_no_compression(
    client: HttpClient, raw_server: StartRawServer
) -> None:
    """The wire shows the method, path, query, headers and body that were given, and no cookie of an earlier reply."""
    seen: list[bytes] = []

    async def script(connection: RawConnection) -> None:
        while True:
            seen.append(await connection.request())
            await connection.send(reply_bytes(b"", b"HTTP/1.1 200 OK\r\nSet-Cookie: session=1; Path=/\r\n"))

    server = await raw_server(script)
    url = f"http://localhost:{server.port}/v1/a%20b?x=1"  # a name: addresses have no cookies anyway
    headers = {"content-type": "application/json", "x-api-key": "secret"}
    for _ in range(2):
        async with client.send("POST", url, headers=headers, body=b"body") as reply:
            await reply.read()
    head, _, body = seen[1].partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"post /v1/a%20b?x=1 http/1.1"
    assert body == b"body"
    assert b"content-type: application/json" in lines
    assert b"x-api-key: secret" in lines
    assert b"accept-encoding: identity" in lines
    assert [line for line in lines if line.startswith(b"user-agent: waypost/")]
    assert [line for line in lines if line.startswith((b"cookie:", b"authorization:"))] == []


async def test_redirects_are_not_followed(client: HttpClient, raw_server: StartRawServer) -> None:
    """A redirect would carry the key to an address nobody configured: it comes back as it is."""

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(reply_bytes(b"", b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\n"))

    server = await raw_server(script)
    async with client.send("POST", server.url, headers={}, body=b"{}") as reply:
        assert reply.status == 307
    assert server.accepted == 1


async def test_the_environment_names_no_proxy(
    client: HttpClient, raw_server: StartRawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a configured proxy is used: HTTP_PROXY of the environment would see every prompt."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server = await raw_server(answer_for_ever)
    assert await fetch(client, server.url) == b"answer"


async def test_a_configured_proxy_is_asked_with_its_credentials(raw_server: StartRawServer) -> None:
    """Plain HTTP through a proxy sends it the whole address, and the credentials of the proxy's URL."""
    seen: list[bytes] = []

    async def script(connection: RawConnection) -> None:
        seen.append(await connection.request())
        await connection.send(reply_bytes(b"through the proxy"))

    server = await raw_server(script)
    client = HttpClient(proxy=f"http://user:word@127.0.0.1:{server.port}")
    try:
        assert await fetch(client, "http://provider.invalid/v1/chat") == b"through the proxy"
    finally:
        await client.close()
    lines = seen[0].lower().split(b"\r\n")
    assert lines[0] == b"post http://provider.invalid/v1/chat http/1.1"
    assert b"proxy-authorization: basic dxnlcjp3b3jk" in lines  # base64("user:word"), lower-cased with the rest


async def test_a_large_body_is_sent_whole(client: HttpClient, raw_server: StartRawServer) -> None:
    """A request of several megabytes (images are) arrives unchanged, with its length, and without a warning."""
    body = os.urandom(1024) * 5000
    seen: list[bytes] = []

    async def script(connection: RawConnection) -> None:
        seen.append(await connection.request())
        await connection.send(reply_bytes(b"answer"))

    server = await raw_server(script)
    assert await fetch(client, server.url, body) == b"answer"
    head, _, sent = seen[0].partition(b"\r\n\r\n")
    assert b"content-length: 5120000" in head.lower()
    assert b"transfer-encoding" not in head.lower()
    assert sent == body


async def test_chunks_come_as_they_are_sent(client: HttpClient, raw_server: StartRawServer) -> None:
    """Each chunk is given before the next is sent: nothing waits for the end of the body."""
    proceed = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(STREAM_HEAD)
        for number in range(3):
            await connection.send(b"4\r\nat %d\r\n" % number)
            await proceed.wait()
            proceed.clear()
        await connection.send(b"0\r\n\r\n")

    server = await raw_server(script)
    received = []
    async with client.send("POST", server.url, headers={}, body=b"{}") as reply:
        async for chunk in reply.chunks():
            received.append(chunk)
            proceed.set()
    assert received == [b"at 0", b"at 1", b"at 2"]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_a_reply_without_a_body_reads_as_empty(
    client: HttpClient, raw_server: StartRawServer, status: str
) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(f"HTTP/1.1 {status}\r\n\r\n".encode())
        await connection.until_client_leaves()

    server = await raw_server(script)
    assert await fetch(client, server.url) == b""


async def test_a_compressed_reply_is_refused_but_a_compressed_error_is_given(
    client: HttpClient, raw_server: StartRawServer
) -> None:
    """We ask for none; a decoder fed with gzip would blame the JSON. Of an error the status is worth having."""
    statuses = iter((b"200 OK", b"502 Bad Gateway"))

    async def script(connection: RawConnection) -> None:
        while True:
            await connection.request()
            head = b"HTTP/1.1 %b\r\nContent-Encoding: gzip\r\n" % next(statuses)
            await connection.send(reply_bytes(b"\x1f\x8b", head))

    server = await raw_server(script)
    with pytest.raises(MalformedResponse, match="compressed \\('gzip'\\)"):
        await fetch(client, server.url)
    async with client.send("POST", server.url, headers={}, body=b"{}") as reply:
        assert (reply.status, await reply.read()) == (502, b"\x1f\x8b")


# Bounds


@pytest.mark.parametrize("framing", ["declared", "chunked", "until close"])
async def test_a_body_over_the_limit_is_refused(raw_server: StartRawServer, framing: str) -> None:
    """The error names the limit, and the rest is not read: the server sees the connection close."""
    left = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.request()
        if framing == "declared":
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n")
        elif framing == "chunked":
            await connection.send(STREAM_HEAD + b"5dc\r\n" + b"x" * 1500 + b"\r\n")
        else:
            await connection.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1500)
        await connection.until_client_leaves()
        left.set()

    server = await raw_server(script)
    client = HttpClient(max_reply_bytes=1000)
    try:
        with pytest.raises(MalformedResponse, match=f"127.0.0.1:{server.port} is over the limit of 1000 bytes"):
            await fetch(client, server.url)
        await asyncio.wait_for(left.wait(), LEAVES_WITHIN_S)
    finally:
        await client.close()


async def test_a_body_of_exactly_the_limit_is_read(client: HttpClient, raw_server: StartRawServer) -> None:
    server = await raw_server(answer_for_ever)
    async with client.send("POST", server.url, headers={}, body=b"{}") as reply:
        assert await reply.read(limit_bytes=len(b"answer")) == b"answer"
    async with client.send("POST", server.url, headers={}, body=b"{}") as reply:
        with pytest.raises(MalformedResponse, match="limit of 5 bytes"):
            await reply.read(limit_bytes=len(b"answer") - 1)


# The pool


async def test_a_connection_is_used_again_after_a_body_was_read(client: HttpClient, raw_server: StartRawServer) -> None:
    server = await raw_server(answer_for_ever)
    for _ in range(3):
        assert await fetch(client, server.url) == b"answer"
    assert server.accepted == 1


async def test_a_connection_is_not_used_again_after_a_body_was_left(
    client: HttpClient, raw_server: StartRawServer
) -> None:
    """What is left of an unread body must never be taken for the next reply."""

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(STREAM_HEAD + b"5\r\nfirst\r\n")
        await connection.until_client_leaves()

    server = await raw_server(script)
    for _ in range(2):
        async with client.send("POST", server.url, headers={}, body=b"{}") as reply:
            async for chunk in reply.chunks():
                assert chunk == b"first"
                break
    assert server.accepted == 2


async def test_parallel_requests_have_connections_of_their_own(client: HttpClient, raw_server: StartRawServer) -> None:
    """150 at once: none waits for another."""
    together = asyncio.Barrier(150)

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await together.wait()
        await connection.send(reply_bytes(b"answer"))

    server = await raw_server(script)
    answers = await asyncio.gather(*(fetch(client, server.url) for _ in range(together.parties)))
    assert answers == [b"answer"] * together.parties
    assert server.accepted == together.parties


async def test_a_stale_connection_is_a_lost_connection(client: HttpClient, raw_server: StartRawServer) -> None:
    """The server closes a pooled connection on the next request: retryable, and we do not send twice ourselves."""
    requests = 0

    async def script(connection: RawConnection) -> None:
        nonlocal requests
        requests += 1
        await connection.request()
        await connection.send(reply_bytes(b"answer"))
        await connection.request()
        requests += 1

    server = await raw_server(script)
    assert await fetch(client, server.url) == b"answer"
    with pytest.raises(ProviderConnectionLost) as raised:
        await fetch(client, server.url)
    assert raised.value.retryable
    assert requests == 2


async def test_a_connection_the_server_ended_is_not_used_again(client: HttpClient, raw_server: StartRawServer) -> None:
    """A pooled connection whose end was seen in time is replaced without anybody noticing."""

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(reply_bytes(b"answer"))

    server = await raw_server(script)
    assert await fetch(client, server.url) == b"answer"
    await asyncio.gather(*server.tasks)
    await asyncio.sleep(0.05)
    assert await fetch(client, server.url) == b"answer"
    assert server.accepted == 2


# Leaving and cancelling


@pytest.mark.parametrize("server_sends", [b"", STREAM_HEAD + b"5\r\nfirst\r\n"], ids=["before headers", "mid-stream"])
async def test_cancelling_closes_the_connection(
    client: HttpClient, raw_server: StartRawServer, server_sends: bytes
) -> None:
    """The provider must be able to stop generating: it sees the end of the connection at once."""
    busy, left = asyncio.Event(), asyncio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(server_sends)
        busy.set()
        await connection.until_client_leaves()
        left.set()

    server = await raw_server(script)
    task = asyncio.create_task(fetch(client, server.url))
    await busy.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(left.wait(), LEAVES_WITHIN_S)


async def test_cancelling_an_upload_closes_the_connection(client: HttpClient, raw_server: StartRawServer) -> None:
    """The rest of a large body is not sent after all: the server gets an end, not 64 MB."""
    received = 0
    busy, proceed, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def script(connection: RawConnection) -> None:
        nonlocal received
        received = len(await connection.reader.read(1000))
        busy.set()
        await proceed.wait()
        try:
            while piece := await connection.reader.read(65536):
                received += len(piece)
        except ConnectionError:
            pass
        left.set()

    server = await raw_server(script)
    body_bytes = 64 * 1024 * 1024
    task = asyncio.create_task(fetch(client, server.url, bytes(body_bytes)))
    await busy.wait()
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    proceed.set()
    await asyncio.wait_for(left.wait(), LEAVES_WITHIN_S)
    assert 0 < received < body_bytes / 2


async def test_leaving_during_an_upload_does_not_wait_for_it(client: HttpClient, raw_server: StartRawServer) -> None:
    """The server answers before it has read the request, and reads no more of it: the end comes all the same."""
    left = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.reader.read(1000)
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await connection.send(STREAM_HEAD)
        try:
            while True:
                await connection.send(b"1\r\nx\r\n")
                await asyncio.sleep(0.01)
        except ConnectionError:
            left.set()

    server = await raw_server(script)
    async with client.send("POST", server.url, headers={}, body=bytes(64 * 1024 * 1024)) as reply:
        assert reply.status == 200
        await asyncio.sleep(0.2)  # until the system's buffers are full and the upload is stuck
    await asyncio.wait_for(left.wait(), LEAVES_WITHIN_S)


async def test_an_exception_in_the_block_closes_the_connection(client: HttpClient, raw_server: StartRawServer) -> None:
    left = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(STREAM_HEAD)
        await connection.until_client_leaves()
        left.set()

    server = await raw_server(script)
    with pytest.raises(ZeroDivisionError):
        async with client.send("POST", server.url, headers={}, body=b"{}"):
            _ = 1 / 0
    await asyncio.wait_for(left.wait(), LEAVES_WITHIN_S)


async def test_closing_the_client_ends_what_is_in_flight(raw_server: StartRawServer) -> None:
    """An exchange in flight breaks as a lost connection, and does not hang; a later one is refused."""
    client = HttpClient()
    busy = asyncio.Event()

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(STREAM_HEAD + b"5\r\nfirst\r\n")
        busy.set()
        await connection.until_client_leaves()

    server = await raw_server(script)
    task = asyncio.create_task(fetch(client, server.url))
    await busy.wait()
    await asyncio.sleep(0.05)
    await client.close()
    with pytest.raises(ProviderConnectionLost):
        await asyncio.wait_for(task, LEAVES_WITHIN_S)
    with pytest.raises(ProviderUnreachable, match="was closed"):
        await fetch(client, server.url)
    await client.close()


def test_a_client_may_be_used_in_one_loop_after_another(tmp_path: Path) -> None:
    """Two `asyncio.run` with one client, never closed: both answer, and nothing complains on stderr."""
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import asyncio
            from waypost.transport import HttpClient

            client = HttpClient()

            async def serve(reader, writer):
                await reader.readuntil(b"\\r\\n\\r\\n")
                writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\n\\r\\nanswer")

            async def main():
                server = await asyncio.start_server(serve, "127.0.0.1", 0)
                url = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
                async with client.send("GET", url, headers={}) as reply:
                    print((await reply.read()).decode())

            asyncio.run(main())
            asyncio.run(main())
            """
        )
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("answer\nanswer\n", "", 0)


def test_a_client_needs_no_http_framework() -> None:
    """They cost more time to import than a command may take to start."""
    program = "import sys, waypost.transport as t; t.HttpClient(); print('aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "False\n"


# Configuration


async def test_a_configuration_file_of_authorities_is_checked_at_once(tmp_path: Path) -> None:
    """The error names the file and says what is wrong with it."""
    missing, not_pem = tmp_path / "missing.pem", tmp_path / "not.pem"
    not_pem.write_text("no certificate")
    with pytest.raises(ConfigurationError, match=f"{missing} cannot be used: No such file"):
        HttpClient(ca_file=missing)
    with pytest.raises(ConfigurationError, match=f"{not_pem} cannot be used: it holds no PEM"):
        HttpClient(ca_file=not_pem)


def test_deadlines_have_documented_defaults() -> None:
    assert Deadlines() == Deadlines(connect_s=10, first_byte_s=None, idle_s=60, total_s=600)


async def test_a_connection_keeps_nothing_of_the_request_that_opened_it(
    client: HttpClient, raw_server: StartRawServer
) -> None:
    """It rests in the pool long after; what the request's context leads to would stay with it."""

    class Record:
        """What a request's context leads to."""

    server = await raw_server(answer_for_ever)
    variable: ContextVar[Record] = ContextVar("record")

    async def request() -> weakref.ref[Record]:
        record = Record()
        variable.set(record)
        assert await fetch(client, server.url) == b"answer"
        return weakref.ref(record)

    kept = await asyncio.create_task(request())
    for _turn in range(3):
        # What the ended task left with the loop is forgotten.
        await asyncio.sleep(0)
    assert kept() is None
