"""Deadlines of one request: for one piece of work, and for a stream that is waited for many times.

The invariant: a TimeoutError of the work's own, and a cancellation of the caller's, pass as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from waypost.errors import ProviderTimeout

ResultT = TypeVar("ResultT")


async def within(limit_s: float | None, work: Awaitable[ResultT], error: Callable[[float], ProviderTimeout]) -> ResultT:
    """The work's result. Raises `error(limit_s)` if it takes longer; None: there is no bound."""
    try:
        async with asyncio.timeout(limit_s) as scope:
            return await work
    except TimeoutError as timeout:
        if limit_s is None or not scope.expired():
            raise
        raise error(limit_s) from timeout


class Deadline:
    """Bounds many waits of one task, one after the other, by one timer. None: there is no bound."""

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s or 0.0
        self._expired = False
        self._waiting: asyncio.Task[Any] | None = None
        self._timer = None if limit_s is None else asyncio.get_running_loop().call_later(limit_s, self._expire)

    async def bound(self, work: Awaitable[ResultT]) -> ResultT:
        """The work's result. Raises ProviderTimeout (phase "total") once the time is over."""
        if self._timer is None:
            return await work
        if self._expired:
            if asyncio.iscoroutine(work):
                work.close()
            raise total_timeout(self._limit_s)
        task = self._waiting = asyncio.current_task()
        try:
            return await work
        except asyncio.CancelledError:
            # As asyncio.timeout does: a cancellation that was not only ours passes.
            if self._is_ours(task):
                raise total_timeout(self._limit_s) from None
            raise
        finally:
            self._waiting = None

    def _is_ours(self, task: asyncio.Task[Any] | None) -> bool:
        return self._expired and task is not None and task.uncancel() == 0

    def close(self) -> None:
        """No wait follows."""
        if self._timer is not None:
            self._timer.cancel()
            # The handle keeps the running task's context, and with it the request's record, which leads back here.
            self._timer = None

    def _expire(self) -> None:
        self._expired = True
        if self._waiting is not None:
            self._waiting.cancel()


def total_timeout(limit_s: float) -> ProviderTimeout:
    """The error for a request whose own deadline has passed; `limit_s` is what this attempt had of it."""
    return ProviderTimeout(
        f"The request was not answered within its total deadline; this attempt had {limit_s:.3g} s of it.",
        phase="total",
        limit_s=limit_s,
        hint="Raise the route's total_s, or ask for a shorter answer.",
    )


def first_token_timeout(name: str, limit_s: float) -> ProviderTimeout:
    """The error for a stream that has said nothing in time."""
    return ProviderTimeout(
        f"{name} gave no first token within {limit_s:g} s.",
        phase="first_token",
        limit_s=limit_s,
        hint="Raise the route's first_token_s if the model needs longer to begin.",
        provider=name,
    )
