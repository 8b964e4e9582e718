"""Tries candidates in order until one answers. Knows nothing of what is called: a whole answer or a stream of items.

A stream falls back only before its first token: what comes earlier is held back, what comes later is the caller's,
errors too.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from waypost.errors import AllTargetsFailed, Attempt, WaypostError

ProviderT = TypeVar("ProviderT")
ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class Candidate(Generic[ProviderT]):
    """One target: the provider, its configured name, and the model asked of it (None: the provider's own choice).

    `note` is what the caller should know if this one answers.
    """

    name: str
    provider: ProviderT
    model: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Answered(Generic[ProviderT, AnswerT]):
    """Who answered, with what, and all attempts up to it."""

    candidate: Candidate[ProviderT]
    answer: AnswerT
    attempts: tuple[Attempt, ...]


def may_fall_back(error: Exception) -> bool:
    """Is another target worth trying? Our errors say so themselves; a foreign provider's exception always is."""
    return error.fallback if isinstance(error, WaypostError) else True


@dataclass(slots=True)
class _Attempts:
    clock: Callable[[], float]
    made: list[Attempt] = field(default_factory=list)
    started: float = 0.0

    def start(self) -> None:
        self.started = self.clock()

    def end(self, candidate: Candidate[ProviderT], error: Exception | None = None) -> None:
        duration_ms = round((self.clock() - self.started) * 1000)
        self.made.append(Attempt(candidate.name, candidate.model, error, duration_ms))


async def first_answer(
    candidates: Sequence[Candidate[ProviderT]],
    call: Callable[[Candidate[ProviderT]], Awaitable[AnswerT]],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Answered[ProviderT, AnswerT]:
    """The first candidate's answer that comes. Raises AllTargetsFailed, or at once what no other target could mend."""
    attempts = _Attempts(clock)
    for candidate in candidates:
        attempts.start()
        try:
            answer = await call(candidate)
        except Exception as error:
            attempts.end(candidate, error)
            if not may_fall_back(error):
                raise
        else:
            attempts.end(candidate)
            return Answered(candidate, answer, tuple(attempts.made))
    raise AllTargetsFailed(attempts.made)


@asynccontextmanager
async def first_stream(
    candidates: Sequence[Candidate[ProviderT]],
    open_stream: Callable[[Candidate[ProviderT]], AbstractAsyncContextManager[AsyncIterator[ItemT]]],
    is_token: Callable[[ItemT], bool],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Answered[ProviderT, AsyncIterator[ItemT]]]:
    """The first candidate's stream that gives a token, or ends well without one. Raises as `first_answer` does."""
    attempts = _Attempts(clock)
    for candidate in candidates:
        attempts.start()
        async with AsyncExitStack() as stack:
            try:
                items = await stack.enter_async_context(open_stream(candidate))
                held = await _until_token(items, is_token)
            except Exception as error:
                attempts.end(candidate, error)
                if not may_fall_back(error):
                    raise
                continue
            attempts.end(candidate)
            rest = await stack.enter_async_context(aclosing(_chain(held, items)))
            yield Answered(candidate, rest, tuple(attempts.made))
            return
    raise AllTargetsFailed(attempts.made)


async def _until_token(items: AsyncIterator[ItemT], is_token: Callable[[ItemT], bool]) -> list[ItemT]:
    held: list[ItemT] = []
    async for item in items:
        held.append(item)
        if is_token(item):
            break
    return held


async def _chain(held: list[ItemT], items: AsyncIterator[ItemT]) -> AsyncGenerator[ItemT]:
    for item in held:
        yield item
    async for item in items:
        yield item
