"""Server-sent events, both ways. Source: WHATWG HTML, 9.2.6 "Interpreting an event stream".

The decoder takes bytes split anywhere, inside a UTF-8 character or between CR and LF too, and gives whole events.
It is strict about two things that the standard leaves to the reader: bytes that are not UTF-8, and an event
over `max_event_bytes`, both of which would lose or garble text silently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from waypost.errors import MalformedResponse

DEFAULT_MAX_EVENT_BYTES = 16 * 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class SseEvent(msgspec.Struct, frozen=True, gc=False):
    """One event: its type (empty: none was named), data, and the last id seen so far in the stream.

    A struct, since a busy stream makes one for each token: a frozen dataclass takes four times as long to make.
    """

    data: bytes
    event: str = ""
    id: str = ""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event as its bytes, with the blank line that ends it, and as read; None: it says nothing (a comment)."""

    raw: bytes
    event: SseEvent | None


class SseDecoder:
    """Bytes in, events out. An event the bytes end inside of is discarded, as the standard says.

    Where the bytes are split makes no difference. So if an error follows whole events in one chunk, those are
    given first, and the next call raises; after an error every call raises it again. Line ends are written as LF.
    """

    __slots__ = ("_after_cr", "_at_start", "_held", "_id", "_max_event_bytes", "error", "retry_ms")

    def __init__(self, *, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES) -> None:
        # Grows in place: joining what is held with each new chunk would take time squared in the event's length.
        self._held = bytearray()
        self._id = ""
        self._at_start = True
        self._after_cr = False
        self._max_event_bytes = max_event_bytes
        self.error: MalformedResponse | None = None
        """What the next call will raise."""
        self.retry_ms: int | None = None
        """The reconnection time the server asked for last."""

    @property
    def pending(self) -> bool:
        """Has part of an event been read that no blank line has ended yet, or an error that was not raised yet?"""
        return bool(self._held.strip(b"\n") or self.error)

    @property
    def between_events(self) -> bool:
        """Would the next byte begin an event?"""
        return not (self._held or self._at_start or self._after_cr or self.error)

    def feed(self, chunk: bytes) -> Sequence[SseEvent]:
        """Take bytes, give the events they complete. Raises MalformedResponse (see the module)."""
        return [frame.event for frame in self.frames(chunk) if frame.event is not None]

    def frames(self, chunk: bytes) -> Sequence[Frame]:
        """As `feed`, each event with its bytes, and comments too."""
        if self.error is not None:
            raise self.error
        frames: list[Frame] = []
        try:
            # Not a comprehension: what was read before an error counts.
            for block in filter(None, self._blocks(self._plain(chunk))):
                frames.append(self._frame(block))  # noqa: PERF401
        except MalformedResponse as error:
            self.error = error
            self._held.clear()  # up to `max_event_bytes`, which nobody will read any more
            if not any(frame.event is not None for frame in frames):
                raise
        return frames

    def _plain(self, chunk: bytes) -> bytes:
        """The chunk without a byte order mark, and with LF as its only line end."""
        if self._at_start:
            chunk = self._without_mark(chunk)
        if self._after_cr and chunk:
            # "\r\n" is one line end, also when the chunk border is between the two.
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk

    def _without_mark(self, chunk: bytes) -> bytes:
        chunk = bytes(self._held) + chunk
        self._held.clear()
        if len(chunk) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(chunk):
            self._held += chunk
            return b""
        self._at_start = False
        return chunk.removeprefix(_BYTE_ORDER_MARK)

    def _blocks(self, chunk: bytes) -> Iterator[bytes]:
        """What lies between blank lines; the rest is held."""
        held = self._held
        if held:
            searched = len(held) - 1
            held += chunk
            if held.find(b"\n\n", searched) < 0:
                self._check_held()
                return
            chunk = bytes(held)
            held.clear()
        *blocks, rest = chunk.split(b"\n\n")
        yield from blocks
        held += rest
        self._check_held()

    def _frame(self, block: bytes) -> Frame:
        self._check_size(len(block))
        if block.startswith(b"data: ") and b"\n" not in block:
            return Frame(block + b"\n\n", SseEvent(_utf8(block[6:]), "", self._id))
        return Frame(block + b"\n\n", self._read(block))

    def _read(self, block: bytes) -> SseEvent | None:
        data: list[bytes] = []
        kind = b""
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                kind = value
            elif name == b"id" and b"\0" not in value:
                self._id = _utf8(value).decode()
            elif name == b"retry" and value.isdigit():
                self.retry_ms = int(value[:12])
            # A line that starts with a colon is a comment; any other field name is ignored.
        return SseEvent(_utf8(b"\n".join(data)), _utf8(kind).decode(), self._id) if data else None

    def _check_held(self) -> None:
        # The line end that may be the first half of a blank line is none of the event's own bytes.
        self._check_size(len(self._held) - self._held.endswith(b"\n"))

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_event_bytes:
            raise MalformedResponse(f"An event of the stream is over the limit of {self._max_event_bytes} bytes.")


def _utf8(text: bytes) -> bytes:
    """The same. Raises MalformedResponse if it is not UTF-8."""
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise MalformedResponse(f"An event of the stream is not UTF-8 (byte {error.start}).") from error
    return text


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
