"""Tries candidates, as a schedule says, until one answers. Knows nothing of what is called: whole answer or stream.

A stream falls back only before its first token: what comes earlier is held back, what comes later is the caller's,
errors too.

The handlers here catch everything, because a user's own provider may raise anything: an Exception is kept as that
attempt's error, and what is no Exception (the caller left) says nothing about the target and passes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

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
            if not may_fall_back(error):
                raise
        except BaseException:
            schedule.left()
            raise
        else:
            schedule.answered()
            schedule.completed()
            return Answered(candidate, answer, schedule.attempts)
    raise AllTargetsFailed(schedule.attempts)


@asynccontextmanager
async def first_stream(
    schedule: Schedule[ProviderT],
    open_stream: Callable[[Candidate[ProviderT]], AbstractAsyncContextManager[AsyncIterator[ItemT]]],
    is_token: Callable[[ItemT], bool],
) -> AsyncIterator[Answered[ProviderT, AsyncIterator[ItemT]]]:
    """The first candidate's stream that gives a token, or ends well without one. Raises as `first_answer` does."""
    while (candidate := await schedule.next()) is not None:
        async with AsyncExitStack() as stack:
            try:
                opening = _open_to_token(stack, open_stream(candidate), is_token)
                held, items = await _within(*_first_limit(schedule, candidate.name, opening))
            except Exception as error:
                _failed(schedule, error)
                if not may_fall_back(error):
                    raise
                continue
            except BaseException:
                schedule.left()
                raise
            schedule.answered()
            rest = await stack.enter_async_context(aclosing(_relay(schedule, held, items)))
            yield Answered(candidate, rest, schedule.attempts)
            return
    raise AllTargetsFailed(schedule.attempts)


def _failed(schedule: Schedule[ProviderT], error: Exception) -> None:
    schedule.failed(error)
    _tell_attempts(schedule, error)


def _tell_attempts(schedule: Schedule[ProviderT], error: Exception) -> None:
    if isinstance(error, WaypostError):
        error.attempts = schedule.attempts


async def _open_to_token(
    stack: AsyncExitStack,
    stream: AbstractAsyncContextManager[AsyncIterator[ItemT]],
    is_token: Callable[[ItemT], bool],
) -> tuple[list[ItemT], AsyncIterator[ItemT]]:
    items = await stack.enter_async_context(stream)
    held: list[ItemT] = []
    async for item in items:
        held.append(item)
        if is_token(item):
            break
    return held, items


async def _relay(
    schedule: Schedule[ProviderT], held: list[ItemT], items: AsyncIterator[ItemT]
) -> AsyncGenerator[ItemT]:
    """What was held back, then the rest; tells the schedule how the stream ended."""
    try:
        for item in held:
            yield item
        while True:
            try:
                item = await _within(schedule.remaining_s, anext(items), total_timeout)
            except StopAsyncIteration:
                break
            yield item
    except Exception as error:
        schedule.completed(error)
        _tell_attempts(schedule, error)
        raise
    except BaseException:
        schedule.left()
        raise
    else:
        schedule.completed()


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
