"""A request's body that is too large for one write, or comes piece by piece: sent beside the reading of the reply.

A server may answer before it has read all of a request. The pieces wait for the socket, so that little is left to be
flushed when the exchange is cut off. Invariant: a body of declared length is sent with exactly that length, or fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from waypost.transport.request import Body

_PIECE_BYTES = 64 * 1024


class LengthMismatch(ValueError):
    """The pieces of a request's body are not as long together as its content-length says."""

    def __init__(self, declared_bytes: int) -> None:
        super().__init__(f"The request's body is not {declared_bytes} bytes long, as its content-length says.")


class Upload:
    """A task that writes one body. `failed` is called if the body could not be had; never after `cancel`."""

    __slots__ = ("_drained", "_failed", "_length_bytes", "_loop", "_task", "_transport", "finished")

    def __init__(
        self,
        transport: asyncio.Transport,
        body: Body,
        length_bytes: int | None,
        failed: Callable[[BaseException], None],
    ) -> None:
        self.finished = False
        self._transport = transport
        self._length_bytes = length_bytes
        self._failed: Callable[[BaseException], None] | None = failed
        self._loop = asyncio.get_running_loop()
        self._drained: asyncio.Future[None] | None = None
        self._task = self._loop.create_task(self._run(body))

    def pause(self) -> None:
        """The transport holds enough."""
        if self._drained is None:
            self._drained = self._loop.create_future()

    def resume(self) -> None:
        """The transport takes more."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def cancel(self) -> None:
        """Write nothing more."""
        self._failed = None
        self._task.cancel()

    async def _run(self, body: Body) -> None:
        try:
            if isinstance(body, bytes):
                await self._write_whole(body)
            else:
                await self._write_pieces(body)
            self.finished = True
        except asyncio.CancelledError as error:
            self._fail(error)
            raise
        except Exception as error:  # noqa: BLE001 - the caller's own, raised to whoever reads the reply
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failed is not None:
            self._failed(error)

    async def _write_whole(self, body: bytes) -> None:
        view = memoryview(body)
        for start in range(0, len(body), _PIECE_BYTES):
            await self._write(view[start : start + _PIECE_BYTES])

    async def _write_pieces(self, pieces: AsyncIterator[bytes]) -> None:
        left_bytes = self._length_bytes
        try:
            async for piece in pieces:
                if left_bytes is None:
                    if piece:
                        await self._write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    continue
                left_bytes -= len(piece)
                if left_bytes < 0:
                    raise LengthMismatch(self._length_bytes or 0)
                await self._write(piece)
        finally:
            close = getattr(pieces, "aclose", None)
            if close is not None:
                await close()
        if left_bytes is None:
            await self._write(b"0\r\n\r\n")
        elif left_bytes:
            raise LengthMismatch(self._length_bytes or 0)

    async def _write(self, data: bytes | memoryview) -> None:
        if self._transport.is_closing():
            # The connection tells its reader why, and ends this task.
            await self._loop.create_future()
        self._transport.write(data)
        if self._drained is not None:
            await self._drained
