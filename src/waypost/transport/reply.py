"""A reply whose headers have come: its body whole and bounded, or chunk by chunk.

It lives inside the block of `HttpClient.send` that gave it. A body that is cut is an error, never a short body; the
bytes that came before the cut are given first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from waypost.errors import MalformedResponse
from waypost.transport.deadlines import ExchangeClock
from waypost.transport.failures import caught, translate

if TYPE_CHECKING:
    from aiohttp import ClientResponse


class Reply:
    """What came back. `status` is the HTTP status, `headers` has lower-case names; repeated ones are joined by ", "."""

    __slots__ = ("_clock", "_max_bytes", "_place", "_response", "headers", "status")

    def __init__(self, response: ClientResponse, *, clock: ExchangeClock, place: str, max_bytes: int) -> None:
        self._response = response
        self._clock = clock
        self._place = place
        self._max_bytes = max_bytes
        self.status: int = response.status
        self.headers: Mapping[str, str] = _joined(response)

    async def read(self, limit_bytes: int | None = None) -> bytes:
        """The whole body, of at most `limit_bytes` (default: the client's `max_reply_bytes`).

        Raises MalformedResponse naming the limit, ProviderConnectionLost if the body is cut, ProviderTimeout.
        """
        limit_bytes = self._max_bytes if limit_bytes is None else limit_bytes
        declared = self.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit_bytes:
            raise self._too_large(limit_bytes)
        pieces: list[bytes] = []
        size_bytes = 0
        async for piece in self.chunks():
            size_bytes += len(piece)
            if size_bytes > limit_bytes:
                raise self._too_large(limit_bytes)
            pieces.append(piece)
        return b"".join(pieces)

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they come, in pieces that follow the network's mood, not the sender's.

        Raises ProviderConnectionLost if the body is cut, ProviderTimeout (phase "idle" or "total").
        """
        return _Chunks(self)

    async def next_chunk(self) -> bytes:
        """The next bytes of the body; empty at its end. `chunks` is the same as an iterator."""
        if self._response.content.at_eof():
            return b""
        self._clock.check_total()
        try:
            async with self._clock.limit("idle"):
                return await self._response.content.readany()
        except caught() as error:
            if rest := self._arrived():
                return rest
            raise translate(error, self._place) from None

    def _arrived(self) -> bytes:
        # aiohttp raises a broken connection's error ahead of the bytes that had come before it; its public methods
        # all do. Those bytes are the end of what the provider said, which recovery and billing need.
        return self._response.content._read_nowait(-1)  # noqa: SLF001

    def _too_large(self, limit_bytes: int) -> MalformedResponse:
        return MalformedResponse(f"The reply of {self._place} is over the limit of {limit_bytes} bytes.")


class _Chunks:
    """An iterator rather than a generator: one left half-read has nothing to finalize."""

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._reply.next_chunk()
        if not chunk:
            raise StopAsyncIteration
        return chunk


def _joined(response: ClientResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.headers.items():
        name = name.lower()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
