"""Tries candidates, as a schedule says, until one answers. Knows nothing of what is called: whole answer or stream.

A stream falls back only before its first token: what comes earlier is held back, what comes later is the caller's,
errors too.

The handlers here catch everything, because a user's own provider may raise anything: an Exception is kept as that
attempt's error, and what is no Exception (the caller left) says nothing about the target and passes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from waypost.errors import AllTargetsFailed, Attempt, ProviderTimeout, WaypostError
from waypost.gateway.schedule import Candidate, Schedule, may_fall_back, total_timeout

ProviderT = TypeVar("ProviderT")
ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class Answered(Generic[ProviderT, AnswerT]):
    """Who answered, with what, and all attempts up to it."""

    candidate: Candidate[ProviderT]
    answer: AnswerT
    attempts: tuple[Attempt, ...]


async def first_answer(
    schedule: Schedule[ProviderT], call: Callable[[Candidate[ProviderT]], Awaitable[AnswerT]]
) -> Answered[ProviderT, AnswerT]:
    """The first candidate's answer that comes. Raises AllTargetsFailed, or at once what no other target could mend."""
    while (candidate := await schedule.next()) is not None:
        try:
            answer = await _within(schedule.remaining_s, call(candidate), total_timeout)
        except Exception as error:
            _failed(schedule, error)
            if schedule.is_over and not may_fall_back(error):
                raise
        except BaseException:
            schedule.left()
            raise
        else:
            schedule.answered()
            schedule.completed()
            return Answered(candidate, answer, schedule.attempts)
    raise AllTargetsFailed(schedule.attempts)


def first_stream(
    schedule: Schedule[ProviderT],
    open_stream: Callable[[Candidate[ProviderT]], AbstractAsyncContextManager[AsyncIterable[ItemT]]],
    is_token: Callable[[ItemT], bool],
) -> FirstStream[ProviderT, ItemT]:
    """The first candidate's stream that gives a token, or ends well without one. Raises as `first_answer` does."""
    return FirstStream(schedule, open_stream, is_token)


