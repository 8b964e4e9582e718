"""gateway/schedule.py: who is tried next and when, on a clock of the test's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from waypost.errors import (
    InvalidRequest,
    ProviderAuthenticationError,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderServerError,
    ProviderTimeout,
    TargetPaused,
)
from waypost.gateway.breaker import BreakerLimits, Circuit, HealthBoard
from waypost.gateway.candidate import Candidate
from waypost.gateway.policy import Policy
from waypost.gateway.schedule import Effects, Schedule, backoff_s


@dataclass
class World:
    """A clock that moves when somebody sleeps, or when the test says so."""

    now_s: float = 100.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    @property
    def effects(self) -> Effects:
        return Effects(clock=lambda: self.now_s, sleep=self.sleep, chance=lambda: 0.5)


def make(world: World, *names: str, board: HealthBoard | None = None, **policy: Any) -> Schedule[None]:
    candidates = [Candidate(name, None) for name in names]
    return Schedule(candidates, Policy(**policy), board or HealthBoard(clock=lambda: world.now_s), world.effects)


async def tried(schedule: Schedule[None], *errors: Exception) -> list[str]:
    """Who is asked when each attempt fails with the next of these errors."""
    names = []
    for error in errors:
        candidate = await schedule.next()
        if candidate is None:
            break
        names.append(candidate.name)
        schedule.failed(error)
    return names


SERVER_ERROR = ProviderServerError("500")


async def test_a_retryable_error_is_retried_with_full_jitter_and_then_the_next_target_is_asked() -> None:
    world = World()
    schedule = make(world, "a", "b", max_retries=2, max_attempts=6, backoff_first_s=1.0)
    assert await tried(schedule, *[SERVER_ERROR] * 9) == ["a", "a", "a", "b", "b", "b"]
    assert world.slept == [0.5, 1.0, 0.5, 1.0]
    assert await schedule.next() is None


@pytest.mark.parametrize(
    "error",
    [
        ProviderAuthenticationError("401"),
        ProviderTimeout("slow", phase="first_token", limit_s=1),
        RuntimeError("foreign"),
        ProviderRateLimited("429", retry_after_s=11.0),
    ],
)
async def test_what_a_retry_would_not_mend_goes_to_the_next_target_at_once(error: Exception) -> None:
    world = World()
    assert await tried(make(world, "a", "b", max_retries=3), error, error) == ["a", "b"]
    assert world.slept == []


async def test_retry_after_is_waited_for_as_long_as_the_provider_says() -> None:
    world = World()
    schedule = make(world, "a", max_retries=1)
    assert await tried(schedule, ProviderRateLimited("429", retry_after_s=7.5), SERVER_ERROR) == ["a", "a"]
    assert world.slept == [7.5]


async def test_no_wait_outlasts_the_total_deadline() -> None:
    world = World()
    schedule = make(world, "a", "b", total_s=5.0, max_retries=1)
    assert await tried(schedule, ProviderRateLimited("429", retry_after_s=6.0), SERVER_ERROR) == ["a", "b"]
    assert world.slept == []


async def test_a_timer_that_rings_a_little_early_leaves_no_time_for_another_call() -> None:
    world = World()
    schedule = make(world, "first", "second", total_s=2.0)
    assert await schedule.next()
    world.now_s += 1.9995
    schedule.failed(SERVER_ERROR)
    assert await schedule.next() is None
    assert [attempt.provider for attempt in schedule.attempts] == ["first"]


async def test_after_the_total_deadline_nobody_is_asked() -> None:
    world = World()
    schedule = make(world, "a", "b", total_s=5.0)
    await schedule.next()
    world.now_s += 5.0
    schedule.failed(SERVER_ERROR)
    assert schedule.remaining_s == 0.0
    assert await schedule.next() is None


async def test_one_budget_of_attempts_holds_over_all_targets() -> None:
    """And a retry never takes the last attempt from a target that was not asked yet."""
    for max_attempts, asked in ((2, "ab"), (3, "abc"), (4, "aabc"), (5, "aabbc"), (9, "aabbcc")):
        schedule = make(World(), "a", "b", "c", max_attempts=max_attempts, max_retries=1)
        assert await tried(schedule, *[SERVER_ERROR] * 9) == list(asked)


async def test_retries_are_a_share_of_all_calls() -> None:
    """Ten retries are saved up; after that one call in five may be followed by one."""
    world = World()
    board = HealthBoard(BreakerLimits(min_failures=10_000), clock=lambda: world.now_s)
    calls = 0
    for _ in range(100):
        calls += len(await tried(make(world, "a", board=board, max_retries=1), SERVER_ERROR, SERVER_ERROR))
    assert 100 + 10 + 15 <= calls <= 100 + 10 + 21


async def test_an_open_breaker_is_passed_by_and_told() -> None:
    world = World()
    board = HealthBoard(BreakerLimits(min_failures=1, cool_down_s=30.0), clock=lambda: world.now_s)
    assert await tried(make(world, "a", board=board, max_retries=0), SERVER_ERROR) == ["a"]
    schedule = make(world, "a", "b", board=board)
    assert await tried(schedule, InvalidRequest("stop here")) == ["b"]
    paused = schedule.attempts[0]
    assert isinstance(paused.error, TargetPaused)
    assert (paused.provider, paused.error.retry_after_s) == ("a", 30.0)
    assert "asked again in 30 s" in str(paused.error)


async def test_only_what_says_that_a_target_is_unwell_counts_against_it() -> None:
    world = World()
    for error, circuit in (
        (ProviderOverloaded("503"), Circuit.OPEN),
        (ProviderTimeout("slow", phase="idle", limit_s=1), Circuit.OPEN),
        (ProviderRateLimited("429"), Circuit.CLOSED),
        (InvalidRequest("wrong"), Circuit.CLOSED),
    ):
        board = HealthBoard(BreakerLimits(min_failures=1), clock=lambda: world.now_s)
        await tried(make(world, "a", board=board, max_retries=0), error)
        assert board.of("a", None).breaker.circuit is circuit, error


async def test_the_last_target_keeps_the_total_deadline() -> None:
    schedule = make(World(), "a", "b", first_token_s=3.0)
    await schedule.next()
    assert schedule.first_token_s == 3.0
    schedule.failed(ProviderAuthenticationError("401"))
    await schedule.next()
    assert schedule.first_token_s is None


async def test_a_target_that_starts_slowly_has_a_deadline_of_its_own() -> None:
    candidates = [Candidate("local", None, slow_start=True), Candidate("b", None)]
    schedule = Schedule(candidates, Policy(first_token_s=3.0, slow_first_token_s=90.0))
    await schedule.next()
    assert schedule.first_token_s == 90.0


async def test_durations_run_from_the_call_and_leave_the_wait_out() -> None:
    world = World()
    schedule = make(world, "a", max_retries=1)
    await schedule.next()
    world.now_s += 0.25
    schedule.failed(SERVER_ERROR)
    await schedule.next()
    world.now_s += 0.5
    schedule.answered()
    assert [attempt.duration_ms for attempt in schedule.attempts] == [250, 500]
    assert world.slept == [0.25]


def test_backoff_grows_to_its_limit_and_chance_spreads_it() -> None:
    policy = Policy(backoff_first_s=0.5, backoff_limit_s=4.0)
    assert [backoff_s(retry, policy, lambda: 1.0) for retry in (1, 2, 3, 4, 5, 50)] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert backoff_s(3, policy, lambda: 0.0) == 0.0
