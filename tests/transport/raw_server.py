"""A server of bytes: what it sends, and how it breaks, is exactly what a test's script says.

A script is `async def script(connection)`, run once for each connection. The fixture `raw_server` starts one:
`server = await raw_server(script)`. This file is loaded as a pytest plugin by the tests that use it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
from tests.transport.replies import STREAM_HEAD, http_chunk, http_reply

__all__ = ["STREAM_HEAD", "RawConnection", "RawServer", "Script", "StartRawServer", "http_chunk", "http_reply"]


@dataclass
class RawConnection:
    """One accepted connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> bytes:
        """Read one request: its head and the body that Content-Length declares."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                return head + await self.reader.readexactly(int(value))
        return head

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reset(self) -> None:
        """Break the connection by RST, after what was sent has gone out."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_client_leaves(self) -> None:
        """Wait for the client's end of the connection, by FIN or RST."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


Script: TypeAlias = Callable[[RawConnection], Awaitable[None]]


@dataclass
class RawServer:
    """A listening server; `accepted` counts connections, `left` is set when a client ended one."""

    script: Script
    tls: ssl.SSLContext | None = None
    accepted: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    failures: list[Exception] = field(default_factory=list)
    server: asyncio.Server | None = None

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.tls)

    @property
    def port(self) -> int:
        assert self.server is not None
        return int(self.server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await self.script(RawConnection(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The client left: what a script waits for is asserted by the test, not here.
        except asyncio.CancelledError:
            pass
        except Exception as error:  # noqa: BLE001 - shown by the fixture at the end of the test
            self.failures.append(error)
        finally:
            self.tasks.discard(task)
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await asyncio.wait_for(writer.wait_closed(), 1)

    async def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.server.wait_closed()


StartRawServer: TypeAlias = Callable[..., Awaitable[RawServer]]


@pytest.fixture
async def raw_server() -> AsyncIterator[StartRawServer]:
    servers: list[RawServer] = []

    async def start(script: Script, *, tls: ssl.SSLContext | None = None) -> RawServer:
        server = RawServer(script, tls)
        await server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        await server.stop()
    assert [failure for server in servers for failure in server.failures] == []