class FirstStream(Generic[ProviderT, ItemT]):
    """`async with` gives who answers; iterate over its `answer`, which is this object. Leaving the block ends the call.

    One timer holds the whole stream to the total deadline: a timer for each item would cost more than most items.
    """

    def __init__(
        self,
        schedule: Schedule[ProviderT],
        open_stream: Callable[[Candidate[ProviderT]], AbstractAsyncContextManager[AsyncIterable[ItemT]]],
        is_token: Callable[[ItemT], bool],
    ) -> None:
        self.schedule = schedule
        self._open_stream = open_stream
        self._is_token = is_token
        self._held: deque[ItemT] = deque()
        self.opened: AsyncIterable[ItemT]
        """The stream that answers, as its provider gave it; known inside the block."""
        self._items: AsyncIterator[ItemT]
        self._opening: AbstractAsyncContextManager[AsyncIterable[ItemT]] | None = None
        self._deadline: Deadline | None = None
        self._settled = False

    async def __aenter__(self) -> Answered[ProviderT, AsyncIterator[ItemT]]:
        schedule = self.schedule
        while (candidate := await schedule.next()) is not None:
            if not await self._begins(candidate):
                continue
            schedule.answered()
            self._deadline = Deadline(schedule.remaining_s)
            return Answered(candidate, self, schedule.attempts)
        raise AllTargetsFailed(schedule.attempts)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._settled and self._deadline is not None:
            self._settled = True
            self.schedule.left()
        await self._close(kind, error, traceback)

    async def aclose(self) -> None:
        """End the call, before the end of the block."""
        await self._close(None, None, None)

    def failed(self, error: Exception) -> None:
        """Whoever reads it has found it wrong."""
        self._settle(error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemT:
        if self._held:
            return self._held.popleft()
        if self._deadline is None:
            raise TypeError("a stream is read inside its block")
        try:
            return await self._deadline.bound(anext(self._items))
        except StopAsyncIteration:
            self._settle(None)
            raise
        except Exception as error:
            self._settle(error)
            _tell_attempts(self.schedule, error)
            raise

    async def _begins(self, candidate: Candidate[ProviderT]) -> bool:
        """Does the candidate's stream give a token? Raises what no other target could mend."""
        try:
            await _within(*_first_limit(self.schedule, candidate.name, self._open_to_token(candidate)))
        except Exception as error:
            _failed(self.schedule, error)
            await self._close(type(error), error, error.__traceback__)
            if self.schedule.is_over and not may_fall_back(error):
                raise
            return False
        except BaseException as error:
            self._settled = True
            self.schedule.left()
            await self._close(type(error), error, error.__traceback__)
            raise
        return True

    async def _open_to_token(self, candidate: Candidate[ProviderT]) -> None:
        self._held.clear()
        opening = self._open_stream(candidate)
        self.opened = await opening.__aenter__()
        self._items = aiter(self.opened)
        self._opening = opening
        async for item in self._items:
            self._held.append(item)
            if self._is_token(item):
                break

    async def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._deadline is not None:
            self._deadline.close()
        opening, self._opening = self._opening, None
        if opening is not None:
            # The block's own error passes through it, so that it may clean up by it; it is raised by whoever caught it.
            try:
                await opening.__aexit__(kind, error, traceback)
            except BaseException as raised:
                if raised is not error:
                    raise

    def _settle(self, error: Exception | None) -> None:
        if not self._settled:
            self._settled = True
            self.schedule.completed(error)


class Deadline:
    """Bounds many waits of one task, one after the other, by one timer. None: there is no bound."""

    def __init__(self, limit_s: float | None) -> None:
        self._limit_s = limit_s or 0.0
        self._expired = False
        self._waiting: asyncio.Task[Any] | None = None
        self._timer = None if limit_s is None else asyncio.get_running_loop().call_later(limit_s, self._expire)

    async def bound(self, work: Awaitable[AnswerT]) -> AnswerT:
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

    def _expire(self) -> None:
        self._expired = True
        if self._waiting is not None:
            self._waiting.cancel()


def _failed(schedule: Schedule[ProviderT], error: Exception) -> None:
    schedule.failed(error)
    _tell_attempts(schedule, error)


def _tell_attempts(schedule: Schedule[ProviderT], error: Exception) -> None:
    if isinstance(error, WaypostError):
        error.attempts = schedule.attempts


async def _within(
    limit_s: float | None, work: Awaitable[AnswerT], error: Callable[[float], ProviderTimeout]
) -> AnswerT:
    """The work's result. Raises `error(limit_s)` if it takes longer; a TimeoutError of the work's own passes."""
    try:
        async with asyncio.timeout(limit_s) as scope:
            return await work
    except TimeoutError as timeout:
        if limit_s is None or not scope.expired():
            raise
        raise error(limit_s) from timeout


def _first_limit(
    schedule: Schedule[ProviderT], name: str, work: Awaitable[AnswerT]
) -> tuple[float | None, Awaitable[AnswerT], Callable[[float], ProviderTimeout]]:
    """The nearer of the first-token deadline and what is left of the total one."""
    first_s, total_s = schedule.first_token_s, schedule.remaining_s
    if first_s is None or (total_s is not None and total_s <= first_s):
        return total_s, work, total_timeout
    return first_s, work, lambda limit_s: first_token_timeout(name, limit_s)


def first_token_timeout(name: str, limit_s: float) -> ProviderTimeout:
    """The error for a stream that has said nothing in time."""
    return ProviderTimeout(
        f"{name} gave no first token within {limit_s:g} s.",
        phase="first_token",
        limit_s=limit_s,
        hint="Raise the route's first_token_s if the model needs longer to begin.",
        provider=name,
    )
