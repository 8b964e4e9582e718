"""What takes long to read is read in a thread, so that other requests need not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

ResultT = TypeVar("ResultT")
LARGE_BYTES: Final = 256 * 1024
"""From here on reading a body takes so long that other requests must not wait for it."""


async def off_loop_if_large(size_bytes: int, work: Callable[[], ResultT]) -> ResultT:
    """The result of `work`, which reads that many bytes: in a thread if they are many."""
    return work() if size_bytes < LARGE_BYTES else await asyncio.to_thread(work)
