"""HTTP as the checks use it: whatever goes wrong on the way is CheckFailed, with a sentence that says what."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from waypost.smoke.verdict import CheckFailed

LONGEST_SHOWN: Final = 200
HUGE_BYTES: Final = 1 << 40
"""More than any server can be told to take."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as an object. Raises CheckFailed."""
        try:
            value = json.loads(self.body)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise CheckFailed(f"The reply (status {self.status}) is no JSON object: {self.told()}")
        return value

    def demand(self, *statuses: int) -> Reply:
        """The reply itself, if its status is one of these. Raises CheckFailed, in the server's own words."""
        if self.status not in statuses:
            raise CheckFailed(f"The server answers with status {self.status}: {self.told()}")
        return self

    @property
    def code(self) -> str:
        """The error's code, empty if the reply is no error of Waypost's."""
        return str(self._error().get("code", ""))

    def told(self) -> str:
        """The error's message, else how the body begins."""
        message = self._error().get("message")
        text = str(message) if message else self.body[:LONGEST_SHOWN].decode(errors="replace")
        shown = "".join(character if character.isprintable() else " " for character in text).strip()
        return shown[:LONGEST_SHOWN] or "(an empty body)"

    def _error(self) -> Mapping[str, Any]:
        try:
            error = json.loads(self.body).get("error")
        except (ValueError, AttributeError):
            return {}
        return error if isinstance(error, dict) else {}


class Server:
    """The server at an address. `timeout_s` bounds each request."""

    def __init__(self, url: str, session: aiohttp.ClientSession, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        self._session = session
        self.timeout_s = timeout_s

    async def get(self, path: str, key: str | None = None, *, timeout_s: float | None = None) -> Reply:
        """A page. Raises CheckFailed."""
        return await self._ask("GET", path, key, timeout_s=timeout_s)

    async def post(self, path: str, body: Mapping[str, Any], key: str | None = None) -> Reply:
        """JSON, sent to a path. Raises CheckFailed."""
        return await self._ask("POST", path, key, json=body)

    async def delete(self, path: str, key: str | None = None) -> Reply:
        """Raises CheckFailed."""
        return await self._ask("DELETE", path, key)

    async def announce_huge_body(self, path: str, key: str | None = None) -> Reply:
        """Say that a body is coming that no server takes, and wait for the answer before sending any of it."""
        headers = {"content-length": str(HUGE_BYTES), "content-type": "application/json"}
        body = _Nothing()
        try:
            return await self._ask("POST", path, key, headers=headers, data=body, expect100=True)
        except CheckFailed:
            if body.is_wanted:
                raise CheckFailed("The server wants to read a body of a tebibyte.") from None
            raise

    async def _ask(self, method: str, path: str, key: str | None, **options: Any) -> Reply:
        timeout_s = options.pop("timeout_s", None) or self.timeout_s
        headers = {**options.pop("headers", {}), **_shown(key)}
        with _explained(self.url, timeout_s):
            async with self._session.request(
                method,
                self.url + path,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                **options,
            ) as reply:
                names = {name.lower(): value for name, value in reply.headers.items()}
                return Reply(reply.status, names, await reply.read())


class _Nothing:
    """A body of which nothing can be had: a server that wants it anyway has not refused it."""

    def __init__(self) -> None:
        self.is_wanted = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self.is_wanted = True
        raise ConnectionAbortedError


def _shown(key: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


class _explained:  # noqa: N801 - reads as a word where it is used
    """Turns the client's errors into sentences."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        sentence = self._sentence(error)
        if sentence is not None:
            raise CheckFailed(sentence) from error

    def _sentence(self, error: BaseException | None) -> str | None:
        match error:
            case TimeoutError():
                return f"There was no whole answer within {self._timeout_s:g} s."
            case aiohttp.ClientConnectorCertificateError():
                return f"The certificate of {self._url} is not trusted: {error.certificate_error}."
            case aiohttp.ClientConnectorError():
                reason = os.strerror(error.os_error.errno) if error.os_error.errno else str(error.os_error)
                return f"Nobody answers at {self._url}: {reason}."
            case aiohttp.ServerDisconnectedError():
                return "The connection was closed before an answer came."
            case aiohttp.ClientPayloadError():
                return "The connection was closed before the answer was whole."
            case aiohttp.ClientError() | OSError():
                return f"The answer cannot be read: {error}."
            case _:
                return None


@asynccontextmanager
async def connected(url: str, timeout_s: float, ca_file: Path | None = None) -> AsyncIterator[Server]:
    """The server at an address, for the block. Whatever proxies the environment names, it is asked directly."""
    trust = ssl.create_default_context(cafile=ca_file)
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(connector=connector, headers={"user-agent": "waypost-smoke"}) as session:
        yield Server(url, session, timeout_s)
