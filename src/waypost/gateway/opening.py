"""One call for a stream, up to its first token: an object of its own, so that two can race and the loser be closed.

The invariant: it is entered at most once and left exactly as often, by whichever task closes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class Opening(Generic[ItemT]):
    """A call that is not made yet. `held` is what came up to the first token, `items` what comes after it."""

    def __init__(self, block: AbstractAsyncContextManager[AsyncIterable[ItemT]]) -> None:
        self.held: deque[ItemT] = deque()
        self.stream: AsyncIterable[ItemT]
        """As its provider gave it."""
        self.items: AsyncIterator[ItemT]
        self._block = block
        self._is_open = False

    async def to_token(self, is_token: Callable[[ItemT], bool]) -> None:
        """Make the call, and read to the first token, or to an end without one."""
        self.stream = await self._block.__aenter__()
        self._is_open = True
        self.items = aiter(self.stream)
        async for item in self.items:
            self.held.append(item)
            if is_token(item):
                return

    async def close(self, error: BaseException | None = None) -> None:
        """End the call. The error passes through it, so that it may clean up by it; whoever caught it raises it."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            await self._block.__aexit__(type(error) if error else None, error, error.__traceback__ if error else None)
        except BaseException as raised:
            if raised is not error:
                raise
