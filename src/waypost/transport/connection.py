"""One connection to a provider as an asyncio protocol: bytes in, the state of one exchange out.

It knows HTTP/1.1's framing of replies and nothing of pools or callers. Invariants: a body is `complete` only if its
framing says so, never because the bytes ran out; what came before an error can still be taken; and a connection rests
only if every byte of both directions is accounted for. One reader at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from waypost.errors import Phase, ProviderConnectionLost, ProviderTimeout
from waypost.transport.deadlines import Deadlines, Watch
from waypost.transport.failures import MAX_HEADER_BYTES, MAX_HEADERS, ConnectionEnded, ReplyRefused, translate
from waypost.transport.request import Request
from waypost.transport.upload import Upload

UNREAD_BYTES = 256 * 1024
"""More than this unread and the socket is not read any further, so that the sender has to wait."""
SMALL_BODY_BYTES = 64 * 1024
"""Up to this size a request's body is written together with its head."""


class Connection(asyncio.Protocol):
    """Made by a pool for one key; `on_lost` is called once, when the transport is gone."""

    __slots__ = (
        "_doubtful",
        "_head_wanted",
        "_keep_alive",
        "_lines",
        "_loop",
        "_method",
        "_on_lost",
        "_parser",
        "_paused",
        "_pieces",
        "_place",
        "_resting",
        "_transport",
        "_unparsed_bytes",
        "_unread_bytes",
        "_until_close",
        "_upload",
        "_waiter",
        "complete",
        "error",
        "head_done",
        "headers",
        "key",
        "lost",
        "on_body",
        "status",
        "watch",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, key: str, on_lost: Callable[[Connection], None]) -> None:
        self.key = key
        self.lost = False
        self.watch = Watch(loop, self._expired)
        self._loop = loop
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._upload: Upload | None = None
        self._pieces: list[bytes] = []
        # The parser calls what it finds under this name: an append costs a stream of many chunks least.
        self.on_body = self._pieces.append
        self._resting = True
        self._paused = False
        self._reset("", "")
        self._parser = HttpResponseParser(self)

    def _reset(self, method: str, place: str) -> None:
        self._method = method
        self._place = place
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.head_done = False
        self.complete = False
        self.error: BaseException | None = None
        self._head_wanted = True
        self._keep_alive = False
        self._until_close = False
        self._doubtful = False
        self._lines = 0
        self._unparsed_bytes = 0
        self._unread_bytes = 0

    # What an exchange does with it

    @property
    def alive(self) -> bool:
        """Can be written to, as far as is known."""
        return not self.lost and self._transport is not None and not self._transport.is_closing()

    @property
    def drained(self) -> bool:
        """The whole body has come and was taken."""
        return self.complete and not self._pieces

    def begin(self, request: Request, deadlines: Deadlines, place: str, total_at: float) -> None:
        """Send a request, of which a large body follows beside; its reply is the next thing to wait for."""
        self._reset(request.method, place)
        self._resting = False
        self.watch.begin(deadlines, place, total_at)
        transport = self._transport
        assert transport is not None
        if not self.alive:
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

    def head_taken(self) -> None:
        """From now on it is the body that is waited for."""
        self._head_wanted = False
        if not self._pieces:
            self._unread_bytes = 0

    def take(self) -> bytes:
        """All of the body that has come and was not taken yet."""
        pieces = self._pieces
        if not pieces:
            return b""
        taken = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._unread_bytes = 0
        if self._paused:
            self._paused = False
            if self.alive and self._transport is not None:
                self._transport.resume_reading()
        return taken

    def rest(self) -> bool:
        """End the exchange; True: the connection may serve another one. The caller aborts it otherwise."""
        if not (self.drained and self._keep_alive and not self._doubtful and self.alive and self._all_sent()):
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
        if not self.complete and self.error is None:
            self._fail(ConnectionEnded())
        self.abort()

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's protocol."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Asyncio's protocol."""
        if self._resting:
            # Nothing was asked for. Usually it says that the connection timed out.
            self.abort()
            return
        if self.complete or self.error is not None:
            self._doubtful = True
            return
        self._unread_bytes += len(data)
        try:
            self._parser.feed_data(data)
            if not self.head_done:
                self._check_head(len(data))
        except (HttpParserError, HttpParserUpgrade, ReplyRefused) as error:
            if self.complete:
                self._doubtful = True
            else:
                self._fail(error)
        if self._unread_bytes > UNREAD_BYTES and self.head_done and not self.complete:
            self._pause()
        if self._waiter is not None and (self._pieces or self.complete or (self._head_wanted and self.head_done)):
            self._wake()

    def eof_received(self) -> None:
        """Asyncio's protocol. The transport closes itself afterwards."""
        if self._until_close and self.head_done and self.error is None:
            self.complete = True
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

    # What the parser tells

    def on_message_begin(self) -> None:
        """A reply begins: ours, or one after a 1xx. Another one would not be an answer to anything."""
        if self.complete:
            raise ReplyRefused

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which counts and is dropped."""
        self._lines += 1
        size_bytes = len(name) + len(value)
        self._unparsed_bytes -= size_bytes
        if self._lines > MAX_HEADERS or size_bytes > MAX_HEADER_BYTES:
            raise ReplyRefused
        if not self.head_done:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        status = self._parser.get_status_code()
        if status < 200:
            # Informational: the reply is yet to come. Counted, so that there cannot be too many of them.
            self._lines += 1
            self.headers.clear()
            return
        self.status = status
        self.head_done = True
        if self._method == "HEAD":
            # Its headers are those of a body that does not come.
            self.complete = self._doubtful = True
        elif status not in (204, 304):
            self._until_close = _ends_with_connection(self.headers)

    def on_message_complete(self) -> None:
        """The body's framing says that this was all."""
        if self.head_done:
            self.complete = True
            # Only here: the parser forgets it at once.
            self._keep_alive = self._parser.should_keep_alive()

    # How it goes on

    def _all_sent(self) -> bool:
        """The whole request has left: a server may answer before it has read it."""
        if self._transport is None or self._transport.get_write_buffer_size():
            return False
        return self._upload is None or self._upload.finished

    def _check_head(self, fed_bytes: int) -> None:
        """A line without end is refused before it is whole."""
        self._unparsed_bytes += fed_bytes
        if self._unparsed_bytes > MAX_HEADER_BYTES + MAX_HEADERS * 8:
            raise ReplyRefused

    def _pause(self) -> None:
        if not self._pieces:
            # So much, and nothing of it is body: a trailer or a chunk's extension without end.
            self._fail(ReplyRefused())
        elif not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _end(self, cause: BaseException) -> None:
        if not self.complete and self.error is None and not self._resting:
            self._fail(cause)

    def _fail(self, cause: BaseException) -> None:
        """The exchange is over, for a reason of the network or of HTTP."""
        self.error = translate(cause, "body" if self.head_done else "reply", self._place)
        self.watch.relax()
        self._wake()

    def _expired(self, error: ProviderTimeout | None) -> None:
        if error is not None and error.phase != "total" and (self._waiter is None or self._waiter.done()):
            # Whoever waited was cancelled, and may come again.
            self.watch.resume()
            return
        if error is not None and not self.complete and self.error is None:
            self.error = error
            self._wake()
        self.abort()

    def _upload_failed(self, error: BaseException) -> None:
        if self.complete or self.error is not None:
            return
        # The caller's own error: it comes from the iterator that gives the body.
        self.error = error if not isinstance(error, asyncio.CancelledError) else _interrupted(self._place)
        self._wake()
        self.abort()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            self.watch.relax()
            waiter.set_result(None)


def _ends_with_connection(headers: list[tuple[bytes, bytes]]) -> bool:
    """Neither a length nor chunks: the body goes on until the connection is closed. Source: RFC 9112, 6.3."""
    for name, value in headers:
        name = name.lower()
        if name == b"content-length" or (name == b"transfer-encoding" and value.lower().endswith(b"chunked")):
            return False
    return True


def _interrupted(place: str) -> ProviderConnectionLost:
    return ProviderConnectionLost(f"The request's body for {place} was not given to its end.")
