"""What was handed out of a stream, kept for the case that it breaks: bytes as long as nobody asks for the events.

Bytes of many batches are one buffer: an object for each event of each open stream would be most of a server's memory.
The invariant: the events are those of all batches in their order, each decoded once; beyond the bound nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from waypost.chat import Event
from waypost.providers.answers import Batch


class HandedOut:
    """One stream's, up to `limit_bytes`; `is_kept` says whether that was enough. A limit of 0 keeps nothing."""

    __slots__ = ("_decode", "_events", "_left_bytes", "_raw", "is_kept")

    def __init__(self, limit_bytes: int) -> None:
        self.is_kept = limit_bytes > 0
        self._left_bytes = limit_bytes
        self._raw = bytearray()
        """Of the last batches, those whose events nobody has asked for."""
        self._decode: Callable[[bytes], Sequence[Event]] | None = None
        self._events: list[Event] = []

    @property
    def events(self) -> Sequence[Event]:
        """All of them so far; empty if they are not kept."""
        self._decode_all()
        return self._events

    def add(self, batch: Batch) -> None:
        """The caller has it."""
        if not self.is_kept:
            return
        raw = batch.raw
        self._left_bytes -= len(raw) if raw is not None else _weight_bytes(batch.events)
        if self._left_bytes < 0:
            self.is_kept = False
            self._raw, self._events = bytearray(), []
        elif raw is not None and batch.decode is not None:
            self._raw += raw
            self._decode = batch.decode
        else:
            self._decode_all()
            self._events += batch.events

    def add_more(self, raw: bytes) -> None:
        """The caller has more of the stream that the last batch was of."""
        if not self.is_kept:
            return
        self._left_bytes -= len(raw)
        if self._left_bytes < 0:
            self.is_kept = False
            self._raw, self._events = bytearray(), []
        else:
            self._raw += raw

    def _decode_all(self) -> None:
        if self._raw and self._decode is not None:
            raw, self._raw = bytes(self._raw), bytearray()
            self._events += self._decode(raw)


def _weight_bytes(events: Sequence[Event]) -> int:
    """Events weigh what they hold and about as much again."""
    return sum(100 + len(getattr(event, "text", "")) for event in events)
