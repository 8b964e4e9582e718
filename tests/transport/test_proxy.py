"""Requests through an HTTP proxy that really forwards."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.transport.certificates import needs_openssl, serving_tls
from tests.transport.replies import http_reply

from waypost.errors import ConfigurationError, ProviderConnectionLost, ProviderTimeout, ProviderUnreachable
from waypost.transport import Deadlines, HttpClient

if TYPE_CHECKING:
    from tests.transport.raw_server import RawConnection, StartRawServer


AGREED = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n"


@dataclass
class Tunnels:
    """A proxy's script: opens a tunnel to whatever it is asked for. `heads` are the requests it read."""

    heads: list[bytes] = field(default_factory=list)

    async def __call__(self, connection: RawConnection) -> None:
        head = await connection.request()
        self.heads.append(head)
        host, _, port = head.split()[1].rpartition(b":")
        reader, writer = await asyncio.open_connection(host.decode(), int(port))
        # In two packets, since a head may be split anywhere.
        await connection.send(AGREED[:20])
        await asyncio.sleep(0.02)
        await connection.send(AGREED[20:])
        try:
            await asyncio.gather(
                copy(connection.reader, writer), copy(reader, connection.writer), return_exceptions=True
            )
        finally:
            writer.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def echo_for_ever(connection: RawConnection) -> None:
    while True:
        request = await connection.request()
        await connection.send(http_reply(request.partition(b"\r\n\r\n")[2]))


@needs_openssl
async def test_https_goes_through_a_tunnel_that_is_used_again(raw_server: StartRawServer, tmp_path: Path) -> None:
    """The proxy sees the place and its own credentials, and neither the path nor the provider's key."""
    tls, certificate = serving_tls(tmp_path)
    provider = await raw_server(echo_for_ever, tls=tls)
    tunnels = Tunnels()
    proxy = await raw_server(tunnels)
    client = HttpClient(proxy=f"http://user:word@127.0.0.1:{proxy.port}", ca_file=certificate)
    large = bytes(range(256)) * 4000
    try:
        for body in (b"first", large, b"last"):
            async with client.send("POST", f"{provider.url}/path", headers={"x-api-key": "k"}, body=body) as reply:
                assert await reply.read() == body
    finally:
        await client.close()
    assert (proxy.accepted, provider.accepted) == (1, 1)
    lines = tunnels.heads[0].split(b"\r\n")
    assert lines[0] == b"CONNECT 127.0.0.1:%d HTTP/1.1" % provider.port
    assert b"proxy-authorization: Basic dXNlcjp3b3Jk" in lines
    assert b"path" not in tunnels.heads[0]
    assert b"x-api-key" not in tunnels.heads[0]


@needs_openssl
async def test_a_tunnel_to_an_untrusted_provider_is_closed(raw_server: StartRawServer, tmp_path: Path) -> None:
    """The provider is named, not the proxy."""
    tls, _certificate = serving_tls(tmp_path)
    provider = await raw_server(echo_for_ever, tls=tls)
    proxy = await raw_server(Tunnels())
    client = HttpClient(proxy=proxy.url)
    try:
        with pytest.raises(ProviderUnreachable, match=f"127.0.0.1:{provider.port} could not prove who it is"):
            await client.open("POST", provider.url, headers={}, body=b"{}")
        await asyncio.wait_for(asyncio.gather(*proxy.tasks), 1)
    finally:
        await client.close()


async def test_plain_requests_to_several_places_share_the_connection_to_the_proxy(raw_server: StartRawServer) -> None:
    """The provider's key goes along with each, and so do the proxy's credentials."""
    heads: list[bytes] = []

    async def script(connection: RawConnection) -> None:
        while True:
            heads.append(await connection.request())
            await connection.send(http_reply(b"answer"))

    proxy = await raw_server(script)
    client = HttpClient(proxy=f"http://user:word@127.0.0.1:{proxy.port}")
    try:
        for host in ("one.invalid", "two.invalid:8080"):
            async with client.send("POST", f"http://{host}/v1?x=1", headers={"x-api-key": "k"}, body=b"{}") as reply:
                assert await reply.read() == b"answer"
    finally:
        await client.close()
    assert proxy.accepted == 1
    assert [head.split(b"\r\n")[0] for head in heads] == [
        b"POST http://one.invalid/v1?x=1 HTTP/1.1",
        b"POST http://two.invalid:8080/v1?x=1 HTTP/1.1",
    ]
    assert all(b"\r\nx-api-key: k\r\n" in head for head in heads)
    assert all(b"\r\nproxy-authorization: Basic dXNlcjp3b3Jk\r\n" in head for head in heads)


