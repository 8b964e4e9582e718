"""Event streams that a reader may come back to: the last events of each, kept in this process's memory.

The producer of a stream (who calls the provider) writes here, and every reader, the first one too, reads from here. So
a reader may leave and come back: the producer goes on for `grace_s` without one, and is told to stop after that. The
invariant: a reader gets each event after the one it names, in order and without a gap, or a typed error; a stream that
was stopped for want of readers never looks finished.

This knows bytes and numbers, not what an event says; nothing here reads or writes a socket.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice, takewhile
from types import TracebackType
from typing import Final, Literal, Protocol, TypeAlias

from waypost.errors import InvalidRequest, StreamExpired, UnknownStream
from waypost.gateway.bell import Bell

EndKind: TypeAlias = Literal["finished", "failed", "cancelled"]
"""finished: the provider said so. failed: the last event is an error. cancelled: stopped, and no event says why."""

LAST_EVENT_ID: Final = "Last-Event-ID"
BEFORE_FIRST: Final = -1
"""The number to read after in order to get all events: the first one has number 0."""

_EVENT_ID: Final = re.compile(r"([!-~]{1,200})\.([0-9]{1,12})")
_STREAM_BYTES: Final = 1_024
"""What a stream weighs without events, roughly."""
_EVENT_BYTES: Final = 64
"""What an event weighs besides its bytes, roughly."""


class Timer(Protocol):
    """What `call_later` gives back, as asyncio's does."""

    def cancel(self) -> None:
        """Do not call."""


CallLater: TypeAlias = Callable[[float, Callable[[], None]], Timer]


def event_id(stream_id: str, number: int) -> str:
    """The id of a stream's event: `<stream id>.<number>`."""
    return f"{stream_id}.{number}"


def number_after(stream_id: str, last_event_id: str | None) -> int:
    """The number of the event that a Last-Event-ID header names; BEFORE_FIRST if there is none, or it is empty.

    Raises InvalidRequest if it is no event id of this stream.
    """
    if not last_event_id:
        return BEFORE_FIRST
    found = _EVENT_ID.fullmatch(last_event_id)
    if found is None or found[1] != stream_id:
        raise _no_such_event()
    return int(found[2])


def _no_such_event() -> InvalidRequest:
    return InvalidRequest(
        "The header Last-Event-ID names no event of this stream.",
        hint="Send the id of the last event that was received, or leave the header out to get all events.",
        param=LAST_EVENT_ID,
    )


@dataclass(slots=True, eq=False)
class _Stream:
    """One stream's last events. `first` is the number of the oldest that is still here."""

    name: tuple[str, str]
    stop: Callable[[], None]
    events: deque[bytes] = field(default_factory=deque)
    first: int = 0
    size_bytes: int = _STREAM_BYTES
    written_bytes: int = 0
    end: EndKind | None = None
    readers: set[Reading] = field(default_factory=set)
    news: Bell = field(default_factory=Bell)
    """Rings for readers."""
    progress: Bell = field(default_factory=Bell)
    """Rings for the producer."""

    @property
    def next(self) -> int:
        return self.first + len(self.events)

    def events_from(self, number: int) -> list[bytes]:
        # From the end: a reader that keeps up wants the last one of thousands.
        latest = list(islice(reversed(self.events), self.next - number))
        latest.reverse()
        return latest

    def behind_bytes(self) -> int:
        """How far the foremost reader is behind. One that hangs must not hold up one that came back in its place."""
        return self.written_bytes - max(reader.taken_bytes for reader in self.readers)


class StreamWriter:
    """The producer's side. Use it in a `with` block: without an `end` before, leaving it is "cancelled"."""

    def __init__(self, buffers: ResumeBuffers, stream: _Stream) -> None:
        self._buffers = buffers
        self._stream = stream

    def __enter__(self) -> StreamWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end("cancelled")

    @property
    def next_id(self) -> str:
        """The id that the next event will have, to be written into it."""
        return event_id(self._stream.name[1], self._stream.next)

    def append(self, event: bytes) -> str:
        """Add one whole event, which is told to the readers; gives its id. What comes after the end is not heard."""
        written = self.next_id
        if self._stream.end is None:
            self._buffers.append(self._stream, event)
        return written

    async def ready(self) -> None:
        """Returns when more should be written: nobody reads now, or the foremost reader is not far behind.

        Without it a fast producer outruns a slow reader, who then loses events.
        """
        stream = self._stream
        while stream.end is None and stream.readers and stream.behind_bytes() > self._buffers.most_behind_bytes:
            await stream.progress.wait()

    def end(self, kind: EndKind) -> None:
        """No more comes. The events stay readable for the grace time. A second end says nothing."""
        self._buffers.end(self._stream, kind)


