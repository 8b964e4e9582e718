"""One provider's HTTP client over aiohttp: one pool of connections, no cookies, no redirects, no decompression.

It sends once: retries belong to the gateway (aiohttp itself repeats no POST, but it does repeat a GET whose pooled
connection was closed meanwhile). Leaving the block of `send` closes the connection for good, unless the body was
read to its end, in which case the connection goes back to the pool.
"""

from __future__ import annotations

import asyncio
import io
import ssl
import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from waypost.errors import MalformedResponse, ProviderUnreachable
from waypost.transport.deadlines import Deadlines, ExchangeClock
from waypost.transport.failures import caught, place_of, translate
from waypost.transport.pool import Pool, Pools, drop_ended_loops, new_session, trusting
from waypost.transport.reply import Reply

if TYPE_CHECKING:
    import aiohttp

DEFAULT_MAX_REPLY_BYTES = 64 * 1024 * 1024
_WHOLE_BODY_BYTES = 64 * 1024
"""A larger request body is written piece by piece, so that a cancelled upload leaves little to be flushed."""
_DEFAULT_DEADLINES = Deadlines()


class HttpClient:
    """Sends requests to one provider. May be used from several event loops; each has a pool of its own.

    `max_reply_bytes` bounds `Reply.read`. `proxy` is the URL of an HTTP proxy, with credentials if it wants them;
    without it none is used, whatever the environment says. `ca_file` is a PEM file of authorities to trust besides
    the system's. Raises ConfigurationError if `ca_file` cannot be used.
    """

    def __init__(
        self,
        *,
        max_reply_bytes: int = DEFAULT_MAX_REPLY_BYTES,
        proxy: str | None = None,
        ca_file: Path | None = None,
    ) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._proxy = proxy
        self._tls: ssl.SSLContext | bool = True if ca_file is None else trusting(ca_file)
        self._pools: Pools = {}
        self._closed = False
        # Also when nobody called `close`: asyncio.run(…) with a client inside must not end in aiohttp's complaints.
        weakref.finalize(self, drop_ended_loops, self._pools)

    @asynccontextmanager
    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        deadlines: Deadlines = _DEFAULT_DEADLINES,
    ) -> AsyncIterator[Reply]:
        """Send one request and give its reply, whatever its status, as soon as the headers have come.

        A pooled connection that the server closed before it read the request raises ProviderConnectionLost, which
        is retryable: for POST nobody but the caller may decide to send again.
        Raises ProviderUnreachable, ProviderConnectionLost, ProviderTimeout, MalformedResponse.
        """
        place = place_of(url)
        clock = ExchangeClock(deadlines, place)
        pool = self._pool(place)
        data = io.BytesIO(body) if body is not None and len(body) > _WHOLE_BODY_BYTES else body
        try:
            async with clock.limit("connect") as limit:
                response = await pool.session.request(
                    method, url, headers=headers, data=data, allow_redirects=False, trace_request_ctx=limit
                )
        except caught() as error:
            raise translate(error, place) from None
        pool.responses.add(response)
        try:
            _refuse_compressed(response, place)
            yield Reply(response, clock=clock, place=place, max_bytes=self._max_reply_bytes)
        finally:
            pool.end(response)

    async def close(self) -> None:
        """End all connections of this loop; exchanges in flight break. Nothing can be sent afterwards."""
        self._closed = True
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        drop_ended_loops(self._pools)
        if pool is not None:
            await pool.close()

    def _pool(self, place: str) -> Pool:
        if self._closed:
            raise ProviderUnreachable(f"The client of {place} was closed.", hint="Ask a provider that is still open.")
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            drop_ended_loops(self._pools)
            pool = self._pools[loop] = Pool(new_session(self._tls, self._proxy))
        return pool


def _refuse_compressed(response: aiohttp.ClientResponse, place: str) -> None:
    # An error's body is passed on as it is: its status says enough.
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if response.status < 400 and encoding not in ("", "identity"):
        raise MalformedResponse(f"The reply of {place} is compressed ({encoding[:40]!r}), which was not asked for.")
