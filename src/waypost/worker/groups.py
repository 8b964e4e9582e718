"""Writes the stream that a job tells, in small groups: readers are to see it soon, and the database is not to drown.

The invariants: a group is written before the next one, and all of them before `close` returns; a stream over its bound
is cut once, and what comes after is not written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from waypost.jobs.stream import STREAM, Event, Group

GROUP_S: Final = 0.2
"""How long events wait for others, which is how often one stream writes at most."""
MOST_EVENTS: Final = 200
"""Of one group."""
MOST_WAITING: Final = 2_000
"""Events that wait to be written; from there on their maker waits, too."""
EVENT_BYTES: Final = 16
"""What an event takes besides its own bytes, about."""

Write = Callable[[str, dict[str, Any]], Awaitable[None]]
"""As `JobContext.event`."""


class GroupWriter:
    """One round of one job. `beginning` says where it begins; at most `most_bytes` of it are kept."""

    def __init__(self, write: Write, beginning: Group, most_bytes: int, *, group_s: float = GROUP_S) -> None:
        self._write = write
        self._group = beginning
        self._left_bytes = most_bytes
        self._group_s = group_s
        self._waiting: list[Event] = []
        self._is_cut = False
        self._writing: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    async def add(self, events: Sequence[tuple[Event, int]]) -> None:
        """Events, each with its size in bytes. Waits only where far too many are not written yet.

        Raises what keeps them from being written, as does `close`.
        """
        for event, size_bytes in events:
            self._left_bytes -= size_bytes + EVENT_BYTES
            if self._left_bytes < 0:
                break
            self._waiting.append(event)
        if self._writing is not None and self._writing.done():
            self._writing.result()
            self._writing = None
        if self._writing is None and (self._waiting or (self._left_bytes < 0 and not self._is_cut)):
            self._writing = asyncio.ensure_future(self._write_soon())
        if self._writing is not None and len(self._waiting) > MOST_WAITING:
            await asyncio.wait({self._writing})

    async def close(self) -> None:
        """Write what is left."""
        self._hurry.set()
        if self._writing is not None:
            await self._writing
        await self._write_all()

    async def _write_soon(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), self._group_s)
        await self._write_all()

    async def _write_all(self) -> None:
        while self._waiting:
            group = self._group = self._next(self._waiting[:MOST_EVENTS])
            del self._waiting[:MOST_EVENTS]
            await self._write(STREAM, group.told())
        if self._left_bytes < 0 and not self._is_cut:
            self._is_cut = True
            group = self._group = self._next((), is_cut=True)
            await self._write(STREAM, group.told())

    def _next(self, events: Sequence[Event], *, is_cut: bool = False) -> Group:
        before = self._group
        return Group(before.round, before.begin, before.next, events, is_cut)
