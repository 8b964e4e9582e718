"""Which candidate is tried next, and when: one request's attempts, from the policy and what went wrong so far.

Makes no calls. The invariant: never more than `max_attempts` calls, never one after the total deadline, and no wait
that would outlast it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

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
from waypost.gateway.candidate import Candidate
from waypost.gateway.hedge import HedgePolicy, HedgeTarget, hedge_decision
from waypost.gateway.policy import NO_RETRIES, Policy, Windows, worth_another_target
from waypost.gateway.trail import Call, Trail
from waypost.ledger.books import Line

ProviderT = TypeVar("ProviderT")
UNANSWERED: Final = ("first_token", "total")
"""Deadlines that tell how long a target had and did not answer."""
LEAST_CALL_S: Final = 0.01
"""No provider answers in less."""


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


class Latencies(Protocol):
    """Who wants to know how soon targets answer; see `balance.LatencyBoard`."""

    def asked(self, target: tuple[str, str | None], /) -> None:
        """A call begins."""

    def answered(self, target: tuple[str, str | None], first_token_s: float, /) -> None:
        """It answered after so long, or had not yet when its time was over."""


@dataclass(frozen=True, slots=True)
class Hedging(Generic[ProviderT]):
    """The route's wish for a second call beside a slow first one, and what must be known of a candidate for it."""

    policy: HedgePolicy
    target_of: Callable[[Candidate[ProviderT]], HedgeTarget]


