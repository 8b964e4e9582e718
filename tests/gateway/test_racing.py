"""gateway/racing.py within fallback.py: two calls for one answer or first token, and what is remembered of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.gateway.clock import settle

from waypost.errors import (
    AllTargetsFailed,
    Attempt,
    IncompleteStream,
    ProviderBadRequest,
    ProviderError,
    ProviderOverloaded,
    TargetPaused,
)
from waypost.gateway.balance import LatencyBoard
from waypost.gateway.breaker import BreakerLimits, Circuit, HealthBoard
from waypost.gateway.candidate import Candidate
from waypost.gateway.fallback import first_answer, first_stream
from waypost.gateway.hedge import HedgePolicy, HedgeTarget
from waypost.gateway.policy import Policy
from waypost.gateway.schedule import Effects, Hedging, Schedule

PATIENT = Policy(total_s=None, first_token_s=None, slow_first_token_s=None, max_retries=0)


@dataclass
class Target:
    """Answers when the test says `go`, or at once; `error` is raised instead. `log` is of all targets together."""

    name: str
    log: list[str]
    error: Exception | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self) -> str:
        self.log.append(f"{self.name} asked")
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.log.append(f"{self.name} cancelled")
            raise
        if self.error:
            raise self.error
        return self.name

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterable[str]]:
        try:
            yield self._items()
        finally:
            self.log.append(f"{self.name} closed")
            self.closed.set()

    async def _items(self) -> AsyncIterator[str]:
        yield "start"
        yield await self.call()
        yield "more"


class House:
    """Three targets behind one route that hedges; `late` is the end of the delay."""

    def __init__(self, policy: Policy = PATIENT, hedge: HedgePolicy | None = None, count: int = 3) -> None:
        self.log: list[str] = []
        self.targets = [Target(name, self.log) for name in "abcd"[:count]]
        self.late = asyncio.Event()
        self.board = HealthBoard(BreakerLimits(min_failures=1))
        self.candidates = [Candidate(target.name, target) for target in self.targets]
        self.schedule = Schedule(self.candidates, policy, self.board, Effects(sleep=self._sleep))
        self.schedule.hedging = Hedging(
            hedge or HedgePolicy(2.0), lambda candidate: HedgeTarget(candidate.name, None, worst_cost_micro_usd=100)
        )

    async def _sleep(self, _seconds: float) -> None:
        await self.late.wait()

    async def ask(self, streamed: bool) -> list[str]:
        if not streamed:
            return [(await first_answer(self.schedule, lambda candidate: candidate.provider.call())).answer]
        return await self.read()

    async def read(self) -> list[str]:
        async with first_stream(
            self.schedule, lambda candidate: candidate.provider.open(), lambda item: item != "start"
        ) as answered:
            return [item async for item in answered.answer]

    def start(self, streamed: bool) -> asyncio.Task[list[str]]:
        return asyncio.ensure_future(self.ask(streamed))

    def story(self) -> list[tuple[str, type[Exception] | None, str]]:
        told = self.schedule.attempts
        return [(each.provider, type(each.error) if each.error else None, each.next) for each in told]

    def circuit(self, name: str) -> Circuit:
        return self.board.of(name, None).breaker.circuit


BOTH = pytest.mark.parametrize("streamed", [False, True])
WHOLE: dict[bool, Any] = {False: lambda name: [name], True: lambda name: ["start", name, "more"]}


@BOTH
async def test_a_first_that_is_in_time_is_asked_alone(streamed: bool) -> None:
    house = House()
    house.targets[0].go.set()
    assert await house.ask(streamed) == WHOLE[streamed]("a")
    assert house.story() == [("a", None, "answered")]
    assert "b asked" not in house.log


@BOTH
async def test_a_second_that_is_faster_answers_and_the_first_is_ended_and_told(streamed: bool) -> None:
    house = House()
    running = house.start(streamed)
    house.late.set()
    await settle()
    assert house.log == ["a asked", "b asked"]
    house.targets[1].go.set()
    assert await running == WHOLE[streamed]("b")
    assert house.story() == [("a", None, "hedge"), ("b", None, "answered")]
    assert "a cancelled" in house.log
    assert house.log.count("a closed") == house.log.count("b closed") == int(streamed)
    assert house.schedule.calls == 2


@BOTH
async def test_a_first_that_is_faster_after_all_answers_and_the_second_is_told_as_lost(streamed: bool) -> None:
    house = House()
    running = house.start(streamed)
    house.late.set()
    await settle()
    house.targets[0].go.set()
    assert await running == WHOLE[streamed]("a")
    assert house.story() == [("a", None, "answered"), ("b", None, "lost")]
    assert "b cancelled" in house.log
    assert house.schedule.candidate.name == "a"


@BOTH
async def test_a_first_that_fails_while_the_second_is_under_way_waits_for_it(streamed: bool) -> None:
    house = House()
    house.targets[0].error = ProviderOverloaded("busy")
    running = house.start(streamed)
    house.late.set()
    await settle()
    house.targets[0].go.set()
    await settle()
    assert not running.done()
    house.targets[1].go.set()
    assert await running == WHOLE[streamed]("b")
    assert house.story() == [("a", ProviderOverloaded, "next_target"), ("b", None, "answered")]
    assert (house.circuit("a"), house.circuit("b")) == (Circuit.OPEN, Circuit.CLOSED)


@BOTH
async def test_a_second_that_fails_leaves_the_first_its_time(streamed: bool) -> None:
    house = House()
    house.targets[1].error = ProviderOverloaded("busy")
    house.targets[1].go.set()
    house.late.set()
    running = house.start(streamed)
    await settle()
    house.targets[0].go.set()
    assert await running == WHOLE[streamed]("a")
    assert house.story() == [("a", None, "answered"), ("b", ProviderOverloaded, "lost")]
    assert house.circuit("b") is Circuit.OPEN


@BOTH
async def test_when_both_fail_the_third_is_asked(streamed: bool) -> None:
    house = House()
    for target in house.targets:
        target.go.set()
    house.targets[0].go.clear()
    house.targets[0].error, house.targets[1].error = ProviderOverloaded("a is busy"), IncompleteStream("b is cut")
    house.late.set()
    running = house.start(streamed)
    await settle()
    house.targets[0].go.set()
    assert await running == WHOLE[streamed]("c")
    assert house.story() == [
        ("a", ProviderOverloaded, "next_target"),
        ("b", IncompleteStream, "next_target"),
        ("c", None, "answered"),
    ]


@BOTH
async def test_when_all_fail_every_error_is_told_in_the_order_of_the_calls(streamed: bool) -> None:
    house = House(count=2)
    house.late.set()
    for target in house.targets:
        target.error = ProviderOverloaded(f"{target.name} is busy")
    running = house.start(streamed)
    await settle()
    house.targets[1].go.set()
    await settle()
    house.targets[0].go.set()
    with pytest.raises(AllTargetsFailed) as caught:
        await running
    assert [str(each.error)[:9] for each in caught.value.attempts] == ["a is busy", "b is busy"]
    assert [each.next for each in caught.value.attempts] == ["next_target", "end"]


@BOTH
async def test_what_the_second_could_not_mend_either_is_raised_at_once(streamed: bool) -> None:
    house = House()
    house.targets[0].error = ProviderBadRequest("no such field")
    house.late.set()
    running = house.start(streamed)
    await settle()
    house.targets[0].go.set()
    with pytest.raises(ProviderBadRequest) as caught:
        await running
    assert [(each.provider, each.next) for each in caught.value.attempts] == [("a", "end"), ("b", "lost")]
    assert "b cancelled" in house.log


@BOTH
async def test_a_first_that_fails_before_the_delay_is_retried_as_ever(streamed: bool) -> None:
    house = House(replace(PATIENT, max_retries=1, backoff_limit_s=0.0))
    house.targets[0].error = ProviderOverloaded("busy")
    house.targets[0].go.set()
    house.targets[1].go.set()
    running = house.start(streamed)
    assert await running == WHOLE[streamed]("b")
    assert [each.next for each in house.schedule.attempts] == ["retry", "next_target", "answered"]


@BOTH
async def test_a_caller_who_leaves_ends_both_and_says_nothing_about_either(streamed: bool) -> None:
    house = House()
    house.late.set()
    running = house.start(streamed)
    await settle()
    assert house.log == ["a asked", "b asked"]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 1)
    assert {"a cancelled", "b cancelled"} <= set(house.log)
    assert house.log.count("a closed") == house.log.count("b closed") == int(streamed)
    assert [each[2] for each in house.story()] == ["caller_left", "caller_left"]
    assert (house.circuit("a"), house.circuit("b")) == (Circuit.CLOSED, Circuit.CLOSED)


@BOTH
async def test_a_second_whose_breaker_has_opened_meanwhile_is_not_asked(streamed: bool) -> None:
    house = House()
    running = house.start(streamed)
    await settle()
    house.board.of("b", None).breaker.failed()
    house.late.set()
    await settle()
    assert house.log == ["a asked"]
    house.targets[0].go.set()
    assert await running == WHOLE[streamed]("a")
    assert house.story() == [("a", None, "answered")]
    assert house.schedule.calls == 1


async def test_a_first_that_fails_beside_a_second_that_was_not_asked_goes_on_by_the_schedule() -> None:
    house = House()
    house.targets[0].error = ProviderOverloaded("busy")
    house.targets[2].go.set()
    running = house.start(False)
    await settle()
    house.board.of("b", None).breaker.failed()
    house.late.set()
    await settle()
    house.targets[0].go.set()
    assert await running == ["c"]
    assert house.story() == [
        ("a", ProviderOverloaded, "next_target"),
        ("b", TargetPaused, "next_target"),
        ("c", None, "answered"),
    ]


@pytest.mark.parametrize(
    ("policy", "hedge"),
    [
        (PATIENT, HedgePolicy()),
        (PATIENT, HedgePolicy(2.0, cost_limit_micro_usd=99)),
        (replace(PATIENT, max_attempts=1), HedgePolicy(2.0)),
        (replace(PATIENT, total_s=1.5), HedgePolicy(2.0)),
    ],
)
async def test_without_the_wish_the_money_the_attempts_or_the_time_there_is_no_second(
    policy: Policy, hedge: HedgePolicy
) -> None:
    house = House(policy, hedge)
    house.late.set()
    running = house.start(False)
    await settle()
    house.targets[0].go.set()
    assert await running == ["a"]
    assert house.log == ["a asked"]


async def test_a_request_is_hedged_once() -> None:
    """After two calls that failed together, the third target is asked alone, however long it takes."""
    house = House(count=4)
    house.late.set()
    house.targets[0].error = house.targets[1].error = ProviderOverloaded("busy")
    running = house.start(False)
    await settle()
    house.targets[0].go.set()
    house.targets[1].go.set()
    await settle()
    assert house.log == ["a asked", "b asked", "c asked"]
    house.targets[2].go.set()
    assert await running == ["c"]


async def test_a_second_target_that_is_asked_alone_has_the_third_beside_it() -> None:
    house = House()
    house.targets[0].error = ProviderOverloaded("busy")
    house.targets[0].go.set()
    running = house.start(False)
    await settle()
    house.late.set()
    await settle()
    assert house.log == ["a asked", "b asked", "c asked"]
    house.targets[2].go.set()
    assert await running == ["c"]
    assert [each[2] for each in house.story()] == ["next_target", "hedge", "answered"]


async def test_the_second_keeps_the_total_deadline_if_it_is_the_last() -> None:
    """The first gives no token in its time; the last target has all of the time that is left."""
    house = House(replace(PATIENT, first_token_s=0.05), count=2)
    house.late.set()
    running = house.start(True)
    await asyncio.wait_for(house.targets[0].closed.wait(), 5)
    assert house.schedule.first_token_s_of(house.candidates[0]) == 0.05
    assert house.schedule.first_token_s_of(house.candidates[1]) is None
    assert not running.done()
    house.targets[1].go.set()
    assert await running == ["start", "b", "more"]
    first: Attempt = house.schedule.attempts[0]
    assert isinstance(first.error, ProviderError)
    assert (first.error.code, first.next) == ("provider_timeout", "next_target")


async def test_a_hedged_stream_that_breaks_counts_against_whoever_gave_it() -> None:
    house = House()
    house.late.set()

    async def broken(self: Target) -> AsyncIterator[str]:
        yield await self.call()
        raise IncompleteStream("cut")

    house.targets[1]._items = lambda: broken(house.targets[1])  # type: ignore[method-assign]
    house.targets[1].go.set()
    with pytest.raises(IncompleteStream):
        await house.read()
    assert house.story() == [("a", None, "hedge"), ("b", IncompleteStream, "end")]
    assert (house.circuit("a"), house.circuit("b")) == (Circuit.CLOSED, Circuit.OPEN)


async def test_a_first_that_was_outrun_is_remembered_as_at_least_so_slow() -> None:
    """Else it would stay the fastest by what was known of it, and cost a second call each time."""
    house = House()
    board: LatencyBoard[tuple[str, str | None]] = LatencyBoard()
    house.schedule.latencies = board
    board.answered(("a", None), 0.0)
    house.late.set()
    house.targets[1].go.set()
    await house.ask(False)
    known = board.latencies()
    assert all((known[name, None] or 0) > 0 for name in "ab")
