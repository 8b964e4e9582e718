"""The other worker processes of this server: how to reach them, and how to hand a whole request to one of them.

Each worker listens on a Unix socket in a folder that only this account may enter, and takes from there only what shows
the token that the supervisor made. Nothing here decides which worker a request belongs to (see `middleware.pass_on`).
The invariant: a reply that breaks off at the peer breaks off here too; it never looks finished.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.types import Scope, Send

from waypost.codecs.jsonbytes import JsonError, parse_request
from waypost.server.callers import HEADERS as KEY_HEADERS
from waypost.server.callers import caller_of
from waypost.server.middleware.request_id import HEADER as REQUEST_ID
from waypost.server.middleware.request_id import request_id_of

if TYPE_CHECKING:
    import aiohttp

BACKLOG: Final = 2048
LONGEST_FOLDER_BYTES: Final = 76
CONNECT_S: Final = 2.0
ASK_S: Final = 10.0
"""Longest wait for a peer's answer about itself."""
TOKEN: Final = "x-waypost-peer"  # noqa: S105 - the header's name
CALLER: Final = "x-waypost-caller"
# RFC 9110, 7.6.1: what concerns one connection only. What our server writes itself, and keys, go no further either.
_OWN: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade"})
_NOT_ASKED: Final = _OWN | {*KEY_HEADERS, b"content-length", b"expect", REQUEST_ID.encode()}
_NOT_TOLD: Final = _OWN | {b"date", REQUEST_ID.encode()}
_AUTOMATIC: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


def private_folder() -> Path:
    """A new folder that only this account may enter, with a name short enough for Unix sockets in it."""
    usual = Path(tempfile.gettempdir())
    # Source: unix(7): sun_path has 108 bytes, 104 on macOS; mkdtemp adds a name of 16, a socket one of 8.
    within = usual if len(os.fsencode(usual)) <= LONGEST_FOLDER_BYTES else Path("/tmp")  # noqa: S108 - mkdtemp is safe
    return Path(tempfile.mkdtemp(prefix="waypost-", dir=within))


class PeerGone(Exception):
    """The worker is not there now, or ended before it had answered."""


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """All workers of one server, numbered from 1, as one of them (`own`) sees them."""

    own: int
    workers: int
    folder: Path
    token: str = field(repr=False)

    def address(self, number: int) -> Path:
        """Where a worker listens for the others."""
        return self.folder / f"{number}.sock"

    def owner_of(self, *parts: str) -> int:
        """The worker that keeps what has this name: the same for every worker."""
        digest = hashlib.sha256(repr(parts).encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.workers + 1

    def listen(self) -> socket.socket:
        """The own socket; one that a worker before this one left behind is taken away."""
        address = self.address(self.own)
        address.unlink(missing_ok=True)
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.bind(str(address))
        opened.listen(BACKLOG)
        return opened


class Peers:
    """The way to the other workers. A connection is made for each request and closed after it."""

    def __init__(self, neighbourhood: Neighbourhood) -> None:
        self.neighbourhood = neighbourhood
        self._sessions: dict[int, aiohttp.ClientSession] = {}

    @property
    def own(self) -> int:
        """This worker's number."""
        return self.neighbourhood.own

    @property
    def others(self) -> tuple[int, ...]:
        """The numbers of the other workers."""
        return tuple(number for number in range(1, self.neighbourhood.workers + 1) if number != self.own)

    async def pass_on(self, number: int, scope: Scope, body: bytes, send: Send) -> None:
        """Have the peer answer this request, for this caller. Raises PeerGone if it does not begin to.

        Raises aiohttp's ClientError if the answer breaks off.
        """
        import aiohttp

        path = (scope.get("raw_path") or scope["path"].encode()).decode("ascii")
        query = scope["query_string"].decode("ascii")
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in _sent(scope, _NOT_ASKED)]
        headers.append((REQUEST_ID, request_id_of(scope)))
        opening = self._request(number, scope["method"], f"{path}?{query}" if query else path, scope, headers, body)
        try:
            response = await opening
        except (aiohttp.ClientError, OSError) as error:
            raise PeerGone from error
        async with response:
            told = [(name.lower(), value) for name, value in response.raw_headers if name.lower() not in _NOT_TOLD]
            await send({"type": "http.response.start", "status": response.status, "headers": told})
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def ask(self, number: int, method: str, path: str, scope: Scope) -> tuple[int, Any]:
        """The status and JSON of a peer's own answer, asked for whoever sent `scope`. Raises PeerGone."""
        import aiohttp

        try:
            async with await self._request(number, method, path, scope, [], b"", ASK_S) as response:
                return response.status, parse_request(await response.read())
        except (aiohttp.ClientError, OSError, JsonError) as error:
            raise PeerGone from error

    async def close(self) -> None:
        """Close what is open."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def _request(
        self,
        number: int,
        method: str,
        path: str,
        scope: Scope,
        headers: list[tuple[str, str]],
        body: bytes,
        total_s: float | None = None,
    ) -> aiohttp.ClientResponse:
        import aiohttp
        from yarl import URL

        own = [(TOKEN, self.neighbourhood.token), (CALLER, caller_of(scope).name)]
        return await self._session(number).request(
            method,
            URL(f"http://peer{path}", encoded=True),
            data=body or None,
            headers=[*headers, *own],
            skip_auto_headers=_AUTOMATIC,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_S),
        )

    def _session(self, number: int) -> aiohttp.ClientSession:
        import aiohttp

        session = self._sessions.get(number)
        if session is None:
            # A kept connection may be closed by the peer just as a request is written to it.
            connector = aiohttp.UnixConnector(str(self.neighbourhood.address(number)), limit=0, force_close=True)
            session = self._sessions[number] = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return session


def _sent(scope: Scope, without: frozenset[bytes]) -> Iterator[tuple[bytes, bytes]]:
    names = {TOKEN.encode(), CALLER.encode()} | without
    return ((name, value) for name, value in scope["headers"] if name not in names)


def found(status: int) -> bool:
    """Is it any other answer than that there is nothing of that name?"""
    return status != HTTPStatus.NOT_FOUND
