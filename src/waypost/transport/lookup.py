"""Looking up names, once for all who ask at the same time.

A burst of new connections would otherwise fill the loop's few lookup threads with one and the same question. Nothing
is kept beyond that: how long an answer holds is the system's business. Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Protocol, TypeAlias

Found: TypeAlias = list[tuple[Any, ...]]
"""What `getaddrinfo` gives."""


class Lookup(Protocol):
    """Says where a name leads. A connection is made to what it gives and to nothing else."""

    async def addresses(self, host: str, port: int) -> Found:
        """Raises OSError, ValueError, or an error of ours, which then is the one of whoever wanted to connect."""


class Lookups:
    """The lookups that are under way."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], asyncio.Task[Found]] = {}

    async def addresses(self, host: str, port: int) -> Found:
        """Raises OSError (`socket.gaierror`) or, for what no DNS can hold, ValueError."""
        key = (host, port)
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(_look_up(host, port))
            task.add_done_callback(lambda ended: self._end(key, ended))
        # Whoever is cancelled leaves the others their answer.
        return await asyncio.shield(task)

    def _end(self, key: tuple[str, int], task: asyncio.Task[Found]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            # Read here in case everybody who asked has gone.
            task.exception()


async def _look_up(host: str, port: int) -> Found:
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