class Reading:
    """Events from one number on, as they are there, several in one piece where they are; ends with the stream.

    Use it in a `with` block: while it is open the stream counts as read.
    """

    def __init__(self, buffers: ResumeBuffers, stream: _Stream, number: int) -> None:
        self.taken_bytes = stream.written_bytes - sum(map(_weight, stream.events_from(number)))
        """Of all that was written to the stream, what this reader has, or need not have."""
        self._buffers = buffers
        self._stream = stream
        self._number = number

    def __enter__(self) -> Reading:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def end(self) -> EndKind | None:
        """How the stream ended; None while it goes on."""
        return self._stream.end

    @property
    def complete(self) -> bool:
        """Has the stream ended as streams do, and has this reader all of it?"""
        return self._stream.end in ("finished", "failed") and self._number == self._stream.next

    def close(self) -> None:
        """Read no further."""
        self._buffers.left(self._stream, self)

    def __aiter__(self) -> Reading:
        return self

    async def __anext__(self) -> bytes:
        """Raises StreamExpired if events that come next were dropped, or the stream was stopped without an end."""
        stream = self._stream
        while True:
            if self._number < stream.first:
                raise _dropped()
            if self._number < stream.next:
                return self._take()
            if stream.end == "cancelled":
                raise _stopped()
            if stream.end is not None:
                raise StopAsyncIteration
            await stream.news.wait()

    def _take(self) -> bytes:
        stream = self._stream
        taken = b"".join(stream.events_from(self._number))
        self._number, self.taken_bytes = stream.next, stream.written_bytes
        stream.progress.ring()
        return taken


