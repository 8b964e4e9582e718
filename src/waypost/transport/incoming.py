"""The reply of one exchange as it comes in: bytes in, head and pieces of the body out. No I/O.

Invariants: a body is `complete` only if its framing says so, never because the bytes ran out; and whatever comes
beyond that is `doubtful`, and never taken for a part of this reply or of the next one.
"""

from __future__ import annotations

from httptools import HttpResponseParser

from waypost.transport.failures import MAX_HEADER_BYTES, MAX_HEADERS, ReplyRefused

UNREAD_BYTES = 256 * 1024
"""With more than this unread the sender has to wait."""
_HEAD_BYTES = MAX_HEADER_BYTES + MAX_HEADERS * 8
"""Of a head that is not parsed yet: a line, and what surrounds the names and values of the others."""


class Incoming:
    """Parses one reply after another; `reset` begins the next. `headers` are names and values as they came."""

    __slots__ = (
        "_lines",
        "_method",
        "_parser",
        "_unparsed_bytes",
        "_until_close",
        "complete",
        "doubtful",
        "head_done",
        "headers",
        "keep_alive",
        "on_body",
        "pieces",
        "status",
        "unread_bytes",
    )

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        # The parser calls what it finds under this name: an append costs a stream of many chunks least.
        self.on_body = self.pieces.append
        self.reset("")
        self._parser = HttpResponseParser(self)

    def reset(self, method: str) -> None:
        """The next reply is one to a request of this method."""
        self._method = method
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.head_done = False
        self.complete = False
        self.keep_alive = False
        self.doubtful = False
        self._until_close = False
        self._lines = 0
        self._unparsed_bytes = 0
        self.unread_bytes = 0

    def feed(self, data: bytes) -> None:
        """Raises HttpParserError, HttpParserUpgrade or ReplyRefused if it is no reply to take."""
        if self.complete:
            self.doubtful = True
            return
        self.unread_bytes += len(data)
        self._parser.feed_data(data)
        if not self.head_done:
            # A line without end is refused before it is whole.
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > _HEAD_BYTES:
                raise ReplyRefused
        elif self.unread_bytes > UNREAD_BYTES and not self.pieces and not self.complete:
            # So much, and nothing of it is body: a trailer or a chunk's extension without end.
            raise ReplyRefused

    def end(self) -> bool:
        """The sender says that nothing more comes. Is that the end of the body?"""
        if self.head_done and self._until_close:
            self.complete = True
        return self.complete

    def head_taken(self) -> None:
        """Only the body is unread from now on."""
        if not self.pieces:
            self.unread_bytes = 0

    def take(self) -> bytes:
        """All of the body that has come and was not taken yet."""
        pieces = self.pieces
        if not pieces:
            return b""
        taken = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.unread_bytes = 0
        return taken

    def give_back(self, rest: bytes) -> None:
        """What was taken was too much: the next `take` begins with this."""
        self.pieces.append(rest)
        self.unread_bytes = len(rest)

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
        if not 100 <= status <= 599:
            # Source: RFC 9110, 15: any other is invalid.
            raise ReplyRefused
        if status < 200:
            # Informational: the reply is yet to come. Counted like a header, so that it has to come some time.
            self._lines += 1
            self.headers.clear()
            if self._lines > MAX_HEADERS:
                raise ReplyRefused
            return
        self.status = status
        self.head_done = True
        if self._method == "HEAD":
            # Its headers are those of a body that does not come.
            self.complete = self.doubtful = True
        elif status not in (204, 304):
            self._until_close = _ends_with_connection(self.headers)

    def on_message_complete(self) -> None:
        """The body's framing says that this was all."""
        if self.head_done:
            self.complete = True
            # Only here: the parser forgets it at once.
            self.keep_alive = self._parser.should_keep_alive()


def _ends_with_connection(headers: list[tuple[bytes, bytes]]) -> bool:
    """Neither a length nor chunks: the body goes on until the connection is closed. Source: RFC 9112, 6.3."""
    for name, value in headers:
        name = name.lower()
        if name == b"content-length" or (name == b"transfer-encoding" and value.lower().endswith(b"chunked")):
            return False
    return True