@pytest.mark.parametrize(
    ("sends", "told"),
    [
        pytest.param(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", ": HTTP status 403.", id="refused"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", ": it does not speak HTTP.", id="another protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, ": HTTP status 200.", id="a head without end"),
        pytest.param(AGREED + b"injected", ": HTTP status 200.", id="bytes that nobody asked for"),
        pytest.param(b"", ".", id="closed"),
    ],
)
async def test_a_proxy_that_opens_no_tunnel(raw_server: StartRawServer, sends: bytes, told: str) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(sends)
        if sends:
            await connection.until_client_leaves()

    proxy = await raw_server(script)
    client = HttpClient(proxy=proxy.url)
    try:
        with pytest.raises(ProviderUnreachable) as raised:
            await client.open("POST", "https://provider.invalid/v1", headers={}, body=b"{}")
        assert raised.value.message == f"The proxy opened no tunnel to provider.invalid:443{told}"
        await asyncio.wait_for(asyncio.gather(*proxy.tasks), 1)
    finally:
        await client.close()


async def test_a_tunnel_counts_as_connecting(raw_server: StartRawServer) -> None:
    """A proxy that never answers meets the connect limit, and sees the connection end."""

    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.until_client_leaves()

    proxy = await raw_server(script)
    client = HttpClient(proxy=proxy.url)
    try:
        with pytest.raises(ProviderTimeout) as raised:
            await client.open("POST", "https://provider.invalid/", headers={}, deadlines=Deadlines(connect_s=0.1))
        assert raised.value.phase == "connect"
        await asyncio.wait_for(asyncio.gather(*proxy.tasks), 1)
    finally:
        await client.close()


async def test_a_proxy_that_leaves_in_the_middle_of_an_answer_cuts_it(raw_server: StartRawServer) -> None:
    async def script(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")

    proxy = await raw_server(script)
    client = HttpClient(proxy=proxy.url)
    try:
        async with client.send("GET", "http://provider.invalid/", headers={}) as reply:
            assert await reply.next_chunk() == b"short"
            with pytest.raises(ProviderConnectionLost, match="provider.invalid:80"):
                await reply.next_chunk()
    finally:
        await client.close()


@pytest.mark.parametrize("proxy", ["", "127.0.0.1:3128", "socks5://SECRET@127.0.0.1:1080", "http://"])
def test_a_proxy_without_a_usable_address_is_a_mistake_of_the_configuration(proxy: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        HttpClient(proxy=proxy)
    assert "SECRET" not in str(raised.value)


@needs_openssl
async def test_the_way_to_the_proxy_may_be_encrypted_too(raw_server: StartRawServer, tmp_path: Path) -> None:
    """TLS to the provider runs inside that to the proxy; plain requests go through the outer one."""
    tls, certificate = serving_tls(tmp_path)
    provider = await raw_server(echo_for_ever, tls=tls)
    tunnelling, forwarding = await raw_server(Tunnels(), tls=tls), await raw_server(echo_for_ever, tls=tls)
    for proxy, url in ((tunnelling, provider.url), (forwarding, "http://provider.invalid/")):
        client = HttpClient(proxy=proxy.url, ca_file=certificate)
        try:
            for body in (b"first", bytes(200_000)):
                async with client.send("POST", url, headers={}, body=body) as reply:
                    assert await reply.read() == body
        finally:
            await client.close()
    assert (provider.accepted, tunnelling.accepted, forwarding.accepted) == (1, 1, 1)
