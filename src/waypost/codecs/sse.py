"""Server-sent events, both ways. Source: WHATWG HTML, 9.2.6 "Interpreting an event stream".

The decoder takes bytes split anywhere, inside a UTF-8 character or between CR and LF too, and gives whole events.
It is strict about two things that the standard leaves to the reader: bytes that are not UTF-8, and an event
over `max_event_bytes`, both of which would lose or garble text silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from waypost.errors import MalformedResponse

DEFAULT_MAX_EVENT_BYTES = 16 * 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event: its type (empty: none was named), data, and the last id seen so far in the stream."""

    data: bytes
    event: str = ""
    id: str = ""


class SseDecoder:
    """Bytes in, events out. An event the bytes end inside of is discarded, as the standard says.

    Where the bytes are split makes no difference. So if an error follows whole events in one chunk, those are
    given first, and the next call raises; after an error every call raises it again.
    """

    __slots__ = (
        "_after_cr",
        "_at_start",
        "_data",
        "_error",
        "_event",
        "_id",
        "_line",
        "_max_event_bytes",
        "_size",
        "retry_ms",
    )

    def __init__(self, *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES) -> None:
        # Grows in place: joining what is held with each new chunk would take time squared in the line's length.
        self._line = bytearray()
        self._data: list[bytes] = []
        self._event = b""
        self._id = b""
        self._size = 0
        self._at_start = True
        self._after_cr = False
        self._max_event_bytes = max_event_bytes
        self._error: MalformedResponse | None = None
        self.retry_ms: int | None = None
        """The reconnection time the server asked for last."""

    @property
    def pending(self) -> bool:
        """Has part of an event been read that no blank line has ended yet, or an error that was not raised yet?"""
        return bool(self._line or self._data or self._event or self._error)

    def feed(self, chunk: bytes) -> Sequence[SseEvent]:
        """Take bytes, give the events they complete. Raises MalformedResponse (see the module)."""
        if self._error is not None:
            raise self._error
        events: list[SseEvent] = []
        try:
            self._split(self._without_mark(chunk), events)
        except MalformedResponse as error:
            self._error = error
            if not events:
                raise
        return events

    def _without_mark(self, chunk: bytes) -> bytes:
        if not self._at_start:
            return chunk
        chunk = bytes(self._line) + chunk
        self._line.clear()
        if len(chunk) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(chunk):
            self._line += chunk
            return b""
        self._at_start = False
        return chunk.removeprefix(_BYTE_ORDER_MARK)

    def _split(self, chunk: bytes, events: list[SseEvent]) -> None:
        if self._after_cr and chunk:
            # "\r\n" is one line end, also when the chunk border is between the two.
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            if self._line:
                line = bytes(self._line) + line
                self._line.clear()
            if line:
                self._field(line)
            elif (event := self._dispatch()) is not None:
                events.append(event)
        self._line += rest
        self._check_size(len(self._line))

    def _field(self, line: bytes) -> None:
        self._check_size(len(line))
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(line) + 1
            self._data.append(value)
        elif name == b"event":
            self._event = value
        elif name == b"id" and b"\0" not in value:
            self._id = value
        elif name == b"retry" and value.isdigit():
            self.retry_ms = int(value[:12])
        # A line that starts with a colon is a comment; any other field name is ignored.

    def _dispatch(self) -> SseEvent | None:
        data, event = self._data, self._event
        self._data, self._event, self._size = [], b"", 0
        if not data:
            return None
        joined = b"\n".join(data)
        try:
            joined.decode()
            return SseEvent(joined, event.decode(), self._id.decode())
        except UnicodeDecodeError as error:
            raise MalformedResponse(f"An event of the stream is not UTF-8 (byte {error.start}).") from error

    def _check_size(self, line_bytes: int) -> None:
        if self._size + line_bytes > self._max_event_bytes:
            raise MalformedResponse(f"An event of the stream is over the limit of {self._max_event_bytes} bytes.")


def encode_event(data: bytes, *, event: str = "", id: str = "") -> bytes:  # noqa: A002 - the standard's own word
    """One event as bytes. Line breaks inside `data` become several data lines, and are read back as LF each.

    Raises ValueError if `event` or `id` holds a line break, or `id` a NUL, which readers ignore.
    """
    if _breaks_line(event) or _breaks_line(id) or "\0" in id:
        raise ValueError("an event's type and id are one line each, and an id holds no NUL")
    head = (f"id: {id}\n" if id else "") + (f"event: {event}\n" if event else "")
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
    return head.encode() + b"data: " + data + b"\n\n"


def encode_comment(text: str = "") -> bytes:
    """A comment of one line: keeps a connection alive and is seen by no reader. Raises ValueError on a line break."""
    if _breaks_line(text):
        raise ValueError("a comment is one line")
    return f": {text}\n\n".encode()


def _breaks_line(text: str) -> bool:
    return "\n" in text or "\r" in text
