"""A transport around another: in a busy turn of the event loop, what is written to any of them leaves at its end.

A write wakes whoever waits at the other end, which takes longer than the copying; in between, the kernel's code pushes
ours out of the processor's caches. One after the other, the writes of a turn took a fifth off what a request costs.
After a quiet turn a write leaves at once: waiting would only be a delay. Invariant: the bytes of one connection keep
their order, and `close` comes after all that was written before it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias
from weakref import WeakKeyDictionary

HELD_BYTES: Final = 64 * 1024
"""Of one connection. More leaves at once, so that a slow reader is noticed while it is written to."""

BUSY_WRITES: Final = 3
"""A turn after one with as many is taken for a busy one."""
MOST_HELD: Final = 32
"""Connections. Where a turn is as long as that, the first of them should not wait for its end."""

Data: TypeAlias = bytes | bytearray | memoryview


class GatheredWrites(asyncio.Transport):
    """Made for the running event loop, around one of its transports."""

    __slots__ = ("_held", "_held_bytes", "_inner", "_outbox", "is_closing")

    is_closing: Callable[[], bool]
    """The inner transport's own: it is asked before most writes."""

    def __init__(self, inner: asyncio.Transport) -> None:
        super().__init__()
        self.is_closing = inner.is_closing
        self._inner = inner
        self._outbox = _outbox()
        self._held: list[Data] = []
        self._held_bytes = 0

    def write(self, data: Data) -> None:
        """Send it, at the end of this turn at the latest."""
        held = self._held
        if not held and not self._outbox.holds(self):
            if not self.is_closing():
                self._inner.write(data)
            return
        held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BYTES:
            self.flush()

    def writelines(self, list_of_data: Iterable[Data]) -> None:
        """Send all of it, at the end of this turn at the latest."""
        for data in list_of_data:
            self.write(data)

    def flush(self) -> None:
        """Send what is held now."""
        held, self._held, self._held_bytes = self._held, [], 0
        if held and not self.is_closing():
            self._inner.write(held[0] if len(held) == 1 else b"".join(held))

    def get_write_buffer_size(self) -> int:
        """What has not left yet, held or handed over."""
        return self._held_bytes + self._inner.get_write_buffer_size()

    def close(self) -> None:
        """Send what is held, then close."""
        self.flush()
        self._inner.close()

    def abort(self) -> None:
        """Close at once: nothing that is held is sent."""
        self._held, self._held_bytes = [], 0
        self._inner.abort()

    def can_write_eof(self) -> bool:
        """As the inner transport says."""
        return self._inner.can_write_eof()

    def write_eof(self) -> None:
        """Send what is held, then say that nothing more comes."""
        self.flush()
        self._inner.write_eof()

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._inner.resume_reading()

    def is_reading(self) -> bool:
        """As the inner transport says."""
        return self._inner.is_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As the inner transport says."""
        return self._inner.get_extra_info(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Those of the inner transport."""
        self._inner.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Those of the inner transport."""
        return self._inner.get_write_buffer_limits()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Have another protocol told."""
        self._inner.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who is told."""
        return self._inner.get_protocol()


class _Outbox:
    """One event loop's: the transports that hold something, in the order in which they were written to."""

    __slots__ = ("_is_busy", "_turn_goes_on", "_waiting", "_writes")

    def __init__(self) -> None:
        self._waiting: deque[GatheredWrites] = deque()
        self._writes = 0
        """In this turn."""
        self._is_busy = False
        self._turn_goes_on = False

    def holds(self, transport: GatheredWrites) -> bool:
        """Is what is written to it now to wait for the end of the turn? Then it is told to flush."""
        self._writes += 1
        if not self._turn_goes_on:
            self._begin_turn()
        if not self._is_busy:
            return False
        if len(self._waiting) >= MOST_HELD:
            self._flush()
        self._waiting.append(transport)
        return True

    def _begin_turn(self) -> None:
        self._turn_goes_on = True
        asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._turn_goes_on = False
        self._is_busy, self._writes = self._writes >= BUSY_WRITES, 0
        self._flush()

    def _flush(self) -> None:
        waiting = self._waiting
        try:
            while waiting:
                waiting.popleft().flush()
        finally:
            # What goes wrong with one of them is not the others' affair.
            if waiting and not self._turn_goes_on:
                self._begin_turn()


_outboxes: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Outbox]] = WeakKeyDictionary()


def _outbox() -> _Outbox:
    return _outboxes.setdefault(asyncio.get_running_loop(), _Outbox())
