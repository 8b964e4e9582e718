"""A reply whose headers have come: its body whole and bounded, or chunk by chunk.

A body that is cut is an error, never a short body; the bytes that came before the cut are given first. Whoever opened
a reply closes it; after that nothing of it can be read, because the connection may be another exchange's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

from waypost.errors import MalformedResponse, ProviderConnectionLost
from waypost.transport.connection import Connection


class Reply:
    """What came back. `status` is the HTTP status, `headers` has lower-case names; repeated ones are joined by ", ".

    `raw_headers` are the names and values as they came, in order.
    """

    __slots__ = ("_connection", "_idle_s", "_max_bytes", "_place", "_release", "headers", "raw_headers", "status")

    def __init__(
        self,
        connection: Connection,
        release: Callable[[Connection], None],
        *,
        place: str,
        idle_s: float | None,
        max_bytes: int,
    ) -> None:
        self._connection: Connection | None = connection
        self._release = release
        self._place = place
        self._idle_s = idle_s
        self._max_bytes = max_bytes
        self.status = connection.incoming.status
        self.raw_headers = connection.incoming.headers
        self.headers: Mapping[str, str] = _joined(self.raw_headers)

    @property
    def has_come(self) -> bool:
        """Was the whole body read, and is known to have been all of it?"""
        return self._connection is not None and self._connection.drained

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
        while piece := await self.next_chunk():
            size_bytes += len(piece)
            if size_bytes > limit_bytes:
                raise self._too_large(limit_bytes)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def chunks(self) -> AsyncIterator[bytes]:
        """The body's bytes as they come, in pieces that follow the network's mood, not the sender's.

        Raises ProviderConnectionLost if the body is cut, ProviderTimeout (phase "idle" or "total").
        """
        return _Chunks(self)

    async def next_chunk(self) -> bytes:
        """The next bytes of the body; empty at its end. `chunks` is the same as an iterator.

        Does not suspend if there are bytes already. Raises ProviderConnectionLost, ProviderTimeout, MalformedResponse.
        """
        connection = self._connection
        if connection is None:
            raise ProviderConnectionLost(f"The reply of {self._place} was closed before it was read.")
        incoming = connection.incoming
        # Who has to wait meets the timer.
        if incoming.pieces and (overdue := connection.watch.overdue()) is not None:
            connection.abort()
            raise overdue
        while not incoming.pieces:
            if incoming.complete:
                return b""
            connection.raise_error()
            await connection.wait("idle", self._idle_s)
        return connection.take()

    def offer_to(self, taker: Callable[[bytes], bytes]) -> None:
        """Offer it what comes while `next_chunk` waits, which returns what is left of it; see `Connection.taker`."""
        if self._connection is not None:
            self._connection.taker = taker

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else end it at once. May be called again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.taker = None
            self._release(connection)

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


def _joined(raw_headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw_headers:
        name = raw_name.decode("ascii", "replace").lower()
        value = raw_value.decode("utf-8", "surrogateescape")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
