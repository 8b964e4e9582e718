"""gateway/overload.py: when new requests are turned away, and when they are taken again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.gateway.overload import Admission, LagMeter, OverloadLimits

LIMITS = OverloadLimits(max_in_flight=10, resume_in_flight=7)


@dataclass
class Clock:
    """Seconds that move when the test says so."""

    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def full(clock: Clock, limits: OverloadLimits = LIMITS) -> Admission:
    admission = Admission(limits, clock)
    assert [admission.admit() for _ in range(limits.max_in_flight)] == [None] * limits.max_in_flight
    return admission


def test_at_the_limit_a_new_request_is_turned_away_and_does_not_count() -> None:
    admission = full(Clock())
    busy = admission.admit()
    assert busy is not None
    assert busy.http_status == 503
    assert "10 requests are in flight" in busy.message
    assert admission.in_flight == 10


def test_requests_are_taken_again_only_well_under_the_limit_and_then_up_to_it() -> None:
    admission = full(Clock())
    turned_away = []
    for _ in range(3):
        turned_away.append(admission.admit() is not None)
        admission.left()
    assert turned_away == [True] * 3
    assert [admission.admit() is None for _ in range(4)] == [True, True, True, False]


def test_a_resume_figure_at_the_limit_is_no_hole_in_it() -> None:
    admission = full(Clock(), OverloadLimits(max_in_flight=1, resume_in_flight=1))
    assert [admission.admit() is None for _ in range(3)] == [False] * 3


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 6), st.integers(0, 6))
def test_there_are_never_more_in_flight_than_the_limit_and_those_that_are_stay(
    arrivals: list[bool], most: int, resume: int
) -> None:
    admission = Admission(OverloadLimits(max_in_flight=most, resume_in_flight=min(most, resume)), Clock())
    inside = 0
    for arrives in arrivals:
        if arrives:
            inside += admission.admit() is None
        elif inside:
            admission.left()
            inside -= 1
        assert admission.in_flight == inside <= most


def late(admission: Admission, lag_s: float, times: int = 1) -> None:
    for _ in range(times):
        admission.measured(lag_s)


def test_a_loop_that_is_late_again_and_again_turns_requests_away_until_it_is_well_again() -> None:
    admission = Admission(LIMITS, Clock())
    assert admission.admit() is None
    late(admission, 0.8, times=4)
    assert admission.admit() is None
    late(admission, 0.8)
    busy = admission.admit()
    assert busy is not None
    assert "behind with its work" in busy.message
    late(admission, 0.0, times=7)
    assert 0.1 < admission.lag_s < 0.5
    assert admission.admit() is not None
    late(admission, 0.0)
    assert admission.admit() is None


def test_one_long_pause_of_the_loop_is_no_overload() -> None:
    admission = Admission(LIMITS, Clock())
    assert admission.admit() is None
    late(admission, 2.0)
    assert admission.admit() is None


def test_a_measurement_that_is_overdue_counts_before_it_comes() -> None:
    """After a long stall new requests are seen before the meter is: they must not slip in."""
    clock = Clock()
    admission = Admission(LIMITS, clock)
    assert admission.admit() is None
    admission.expects(clock.now_s + 0.1)
    clock.now_s += 3.0
    assert admission.lag_s == pytest.approx(0.2 * 2.9)
    assert admission.admit() is not None
    admission.unmeasured()
    assert admission.admit() is None


def test_with_nothing_in_flight_a_late_loop_turns_nobody_away() -> None:
    admission = Admission(LIMITS, Clock())
    late(admission, 5.0, times=20)
    assert admission.admit() is None
    assert admission.admit() is not None


def test_the_wait_that_is_asked_for_grows_while_it_lasts_and_has_a_limit() -> None:
    clock = Clock()
    admission = full(clock)
    waits_s = []
    for _ in range(5):
        busy = admission.admit()
        assert busy is not None
        waits_s.append(busy.retry_after_s)
        clock.now_s += 4.0
    assert waits_s == [1.0, 5.0, 9.0, 10.0, 10.0]
    for _ in range(3):
        admission.left()
    for _ in range(3):
        assert admission.admit() is None
    busy = admission.admit()
    assert busy is not None
    assert busy.retry_after_s == 1.0


def test_leaving_without_having_been_admitted_is_a_defect() -> None:
    with pytest.raises(RuntimeError):
        Admission(LIMITS, Clock()).left()


@pytest.mark.parametrize(
    "limits",
    [
        {"max_in_flight": 0, "resume_in_flight": 0},
        {"max_in_flight": 5, "resume_in_flight": 6},
        {"max_lag_s": 0.1, "resume_lag_s": 0.2},
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be|cannot be"):
        OverloadLimits(**limits)  # type: ignore[arg-type]


async def test_the_meter_sees_a_loop_that_is_held_up_and_forgets_it_when_stopped() -> None:
    admission = Admission(LIMITS)
    meter = LagMeter(admission, interval_s=0.005)
    meter.start()
    meter.start()
    try:
        time.sleep(0.05)  # noqa: ASYNC251  # this is what it must see
        await asyncio.sleep(0.001)
        assert admission.lag_s > 0.005
    finally:
        meter.stop()
    assert admission.lag_s == 0.0
    await asyncio.sleep(0.02)
    assert admission.lag_s == 0.0
