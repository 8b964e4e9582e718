"""Tries candidates, as a schedule says, until one answers. Knows nothing of what is called: whole answer or stream.

A stream falls back only before its first token: what comes earlier is held back, what comes later is the caller's,
errors too. Where the route hedges, two calls race for the answer or the first token (`racing`).

The handlers here catch everything, because a user's own provider may raise anything: an Exception is kept as that
attempt's error, and what is no Exception (the caller left) says nothing about the target and passes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from waypost.errors import AllTargetsFailed, Attempt, ProviderTimeout, WaypostError
from waypost.gateway.candidate import Candidate
from waypost.gateway.deadline import Deadline, first_token_timeout, total_timeout, within
from waypost.gateway.opening import Opening
from waypost.gateway.racing import ask
from waypost.gateway.schedule import Schedule, may_fall_back

ProviderT = TypeVar("ProviderT")
ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


@dataclass(slots=True)
class Answered(Generic[ProviderT, AnswerT]):
    """Who answered, with what, and all attempts up to it."""

    candidate: Candidate[ProviderT]
    answer: AnswerT
    attempts: tuple[Attempt, ...]


async def first_answer(
    schedule: Schedule[ProviderT], call: Callable[[Candidate[ProviderT]], Awaitable[AnswerT]]
) -> Answered[ProviderT, AnswerT]:
    """The first candidate's answer that comes. Raises AllTargetsFailed, or at once what no other target could mend."""

    async def whole(candidate: Candidate[ProviderT]) -> AnswerT:
        return await within(schedule.remaining_s, call(candidate), total_timeout)

    answer = await _first(schedule, whole, _drop)
    schedule.completed()
    return Answered(schedule.candidate, answer, schedule.attempts)


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
        self.opened: AsyncIterable[ItemT]
        """The stream that answers, as its provider gave it; known inside the block."""
        self._open_stream = open_stream
        self._is_token = is_token
        self._held: deque[ItemT] = deque()
        self._items: AsyncIterator[ItemT]
        self._opening: Opening[ItemT] | None = None
        self._deadline: Deadline | None = None
        self._settled = False

    async def __aenter__(self) -> Answered[ProviderT, AsyncIterator[ItemT]]:
        schedule = self.schedule
        opening = self._opening = await _first(schedule, self._to_token, Opening.close)
        self.opened, self._held, self._items = opening.stream, opening.held, opening.items
        self._deadline = Deadline(schedule.remaining_s)
        return Answered(schedule.candidate, self, schedule.attempts)

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if not self._settled:
            self._settled = True
            self.schedule.left()
        await self._close(error)

    async def aclose(self) -> None:
        """End the call, before the end of the block."""
        await self._close(None)

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

    async def _to_token(self, candidate: Candidate[ProviderT]) -> Opening[ItemT]:
        opening = Opening(self._open_stream(candidate))
        limit_s, timeout = _first_limit(self.schedule, candidate)
        try:
            await within(limit_s, opening.to_token(self._is_token), timeout)
        except BaseException as error:
            await opening.close(error)
            raise
        return opening

    async def _close(self, error: BaseException | None) -> None:
        if self._deadline is not None:
            self._deadline.close()
        if self._opening is not None:
            await self._opening.close(error)

    def _settle(self, error: Exception | None) -> None:
        if not self._settled:
            self._settled = True
            self.schedule.completed(error)


async def _first(
    schedule: Schedule[ProviderT],
    call: Callable[[Candidate[ProviderT]], Coroutine[Any, Any, AnswerT]],
    close: Callable[[AnswerT], Awaitable[None]],
) -> AnswerT:
    """The first answer that comes; `schedule.candidate` is whose. Raises as `first_answer` does."""
    while await schedule.next() is not None:
        try:
            answer = await ask(schedule, call, close)
        except Exception as error:
            schedule.failed(error)
            _tell_attempts(schedule, error)
            if schedule.is_over and not may_fall_back(error):
                raise
        except BaseException:
            schedule.left()
            raise
        else:
            schedule.answered()
            return answer
    raise AllTargetsFailed(schedule.attempts)


async def _drop(_: object) -> None:
    """A whole answer holds nothing open."""


def _tell_attempts(schedule: Schedule[ProviderT], error: Exception) -> None:
    if isinstance(error, WaypostError):
        error.attempts = schedule.attempts


def _first_limit(
    schedule: Schedule[ProviderT], candidate: Candidate[ProviderT]
) -> tuple[float | None, Callable[[float], ProviderTimeout]]:
    """The nearer of the first-token deadline and what is left of the total one."""
    first_s, total_s = schedule.first_token_s_of(candidate), schedule.remaining_s
    if first_s is None or (total_s is not None and total_s <= first_s):
        return total_s, total_timeout
    return first_s, lambda limit_s: first_token_timeout(candidate.name, limit_s)
