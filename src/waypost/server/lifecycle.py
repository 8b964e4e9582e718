"""Where one server stands between start and end: serving, draining, out of patience. No signals and no sockets here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Lifecycle:
    """One server's state. `in_flight` counts the requests that a drain waits for."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_at = clock()
        self._waiting: set[Callable[[], None]] = set()
        self.draining = False
        """New requests are refused from now on; those in flight go on."""
        self.in_flight = 0

    @property
    def uptime_s(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started_at

    @contextmanager
    def on_expiry(self, end: Callable[[], None]) -> Iterator[None]:
        """Inside the block, `end` is called when the grace time is over: whoever works now ends with an error."""
        self.watch(end)
        try:
            yield
        finally:
            self.forget(end)

    def watch(self, end: Callable[[], None]) -> None:
        """As `on_expiry`, until `forget` is called with the same."""
        self._waiting.add(end)

    def forget(self, end: Callable[[], None]) -> None:
        """It is not called any more."""
        self._waiting.discard(end)

    def expire(self) -> None:
        """End the grace time. Call it in the server's event loop."""
        for end in tuple(self._waiting):
            end()
