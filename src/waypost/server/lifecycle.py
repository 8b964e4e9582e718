"""Where one server stands between start and end: serving, draining, out of patience. No signals and no sockets here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Lifecycle:
    """One server's state. `in_flight` counts the requests that a drain waits for."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_at = clock()
        # Futures rather than one asyncio.Event, which would belong to the first event loop that waits on it; test
        # clients run each request in a loop of its own.
        self._waiting: set[asyncio.Future[None]] = set()
        self.draining = False
        """New requests are refused from now on; those in flight go on."""
        self.in_flight = 0

    @property
    def uptime_s(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started_at

    @contextmanager
    def expiry(self) -> Iterator[asyncio.Future[None]]:
        """A future that is done when the grace time is over: whoever holds it ends now, with an error."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            yield future
        finally:
            self._waiting.discard(future)
            future.cancel()

    def expire(self) -> None:
        """End the grace time. Call it in the server's event loop."""
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
