"""One connection to a provider as an asyncio protocol: it carries one exchange after another.

It knows nothing of pools or callers. Invariants: what came before an error can still be taken; a connection rests only
if every byte of both directions is accounted for; and its end, however it comes, wakes whoever waits. One reader at a
time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade

from waypost.errors import Phase, ProviderConnectionLost, ProviderTimeout
from waypost.transport.deadlines import Deadlines, Watch
from waypost.transport.failures import ConnectionEnded, ReplyRefused, translate
from waypost.transport.gathered import GatheredWrites
from waypost.transport.incoming import UNREAD_BYTES, Incoming
from waypost.transport.request import Request
from waypost.transport.upload import Upload

SMALL_BODY_BYTES = 64 * 1024
"""Up to this size a request's body is written together with its head."""


class Connection(asyncio.Protocol):
    """Made by a pool for one key; `on_lost` is called once, when the transport is gone."""

    __slots__ = (
        "_head_wanted",
        "_loop",
        "_on_lost",
        "_paused",
        "_place",
        "_resting",
        "_transport",
        "_upload",
        "_waiter",
        "error",
        "incoming",
        "key",
        "lost",
        "taker",
        "watch",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, key: str, on_lost: Callable[[Connection], None]) -> None:
        self.key = key
        self.lost = False
        self.taker: Callable[[bytes], bytes] | None = None
        """Offered what of a body comes while somebody waits for it; gives what is left for him, and does not raise.

        If nothing is left he is not woken.
        """
        self.error: BaseException | None = None
        self.incoming = Incoming()
        self.watch = Watch(loop, self._expired)
        self._loop = loop
        self._on_lost = on_lost
        self._place = ""
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._upload: Upload | None = None
        self._head_wanted = True
        self._resting = True
        self._paused = False

    # What an exchange does with it

    @property
    def alive(self) -> bool:
        """Can be written to, as far as is known."""
        return not self.lost and self._transport is not None and not self._transport.is_closing()

    @property
    def drained(self) -> bool:
        """The whole body has come and was taken."""
        return self.incoming.complete and not self.incoming.pieces

    def begin(self, request: Request, deadlines: Deadlines, place: str, total_at: float) -> None:
        """Send a request, of which a large body follows beside; its reply is the next thing to wait for."""
        self.incoming.reset(request.method)
        self.error = None
        self.taker = None
        self._place = place
        self._head_wanted = True
        self._resting = False
        self.watch.begin(deadlines, place, total_at)
        transport = self._transport
        if transport is None or not self.alive:
            self._fail(ConnectionEnded())
            return
        body = request.body
        if body is None:
            transport.write(request.head)
        elif isinstance(body, bytes) and len(body) <= SMALL_BODY_BYTES:
            transport.write(request.head + body)
        else:
            transport.write(request.head)
            self._upload = Upload(transport, body, request.length_bytes, self._upload_failed)

    def wait(self, phase: Phase, limit_s: float | None) -> asyncio.Future[None]:
        """Done when something has changed: the head, a piece of the body, its end, an error."""
        self.watch.wait(phase, limit_s)
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def raise_error(self) -> None:
        """Raise what has ended the exchange, if anything has."""
        if self.error is not None:
            raise self.error from None

    def head_taken(self) -> None:
        """From now on it is the body that is waited for."""
        self._head_wanted = False
        self.incoming.head_taken()

    def take(self) -> bytes:
        """All of the body that has come and was not taken yet."""
        taken = self.incoming.take()
        if self._paused and taken:
            self._paused = False
            if self._transport is not None and self.alive:
                self._transport.resume_reading()
        return taken

    def rest(self) -> bool:
        """End the exchange; True: the connection may serve another one. The caller aborts it otherwise."""
        incoming = self.incoming
        if not (self.drained and incoming.keep_alive and not incoming.doubtful and self.alive and self._all_sent()):
            return False
        self._upload = None
        self._resting = True
        self.watch.rest()
        return True

    def abort(self) -> None:
        """End it at once: nothing is flushed, and no farewell of TLS is waited for."""
        if self._upload is not None:
            self._upload.cancel()
            self._upload = None
        if self._transport is not None and not self.lost:
            self._transport.abort()

    def break_off(self) -> None:
        """End it at once, and let whoever reads from it see a lost connection."""
        self._end(ConnectionEnded())
        self.abort()

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's protocol."""
        self._transport = GatheredWrites(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        """Asyncio's protocol."""
        if self._resting:
            # Nothing was asked for. Usually it says that the connection timed out.
            self.abort()
            return
        if self.error is not None:
            return
        incoming = self.incoming
        try:
            incoming.feed(data)
        except (HttpParserError, HttpParserUpgrade, ReplyRefused) as error:
            incoming.doubtful = True
            if not incoming.complete:
                self._fail(error)
        if incoming.unread_bytes > UNREAD_BYTES:
            self._pause()
        if self._waiter is None or not (
            incoming.pieces or incoming.complete or (self._head_wanted and incoming.head_done)
        ):
            return
        if self.taker is None or not self._taken_by(self.taker):
            self._wake()

    def eof_received(self) -> None:
        """Asyncio's protocol. The transport closes itself afterwards."""
        if self.error is None and self.incoming.end():
            self._wake()
        else:
            self._end(ConnectionEnded())

    def connection_lost(self, error: Exception | None) -> None:
        """Asyncio's protocol."""
        self.lost = True
        self.watch.stop()
        self._end(error if isinstance(error, OSError) else ConnectionEnded())
        if self._upload is not None:
            self._upload.cancel()
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Asyncio's protocol."""
        if self._upload is not None:
            self._upload.pause()

    def resume_writing(self) -> None:
        """Asyncio's protocol."""
        if self._upload is not None:
            self._upload.resume()

    # How it goes on

    def _all_sent(self) -> bool:
        """The whole request has left: a server may answer before it has read it."""
        if self._transport is None or self._transport.get_write_buffer_size():
            return False
        return self._upload is None or self._upload.finished

    def _pause(self) -> None:
        wanted = self.incoming.pieces and not self.incoming.complete
        if wanted and not self._paused and self._transport is not None and self.alive:
            self._paused = True
            self._transport.pause_reading()

    def _taken_by(self, taker: Callable[[bytes], bytes]) -> bool:
        """Did the taker leave nothing, so that whoever waits need not be woken?"""
        if not self.incoming.pieces or self.incoming.complete or self._waiter is None or self._waiter.done():
            return False
        rest = taker(self.take())
        if rest:
            self.incoming.give_back(rest)
            return False
        self.watch.wait_on()
        return True

    def _end(self, cause: BaseException) -> None:
        if not self.incoming.complete and self.error is None and not self._resting:
            self._fail(cause)

    def _fail(self, cause: BaseException) -> None:
        """The exchange is over, for a reason of the network or of HTTP."""
        self.error = translate(cause, "body" if self.incoming.head_done else "reply", self._place)
        self._wake()

    def _expired(self, error: ProviderTimeout | None) -> None:
        if error is not None and error.phase != "total" and (self._waiter is None or self._waiter.done()):
            # Whoever waited was cancelled, and may come again.
            self.watch.resume()
            return
        if error is not None and not self.incoming.complete and self.error is None:
            self.error = error
            self._wake()
        self.abort()

    def _upload_failed(self, error: BaseException) -> None:
        if self.incoming.complete or self.error is not None:
            return
        # The caller's own error: it comes from the iterator that gives the body.
        self.error = error if not isinstance(error, asyncio.CancelledError) else _interrupted(self._place)
        self._wake()
        self.abort()

    def _wake(self) -> None:
        self.watch.relax()
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _interrupted(place: str) -> ProviderConnectionLost:
    return ProviderConnectionLost(f"The request's body for {place} was not given to its end.")