class ResumeBuffers:
    """The streams that run, and those that ended less than `grace_s` ago. `clock` and `call_later` are in seconds.

    A stream over `per_stream_bytes` loses its oldest events. When all are over `max_bytes`, those that ended first go;
    if none is left, whoever writes loses its own oldest events but the last, and waits for its reader at each event.
    """

    def __init__(
        self,
        grace_s: float,
        max_bytes: int,
        per_stream_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater | None = None,
    ) -> None:
        self.size_bytes = 0
        """What all streams weigh, roughly."""
        self._grace_s = grace_s
        self._max_bytes = max_bytes
        self._per_stream_bytes = per_stream_bytes
        self._clock = clock
        self._call_later = call_later or _call_later
        self._timer: Timer | None = None
        self._named: dict[tuple[str, str], _Stream] = {}
        # Since when nobody reads, or it has ended: all wait for the same time, so the first in is the first out.
        self._quiet: OrderedDict[_Stream, float] = OrderedDict()
        self._ended: OrderedDict[_Stream, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._named)

    @property
    def most_behind_bytes(self) -> int:
        """How far a producer may be before the foremost reader: half of what is kept, and nothing in want of memory."""
        return self._per_stream_bytes // 2 if self.size_bytes < self._max_bytes // 4 * 3 else 0

    def open(self, stream_id: str, tenant: str, cancel: Callable[[], None]) -> StreamWriter:
        """Begin a stream that nobody reads yet. `cancel` is called, once, if nobody has read it for the grace time.

        An id that this tenant has already names the new stream from now on; who reads the old one reads on.
        """
        before = self._named.get((tenant, stream_id))
        if before is not None and before.end is not None:
            self._drop(before)
        stream = self._named[tenant, stream_id] = _Stream((tenant, stream_id), cancel)
        self.size_bytes += stream.size_bytes
        self._make_room(stream)
        self._wait_for_reader(stream)
        return StreamWriter(self, stream)

    def read(self, stream_id: str, tenant: str, after_number: int = BEFORE_FIRST) -> Reading:
        """The events after that number: those that were missed at once, then those to come.

        Raises UnknownStream, also for the stream of another tenant, StreamExpired if some of those events were dropped
        or the stream was stopped after them, and InvalidRequest if there is no event with that number.
        """
        stream = self._named.get((tenant, stream_id))
        if stream is None:
            raise _unknown()
        if not BEFORE_FIRST <= after_number < stream.next:
            raise _no_such_event()
        if after_number + 1 < stream.first:
            raise _dropped()
        if stream.end == "cancelled" and after_number + 1 == stream.next:
            raise _stopped()
        reading = Reading(self, stream, after_number + 1)
        stream.readers.add(reading)
        self._quiet.pop(stream, None)
        return reading

    def append(self, stream: _Stream, event: bytes) -> None:
        """For `StreamWriter`."""
        size_bytes = _weight(event)
        stream.events.append(event)
        stream.written_bytes += size_bytes
        stream.size_bytes += size_bytes
        self.size_bytes += size_bytes
        while stream.size_bytes > self._per_stream_bytes and len(stream.events) > 1:
            self._drop_oldest(stream)
        self._make_room(stream)
        stream.news.ring()

    def end(self, stream: _Stream, kind: EndKind) -> None:
        """For `StreamWriter`."""
        if stream.end is not None:
            return
        stream.end = kind
        self._quiet.pop(stream, None)
        self._ended[stream] = self._clock()
        stream.news.ring()
        stream.progress.ring()
        self._set_timer()

    def left(self, stream: _Stream, reading: Reading) -> None:
        """For `Reading`."""
        if reading in stream.readers:
            stream.readers.remove(reading)
            stream.progress.ring()
            if not stream.readers and stream.end is None:
                self._wait_for_reader(stream)

    def stop(self, stream_id: str, tenant: str) -> None:
        """Stop a stream now, whoever reads it; one that has ended stays as it is. Raises UnknownStream."""
        stream = self._named.get((tenant, stream_id))
        if stream is None:
            raise _unknown()
        if stream.end is None:
            self._stop(stream)

    def close(self) -> None:
        """Stop every stream that nobody reads, and wait for no more time to pass."""
        for stream in [*self._quiet]:
            self._stop(stream)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_for_reader(self, stream: _Stream) -> None:
        self._quiet[stream] = self._clock()
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is None and (since := [next(iter(few.values())) for few in (self._quiet, self._ended) if few]):
            self._timer = self._call_later(max(0.0, min(since) + self._grace_s - self._clock()), self._time_is_over)

    def _time_is_over(self) -> None:
        self._timer = None
        for stream in self._due(self._quiet):
            self._stop(stream)
        for stream in self._due(self._ended):
            if stream.readers:
                self._ended[stream] = self._clock()
                self._ended.move_to_end(stream)
            else:
                self._drop(stream)
        self._set_timer()

    def _due(self, waiting: OrderedDict[_Stream, float]) -> list[_Stream]:
        since_s = self._clock() - self._grace_s
        return [stream for stream, _ in takewhile(lambda each: each[1] <= since_s, waiting.items())]

    def _stop(self, stream: _Stream) -> None:
        self.end(stream, "cancelled")
        stream.stop()

    def _make_room(self, stream: _Stream) -> None:
        while self.size_bytes > self._max_bytes and self._ended:
            self._drop(next(iter(self._ended)))
        while self.size_bytes > self._max_bytes and len(stream.events) > 1:
            self._drop_oldest(stream)

    def _drop_oldest(self, stream: _Stream) -> None:
        size_bytes = _weight(stream.events.popleft())
        stream.first += 1
        stream.size_bytes -= size_bytes
        self.size_bytes -= size_bytes

    def _drop(self, stream: _Stream) -> None:
        """Forget an ended stream. Whoever still reads it has no more to expect."""
        del self._ended[stream]
        if self._named.get(stream.name) is stream:
            del self._named[stream.name]
        self.size_bytes -= stream.size_bytes
        stream.size_bytes, stream.first = 0, stream.next
        stream.events.clear()


def _weight(event: bytes) -> int:
    return len(event) + _EVENT_BYTES


def _call_later(delay_s: float, call: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(delay_s, call)


def _unknown() -> UnknownStream:
    return UnknownStream("There is no such stream.")


def _dropped() -> StreamExpired:
    return StreamExpired("Events of this stream that come next are no longer here.")


def _stopped() -> StreamExpired:
    return StreamExpired("This stream was stopped before its end.")