class Schedule(Generic[ProviderT]):
    """One request's. `await next()` gives a candidate or None; then say `failed`, `answered` or `completed`.

    `before` is the schedule that this one goes on from after a stream broke: its attempts, time and budget count.
    A second call may be under way beside the first, once a request, if `hedging` is set; see `racing`.
    """

    hedging: Hedging[ProviderT] | None = None
    latencies: Latencies | None = None

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
        self._current: Call[ProviderT] | None = None
        self._second: Call[ProviderT] | None = None
        self._may_hedge = True
        self._born_at = before.born_at if before else self._effects.clock()
        self._trail: Trail[ProviderT] = Trail(self._effects.clock, self._born_at, before.attempts if before else ())
        self._deadline = None if policy.total_s is None else self._born_at + policy.total_s

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Those that have ended, or answered, in the order of their start."""
        return self._trail.attempts

    @property
    def candidate(self) -> Candidate[ProviderT]:
        """Who is asked now, or has answered."""
        return self._asked().candidate

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
        return None if self._deadline is None else max(0.0, self._deadline - self._effects.clock())

    @property
    def is_late(self) -> bool:
        """Is there too little time left for a call? A timer may ring a little before its time."""
        return self.remaining_s is not None and self.remaining_s < LEAST_CALL_S

    @property
    def first_token_s(self) -> float | None:
        """How long the stream of the candidate under way may take to its first token."""
        return self._first_token_s(self._place)

    @property
    def is_over(self) -> bool:
        """Is nobody left to ask?"""
        return self._place >= len(self._candidates)

    async def sleep(self, seconds: float) -> None:
        """Wait, by the schedule's own clock."""
        await self._effects.sleep(seconds)

    async def next(self) -> Candidate[ProviderT] | None:
        """The candidate to ask now, after the wait its retry needs. None: there is nobody left to ask, or no time."""
        while self._place < len(self._candidates) and self._calls < self._policy.max_attempts:
            if self._wait_s:
                await self._effects.sleep(self._wait_s)
            if self.is_late:
                return None
            call = self._call(self._candidates[self._place])
            self._current = call
            if call.health.breaker.admit():
                self._wait_s = 0.0
                self._count(call, is_retry=self._retries > 0)
                return call.candidate
            paused = _paused(call)
            self._to_next_target(paused)
            self._trail.end(call, paused, self._next_after("next_target"))
        return None

    def failed(self, error: Exception) -> None:
        """The attempt failed before its first token: plan what comes next."""
        call = self._asked()
        self._report(call, error)
        if self._may_change_key(error):
            self._trail.end(call, error, "next_key")
        elif self._may_retry(error, call.health):
            self._retries += 1
            asked_s = error.retry_after_s if isinstance(error, ProviderError) else None
            self._wait_s = backoff_s(self._retries, self._policy, self._effects.chance) if asked_s is None else asked_s
            self._trail.end(call, error, "retry", self._wait_s)
        else:
            self._to_next_target(error)
            larger = isinstance(error, ContextLengthExceeded)
            self._trail.end(call, error, self._next_after("larger_window" if larger else "next_target"))

    def answered(self) -> None:
        """The attempt gave its answer, or its first token."""
        call = self._asked()
        self._measure(call, self._effects.clock() - call.started_at)
        self._trail.end(call, None, "answered")

    def completed(self, error: Exception | None = None) -> None:
        """The answer is over: well, or broken in the middle."""
        call = self._asked()
        _tell_breaker(call.health, error)
        self._trail.over(call, error, "answered" if error is None else "end")

    def leads_to(self, following: Next) -> None:
        """What the attempt that ended led to, where that turns out later."""
        self._trail.lead(self._asked(), following)

    def left(self) -> None:
        """The caller gave up: that says nothing about a target."""
        for call in (self._asked(), self._second):
            if call is not None:
                call.health.breaker.released()
                self._trail.left(call)
        self._second = None

    @property
    def hedge_delay_s(self) -> float | None:
        """Seconds after which the next candidate is to be asked beside this one; None: it is not."""
        if self.hedging is None or not self._may_hedge:
            return None
        first = self.hedging.target_of(self.candidate)
        others = self._candidates[self._place + 1 : self._place + 2]
        second = self.hedging.target_of(others[0]) if others else None
        return hedge_decision(self.hedging.policy, first, second, self.calls_left, self.remaining_s).delay_s

    def begin_second(self) -> Candidate[ProviderT]:
        """The next candidate, to be asked beside the one under way. Raises TargetPaused."""
        self._may_hedge = False
        call = self._call(self._candidates[self._place + 1])
        if not call.health.breaker.admit():
            raise _paused(call)
        self._second = call
        self._count(call)
        return call.candidate

    def is_worth_second(self, error: Exception) -> bool:
        """Is a second call under way that this error of the first one leaves a chance?"""
        if self._second is None:
            return False
        windows = Windows(self.candidate.window_tokens, self._second.candidate.window_tokens)
        return worth_another_target(error, self._policy, windows)

    def second_won(self, error: Exception | None = None) -> bool:
        """The second call takes the first one's place, which was slower, or failed with `error`. Was there one?"""
        first, second = self._asked(), self._second
        if second is None:
            return False
        if error is None:
            # It is at least so slow: told nothing, the board would go on to call it the fastest.
            self._measure(first, self._effects.clock() - first.started_at)
            first.health.breaker.released()
        else:
            self._report(first, error)
        self._trail.end(first, error, "hedge" if error is None else "next_target")
        self._retries, self._wait_s = 0, 0.0
        self._place += 1
        self._current, self._second = second, None
        return True

    def second_lost(self, error: Exception | None = None) -> None:
        """The first call settled it; the second, if there is one, was slower or had failed."""
        second, self._second = self._second, None
        if second is not None:
            if error is None:
                second.health.breaker.released()
            else:
                self._report(second, error)
            self._trail.end(second, error, "lost")

    def first_token_s_of(self, candidate: Candidate[ProviderT]) -> float | None:
        """How long the stream of this candidate, the first or the second under way, may take to its first token."""
        is_second = self._second is not None and self._second.candidate is candidate
        return self._first_token_s(self._place + is_second)

    def note_key(self, key_label: str | None) -> None:
        """Which of its provider's keys the call that answered went with."""
        self._trail.note_key(self._asked(), key_label)

    def write_down(self, candidate: Candidate[ProviderT], line: Line) -> None:
        """The call of this candidate, the first or the second under way, is in the books."""
        call = self._call_of(candidate)
        call.line, line.span_id = line, call.span_id

    def note_span(self, candidate: Candidate[ProviderT], span_id: str) -> None:
        """The call of this candidate, the first or the second under way, is traced."""
        self._call_of(candidate).span_id = span_id

    def finished(self, candidate: Candidate[ProviderT]) -> Callable[[], None]:
        """To be called when the provider has finished this candidate's stream, before anybody sees that."""
        call = self._call_of(candidate)
        return lambda: self._trail.finished(call)

    def _call_of(self, candidate: Candidate[ProviderT]) -> Call[ProviderT]:
        second = self._second
        return second if second is not None and second.candidate is candidate else self._asked()

    def _first_token_s(self, place: int) -> float | None:
        """The last target keeps the total deadline."""
        if place == len(self._candidates) - 1:
            return None
        slow = self._candidates[place].slow_start
        return self._policy.slow_first_token_s if slow else self._policy.first_token_s

    def _call(self, candidate: Candidate[ProviderT]) -> Call[ProviderT]:
        return self._trail.begin(candidate, self._board.of(candidate.name, candidate.model))

    def _count(self, call: Call[ProviderT], *, is_retry: bool = False) -> None:
        self._calls += 1
        if not is_retry:
            call.health.retries.called()
        if self.latencies is not None:
            self.latencies.asked(call.candidate.target)

    def _report(self, call: Call[ProviderT], error: Exception) -> None:
        """Tell the boards of a call that gave nothing."""
        _tell_breaker(call.health, error)
        if isinstance(error, ProviderTimeout) and error.phase in UNANSWERED:
            self._measure(call, error.limit_s)

    def _measure(self, call: Call[ProviderT], seconds: float) -> None:
        if self.latencies is not None:
            self.latencies.answered(call.candidate.target, seconds)

    def _may_change_key(self, error: Exception) -> bool:
        return isinstance(error, ProviderError) and error.another_key and self.calls_left > 0

    def _may_retry(self, error: Exception, health: TargetHealth) -> bool:
        if not (isinstance(error, WaypostError) and error.retryable) or self._retries >= self._policy.max_retries:
            return False
        asked_s = error.retry_after_s if isinstance(error, ProviderError) else None
        longest_s = self._policy.backoff_limit_s if asked_s is None else asked_s
        if asked_s is not None and asked_s > self._policy.retry_after_limit_s:
            return False
        # A target that was not asked yet may do better than the same one again.
        unasked = len(self._candidates) - self._place - 1
        if self.calls_left <= unasked or (self.remaining_s is not None and longest_s >= self.remaining_s):
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

    def _asked(self) -> Call[ProviderT]:
        if self._current is None:
            raise RuntimeError("no attempt is under way: call next() first")
        return self._current


def _tell_breaker(health: TargetHealth, error: Exception | None) -> None:
    if error is None:
        health.breaker.succeeded()
    elif isinstance(error, WaypostError) and error.unwell:
        health.breaker.failed()
    else:
        health.breaker.released()


def _paused(call: Call[ProviderT]) -> TargetPaused:
    name, wait_s = call.candidate.name, call.health.breaker.retry_after_s
    return TargetPaused(
        f"{name} failed too often of late and is left alone for now.",
        hint=f"It will be asked again in {wait_s:.0f} s.",
        provider=name,
        retry_after_s=wait_s,
    )
