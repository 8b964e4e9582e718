"""gateway/breaker.py: when a target is left alone, and how it comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.gateway.breaker import Breaker, BreakerLimits, Circuit, HealthBoard, RetryBudget


class Clock:
    """Seconds that move when the test says so."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock, **limits: float) -> Breaker:
    breaker = Breaker(BreakerLimits(**limits), clock)  # type: ignore[arg-type]
    for _ in range(5):
        assert breaker.admit()
        breaker.failed()
    assert breaker.circuit is Circuit.OPEN
    return breaker


def test_five_failures_of_the_last_calls_open_it_and_four_do_not(clock: Clock) -> None:
    breaker = Breaker(BreakerLimits(), clock)
    circuits = []
    for _ in range(5):
        breaker.failed()
        circuits.append(breaker.circuit)
    assert circuits == [*[Circuit.CLOSED] * 4, Circuit.OPEN]
    assert not breaker.admit()


def test_a_flapping_target_opens_it_although_no_two_failures_follow_each_other(clock: Clock) -> None:
    breaker = Breaker(BreakerLimits(), clock)
    for _ in range(5):
        breaker.succeeded()
        breaker.failed()
    assert breaker.circuit is Circuit.OPEN


def test_failures_among_many_successes_or_long_ago_do_not_open_it(clock: Clock) -> None:
    breaker = Breaker(BreakerLimits(), clock)
    for _ in range(10):
        for _ in range(3):
            breaker.succeeded()
        breaker.failed()
    assert breaker.circuit is Circuit.CLOSED

    breaker = Breaker(BreakerLimits(), clock)
    for _ in range(10):
        breaker.failed()
        clock.now_s += 20.0
    assert breaker.circuit is Circuit.CLOSED


def test_after_the_cool_down_one_probe_passes_and_a_second_caller_is_still_turned_away(clock: Clock) -> None:
    breaker = opened(clock, cool_down_s=10.0)
    clock.now_s += 9.9
    assert not breaker.admit()
    clock.now_s += 0.2
    assert breaker.circuit is Circuit.HALF_OPEN
    assert breaker.admit()
    assert not breaker.admit()
    assert breaker.retry_after_s > 0


def test_a_probe_that_succeeds_closes_it_with_a_clean_slate(clock: Clock) -> None:
    breaker = opened(clock, cool_down_s=10.0)
    clock.now_s += 10.0
    assert breaker.admit()
    breaker.succeeded()
    assert breaker.circuit is Circuit.CLOSED
    breaker.failed()
    assert breaker.admit()


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_the_limit(clock: Clock) -> None:
    breaker = opened(clock, cool_down_s=10.0, cool_down_limit_s=30.0)
    for pause_s in (20.0, 30.0, 30.0):
        clock.now_s += breaker.retry_after_s
        assert breaker.admit()
        breaker.failed()
        assert breaker.retry_after_s == pytest.approx(pause_s)


def test_late_failures_of_calls_under_way_do_not_make_the_pause_longer(clock: Clock) -> None:
    breaker = opened(clock, cool_down_s=10.0)
    clock.now_s += 5.0
    breaker.failed()
    assert breaker.retry_after_s == pytest.approx(5.0)


@pytest.mark.parametrize("how", ["released", "lost"])
def test_a_probe_that_says_nothing_makes_room_for_another(clock: Clock, how: str) -> None:
    breaker = opened(clock, cool_down_s=10.0, probe_s=60.0)
    clock.now_s += 10.0
    assert breaker.admit()
    if how == "released":
        breaker.released()
    else:
        assert not breaker.admit()
        clock.now_s += 60.0
    assert breaker.admit()
    assert not breaker.admit()


@given(st.lists(st.sampled_from(["ask", "succeeded", "failed", "released", "second", "minute"]), max_size=200))
def test_whatever_happens_at_most_one_call_passes_until_it_is_closed(steps: list[str]) -> None:
    clock = Clock()
    breaker = Breaker(BreakerLimits(min_failures=2, probe_s=1e9), clock)
    under_way = 0
    for step in steps:
        match step:
            case "ask":
                was_closed = breaker.circuit is Circuit.CLOSED
                if breaker.admit() and not was_closed:
                    under_way += 1
            case "second" | "minute":
                clock.now_s += 1.0 if step == "second" else 60.0
            case outcome:
                getattr(breaker, outcome)()
                under_way = 0
        assert under_way <= 1
        assert breaker.retry_after_s >= 0


def test_a_retry_budget_pays_one_retry_for_five_calls() -> None:
    budget = RetryBudget(share=0.2, reserve=2.0)
    budget._tokens = 0.0
    assert not budget.take()
    for _ in range(5):
        budget.called()
    assert budget.take()
    assert not budget.take()
    for _ in range(1000):
        budget.called()
    assert [budget.take() for _ in range(3)] == [True, True, False]


def test_the_board_keeps_one_health_for_a_target_and_stays_bounded() -> None:
    board = HealthBoard()
    assert board.of("a", "m") is board.of("a", "m")
    assert board.of("a", "m") is not board.of("a", "n")
    for number in range(10_050):
        board.of("a", f"model-{number}")
    assert len(board.circuits()) == 10_000
