"""The watch of a connection, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import cast

import pytest

from waypost.errors import ProviderTimeout
from waypost.transport.deadlines import KEEP_ALIVE_S, Deadlines, Watch


class Timer:
    def __init__(self, at: float, ring: Callable[[], None]) -> None:
        self.at = at
        self.ring = ring
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """What a Watch needs of a loop. `timers` are all that were ever set."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, ring: Callable[[], None], *, context: Context) -> Timer:
        assert not context, "a timer of a connection keeps nothing of the request that set it"
        self.timers.append(Timer(at, ring))
        return self.timers[-1]

    def pass_by(self, seconds: float) -> None:
        """Let time pass; timers ring when they are due."""
        until = self.now + seconds
        while True:
            due = [timer for timer in self.timers if not timer.cancelled and timer.at <= until]
            if not due:
                break
            timer = min(due, key=lambda timer: timer.at)
            timer.cancelled = True
            self.now = max(self.now, timer.at)
            timer.ring()
        self.now = until


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def expired() -> list[ProviderTimeout | None]:
    return []


@pytest.fixture
def watch(clock: Clock, expired: list[ProviderTimeout | None]) -> Watch:
    return Watch(cast("asyncio.AbstractEventLoop", clock), expired.append)


def phases(expired: list[ProviderTimeout | None]) -> list[str | None]:
    return [None if error is None else error.phase for error in expired]


def test_a_thousand_events_set_few_timers(clock: Clock, watch: Watch, expired: list[ProviderTimeout | None]) -> None:
    """20 s of a stream with an event every 20 ms: the timer is moved when it rings, not with the events."""
    watch.begin(Deadlines(), "host:1", clock.now + 600)
    for _ in range(1000):
        watch.wait("idle", 60)
        clock.pass_by(0.02)
        watch.relax()
    assert expired == []
    assert len(clock.timers) <= 20 / KEEP_ALIVE_S + 2


def test_many_short_exchanges_set_few_timers(clock: Clock, watch: Watch) -> None:
    for _ in range(1000):
        watch.begin(Deadlines(), "host:1", clock.now + 600)
        watch.wait("first_byte", 30)
        clock.pass_by(0.01)
        watch.relax()
        watch.rest()
        clock.pass_by(0.01)
    assert len(clock.timers) <= 20 / KEEP_ALIVE_S + 2


@pytest.mark.parametrize("pause_s", [0.0, 0.7, 20.0])
def test_idle_counts_from_the_beginning_of_a_wait(
    clock: Clock, watch: Watch, expired: list[ProviderTimeout | None], pause_s: float
) -> None:
    """However long the reader was busy before; and it is met exactly then."""
    watch.begin(Deadlines(idle_s=1), "host:1", clock.now + 600)
    watch.wait("idle", 1)
    clock.pass_by(0.5)
    watch.relax()
    clock.pass_by(pause_s)
    watch.wait("idle", 1)
    clock.pass_by(0.99)
    assert expired == []
    clock.pass_by(0.01)
    assert phases(expired) == ["idle"]
    assert str(expired[0]).startswith("host:1 sent nothing for 1 s in the middle of its answer.")


def test_the_total_ends_an_exchange_that_nobody_waits_for(
    clock: Clock, watch: Watch, expired: list[ProviderTimeout | None]
) -> None:
    watch.begin(Deadlines(total_s=40), "host:1", clock.now + 40)
    watch.wait("first_byte", None)
    watch.relax()
    assert watch.overdue() is None
    clock.pass_by(39.9)
    assert expired == []
    clock.pass_by(0.1)
    assert phases(expired) == ["total"]
    assert watch.overdue() is not None


def test_the_nearer_limit_is_met(clock: Clock, watch: Watch, expired: list[ProviderTimeout | None]) -> None:
    watch.begin(Deadlines(first_byte_s=2, total_s=9), "host:1", clock.now + 9)
    watch.wait("first_byte", 2)
    clock.pass_by(2)
    assert phases(expired) == ["first_byte"]


def test_a_rest_ends_after_its_time_whatever_the_exchange_allowed(
    clock: Clock, watch: Watch, expired: list[ProviderTimeout | None]
) -> None:
    """None is told then: no exchange has failed."""
    watch.begin(Deadlines(idle_s=None, total_s=None), "host:1", float("inf"))
    watch.wait("idle", None)
    clock.pass_by(1000)
    watch.relax()
    watch.rest()
    clock.pass_by(KEEP_ALIVE_S - 0.1)
    assert expired == []
    clock.pass_by(0.1)
    assert expired == [None]


def test_a_watch_that_was_stopped_rings_no_more(
    clock: Clock, watch: Watch, expired: list[ProviderTimeout | None]
) -> None:
    watch.begin(Deadlines(idle_s=1), "host:1", clock.now + 10)
    watch.wait("idle", 1)
    watch.stop()
    clock.pass_by(100)
    assert expired == []
