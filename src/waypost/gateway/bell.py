"""Lets any number of tasks wait for the next change of something. It carries no value and remembers no ring.

A waiter looks at the state, and only then waits; no `await` stands between the two, so no ring can be missed.
"""

from __future__ import annotations

import asyncio


class Bell:
    """Wakes everyone who waits. A ring that nobody waits for costs next to nothing."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: asyncio.Event | None = None

    def ring(self) -> None:
        """Wake all who wait now; those who come later wait for the next ring."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Until the next ring."""
        if self._event is None:
            self._event = asyncio.Event()
        await self._event.wait()
