"""What a reload replaced is closed when the last request that may use it is over, and not before.

Each request belongs to the generation in which it began. The invariant: whatever is retired is closed once every
request of its own and of earlier generations has left; later ones never saw it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

Close = Callable[[], Awaitable[None]]


class Generations:
    """Counts requests by generation. Use it in one event loop."""

    def __init__(self) -> None:
        self._now = 0
        self._under_way: dict[int, int] = {}
        self._retired: list[tuple[int, Close]] = []
        self._closing: set[asyncio.Task[None]] = set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside the block, nothing is closed that is in use when it begins."""
        generation = self.enter()
        try:
            yield
        finally:
            self.leave(generation)

    def enter(self) -> int:
        """Begin without a block: give what this returns to `leave`."""
        generation = self._now
        self._under_way[generation] = self._under_way.get(generation, 0) + 1
        return generation

    def leave(self, generation: int) -> None:
        """It is over."""
        count = self._under_way.pop(generation) - 1
        if count:
            self._under_way[generation] = count
        elif self._retired:
            self._close_unused()

    def retire(self, close: Close) -> None:
        """Begin a new generation; `close` is awaited, in a task of its own, when those before it are over."""
        self._retired.append((self._now, close))
        self._now += 1
        self._close_unused()

    async def close(self) -> None:
        """Close all that is retired, in use or not."""
        for _, close in self._retired:
            self._begin(close)
        self._retired.clear()
        await asyncio.gather(*self._closing)

    def _close_unused(self) -> None:
        oldest = min(self._under_way, default=self._now)
        due = [close for generation, close in self._retired if generation < oldest]
        self._retired = [each for each in self._retired if each[0] >= oldest]
        for close in due:
            self._begin(close)

    def _begin(self, close: Close) -> None:
        async def run() -> None:
            await close()

        task = asyncio.ensure_future(run())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
