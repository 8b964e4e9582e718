"""Which candidate is tried next, and when: one request's attempts, from the policy and what went wrong so far.

Makes no calls. The invariant: never more than `max_attempts` calls, never one after the total deadline, and no wait
that would outlast it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from waypost.errors import (
    Attempt,
    ContextLengthExceeded,
    Next,
    ProviderError,
    ProviderTimeout,
    TargetPaused,
    WaypostError,
)
from waypost.gateway.breaker import HealthBoard, TargetHealth
from waypost.gateway.policy import NO_RETRIES, Policy, Windows, worth_another_target

ProviderT = TypeVar("ProviderT")
TICK_S: Final = 0.005
"""Timers may ring a little early: what is left then is no time for another call."""
LEAST_CALL_S: Final = 0.01
"""No provider answers in less."""


@dataclass(frozen=True, slots=True)
class Candidate(Generic[ProviderT]):
    """One target: the provider, its configured name, and the model asked of it (None: the provider's own choice).

    `note` is what the caller should know if this one answers; `slow_start`: its first token may take long;
    `window_tokens` is its context window (None: unknown); `way` is how it would go on with a stream that broke.
    """

    name: str
    provider: ProviderT
    model: str | None = None
    note: str = ""
    slow_start: bool = False
    window_tokens: int | None = None
    way: str | None = None

    @property
    def target(self) -> tuple[str, str | None]:
        """What tells it from others."""
        return self.name, self.model


@dataclass(frozen=True, slots=True)
class Effects:
    """Time and chance, as arguments: seconds of a clock that only goes forward, a sleep, and a number from 0 to 1."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = random.random


def may_fall_back(error: Exception) -> bool:
    """Is another target worth trying? Our errors say so themselves; a foreign provider's exception always is."""
    return error.fallback if isinstance(error, WaypostError) else True


def backoff_s(retry: int, policy: Policy, chance: Callable[[], float]) -> float:
    """Seconds before retry number `retry` (the first is 1): full jitter, so that callers do not come back in step."""
    return min(policy.backoff_limit_s, policy.backoff_first_s * 2.0 ** (retry - 1)) * chance()


class Schedule(Generic[ProviderT]):
    """One request's. `await next()` gives a candidate or None; then say `failed`, `answered` or `completed`.

    `before` is the schedule that this one goes on from after a stream broke: its attempts, time and budget count.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate[ProviderT]],
        policy: Policy = NO_RETRIES,
        board: HealthBoard | None = None,
        effects: Effects | None = None,
        *,
        before: Schedule[ProviderT] | None = None,
    ) -> None:
        self._effects = effects or Effects()
        self._candidates = candidates
        self._policy = policy
        self._board = board or HealthBoard(clock=self._effects.clock)
        self._place = 0
        self._retries = 0
        self._calls = before.calls if before else 0
        self._wait_s = 0.0
        self._attempts: list[Attempt] = list(before.attempts) if before else []
        self._current: tuple[Candidate[ProviderT], TargetHealth] | None = None
        self._born_at = before.born_at if before else self._effects.clock()
        self._started_at = self._effects.clock()
        self._deadline = None if policy.total_s is None else self._born_at + policy.total_s

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Those that have ended, in order; one that was answered is the last."""
        return tuple(self._attempts)

    @property
    def calls(self) -> int:
        """How many were made."""
        return self._calls

    @property
    def calls_left(self) -> int:
        """How many may still be made."""
        return max(0, self._policy.max_attempts - self._calls)

    @property
    def born_at(self) -> float:
        """When the request began, by the clock."""
        return self._born_at

    @property
    def remaining_s(self) -> float | None:
        """Seconds until the total deadline; None: there is none."""
        if self._deadline is None:
            return None
        left_s = self._deadline - self._effects.clock()
        return left_s if left_s > TICK_S else 0.0

    @property
    def is_late(self) -> bool:
        """Is there too little time left for a call? A timer may ring a little before its time."""
        return self.remaining_s is not None and self.remaining_s < LEAST_CALL_S

    @property
    def first_token_s(self) -> float | None:
        """How long this attempt's stream may take to its first token; the last target keeps the total deadline."""
        if self._place == len(self._candidates) - 1:
            return None
        slow = self._candidates[self._place].slow_start
        return self._policy.slow_first_token_s if slow else self._policy.first_token_s

    @property
    def is_over(self) -> bool:
        """Is nobody left to ask?"""
        return self._place >= len(self._candidates)

    async def next(self) -> Candidate[ProviderT] | None:
        """The candidate to ask now, after the wait its retry needs. None: there is nobody left to ask, or no time."""
        while self._place < len(self._candidates) and self._calls < self._policy.max_attempts:
            if self._wait_s:
                await self._effects.sleep(self._wait_s)
            if self.is_late:
                return None
            candidate = self._candidates[self._place]
            health = self._board.of(candidate.name, candidate.model)
            if health.breaker.admit():
                return self._begin(candidate, health)
            paused = TargetPaused(
                f"{candidate.name} failed too often of late and is left alone for now.",
                hint=f"It will be asked again in {health.breaker.retry_after_s:.0f} s.",
                provider=candidate.name,
                retry_after_s=health.breaker.retry_after_s,
            )
            self._started_at = self._effects.clock()
            self._current = (candidate, health)
            self._to_next_target(paused)
            self._note(paused, self._next_after("next_target"))
        return None

    def failed(self, error: Exception) -> None:
        """The attempt failed before its first token: plan what comes next."""
        _, health = self._asked()
        _report(health, error)
        if self._may_change_key(error):
            self._note(error, "next_key")
        elif self._may_retry(error, health):
            self._retries += 1
            asked_s = error.retry_after_s if isinstance(error, ProviderError) else None
            self._wait_s = backoff_s(self._retries, self._policy, self._effects.chance) if asked_s is None else asked_s
            self._note(error, "retry")
        else:
            self._to_next_target(error)
            larger = isinstance(error, ContextLengthExceeded)
            self._note(error, self._next_after("larger_window" if larger else "next_target"))

    def answered(self, key_label: str | None = None) -> None:
        """The attempt gave its answer, or its first token."""
        self._note(None, "answered", key_label)

    def completed(self, error: Exception | None = None, following: Next | None = None) -> None:
        """The answer is over: well, or broken in the middle; `following` is what that leads to."""
        _, health = self._asked()
        _report(health, error)
        if self._attempts:
            self._attempts[-1] = replace(
                self._attempts[-1],
                error=error,
                duration_ms=self._since_ms(self._started_at),
                next=following or ("answered" if error is None else "end"),
            )

    def leads_to(self, following: Next) -> None:
        """What the last attempt led to, where that turns out later."""
        if self._attempts:
            self._attempts[-1] = replace(self._attempts[-1], next=following)

    def left(self) -> None:
        """The caller gave up: that says nothing about the target."""
        candidate, health = self._asked()
        health.breaker.released()
        if self._attempts and self._attempts[-1].next == "answered" and self._attempts[-1].error is None:
            self._attempts[-1] = replace(
                self._attempts[-1], duration_ms=self._since_ms(self._started_at), next="caller_left"
            )
        else:
            self._attempts.append(self._attempt(candidate, None, "caller_left"))

    def _begin(self, candidate: Candidate[ProviderT], health: TargetHealth) -> Candidate[ProviderT]:
        self._calls += 1
        self._wait_s = 0.0
        if not self._retries:
            health.retries.called()
        self._current = (candidate, health)
        self._started_at = self._effects.clock()
        return candidate

    def _may_change_key(self, error: Exception) -> bool:
        return isinstance(error, ProviderError) and error.another_key and self.calls_left > 0

    def _may_retry(self, error: Exception, health: TargetHealth) -> bool:
        if not (isinstance(error, WaypostError) and error.retryable) or self._retries >= self._policy.max_retries:
            return False
        asked_s = error.retry_after_s if isinstance(error, ProviderError) else None
        longest_s = self._policy.backoff_limit_s if asked_s is None else asked_s
        if asked_s is not None and asked_s > self._policy.retry_after_limit_s:
            return False
        if self.calls_left == 0 or (self.remaining_s is not None and longest_s >= self.remaining_s):
            return False
        return health.retries.take()

    def _to_next_target(self, error: Exception) -> None:
        """To the next candidate that may be asked after this error."""
        failed = self._candidates[self._place]
        self._retries, self._wait_s = 0, 0.0
        self._place += 1
        while self._place < len(self._candidates):
            windows = Windows(failed.window_tokens, self._candidates[self._place].window_tokens)
            if worth_another_target(error, self._policy, windows):
                return
            self._place += 1

    def _next_after(self, following: Next) -> Next:
        return "end" if self.is_over or self.calls_left == 0 else following

    def _note(self, error: Exception | None, following: Next, key_label: str | None = None) -> None:
        candidate, _ = self._asked()
        self._attempts.append(self._attempt(candidate, error, following, key_label))

    def _attempt(
        self, candidate: Candidate[ProviderT], error: Exception | None, following: Next, key_label: str | None = None
    ) -> Attempt:
        duration_ms = self._since_ms(self._started_at)
        return Attempt(
            candidate.name,
            candidate.model,
            error,
            duration_ms,
            started_ms=round((self._started_at - self._born_at) * 1000),
            next=following,
            waited_ms=round(self._wait_s * 1000),
            first_token_ms=duration_ms if following == "answered" else None,
            key_label=error.key_label if isinstance(error, ProviderError) else key_label,
            way=candidate.way,
        )

    def _since_ms(self, then: float) -> int:
        return round((self._effects.clock() - then) * 1000)

    def _asked(self) -> tuple[Candidate[ProviderT], TargetHealth]:
        if self._current is None:
            raise RuntimeError("no attempt is under way: call next() first")
        return self._current


def _report(health: TargetHealth, error: Exception | None) -> None:
    if error is None:
        health.breaker.succeeded()
    elif isinstance(error, WaypostError) and error.unwell:
        health.breaker.failed()
    else:
        health.breaker.released()


def total_timeout(limit_s: float) -> ProviderTimeout:
    """The error for a request whose own deadline has passed; `limit_s` is what this attempt had of it."""
    return ProviderTimeout(
        f"The request was not answered within its total deadline; this attempt had {limit_s:.3g} s of it.",
        phase="total",
        limit_s=limit_s,
        hint="Raise the route's total_s, or ask for a shorter answer.",
    )
