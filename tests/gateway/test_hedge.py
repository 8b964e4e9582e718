"""gateway/hedge.py: when a second call is made beside the first, and how a race ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from waypost.errors import ProviderBadRequest, ProviderError, ProviderOverloaded
from waypost.gateway.hedge import (
    BothFailed,
    HedgePolicy,
    HedgeTarget,
    Raced,
    RaceRules,
    hedge_decision,
    race,
)

POLICY = HedgePolicy(hedge_after_s=2.0, cost_limit_micro_usd=500)
FIRST = HedgeTarget("openai", "m", worst_cost_micro_usd=9_999)
SECOND = HedgeTarget("anthropic", "n", worst_cost_micro_usd=500)


def test_within_all_bounds_the_second_starts_after_the_delay() -> None:
    assert hedge_decision(POLICY, FIRST, SECOND, attempts_left=1, remaining_s=2.1).delay_s == 2.0
    no_limit = HedgePolicy(hedge_after_s=0.0)
    assert hedge_decision(no_limit, FIRST, replace(SECOND, worst_cost_micro_usd=None), 1).delay_s == 0.0


@pytest.mark.parametrize(
    ("policy", "first", "second", "attempts_left", "remaining_s", "reason"),
    [
        (HedgePolicy(), FIRST, SECOND, 3, None, "the route does not hedge"),
        (POLICY, FIRST, None, 3, None, "no other target"),
        (POLICY, FIRST, replace(FIRST, worst_cost_micro_usd=1), 3, None, "no other target"),
        (POLICY, FIRST, replace(SECOND, is_local=True), 3, None, "local"),
        (POLICY, replace(FIRST, is_local=True), SECOND, 3, None, "local"),
        (POLICY, FIRST, SECOND, 0, None, "no attempt"),
        (POLICY, FIRST, SECOND, 3, 2.0, "deadline"),
        (POLICY, FIRST, replace(SECOND, worst_cost_micro_usd=501), 3, None, "cost"),
        (POLICY, FIRST, replace(SECOND, worst_cost_micro_usd=None), 3, None, "cost"),
    ],
)
def test_each_bound_alone_forbids_it(
    policy: HedgePolicy,
    first: HedgeTarget,
    second: HedgeTarget | None,
    attempts_left: int,
    remaining_s: float | None,
    reason: str,
) -> None:
    decision = hedge_decision(policy, first, second, attempts_left, remaining_s)
    assert decision.delay_s is None
    assert reason in decision.reason


@dataclass
class Call:
    """One call whose end the test decides. Its result is itself, opened, until it is closed."""

    name: str
    outcome: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    hang_up: asyncio.Event | None = None
    """What ending it waits for after it was cancelled."""
    answers_anyway: bool = False
    """It was answered in the instant in which it was cancelled."""
    started: bool = False
    cancelled: bool = False
    opened: bool = False

    async def open(self) -> Call:
        self.started = True
        try:
            await self.outcome
        except asyncio.CancelledError:
            self.cancelled = True
            if self.hang_up is not None:
                await self.hang_up.wait()
            if not self.answers_anyway:
                raise
        self.opened = True
        return self


@dataclass
class Scene:
    """A race of two calls, and the delay before the second."""

    first: Call = field(default_factory=lambda: Call("first"))
    second: Call = field(default_factory=lambda: Call("second"))
    delay_over: asyncio.Event = field(default_factory=asyncio.Event)
    delays_s: list[float] = field(default_factory=list)

    @property
    def started(self) -> list[str]:
        return [call.name for call in (self.first, self.second) if call.started]

    async def sleep(self, seconds: float) -> None:
        self.delays_s.append(seconds)
        await self.delay_over.wait()

    async def close(self, call: Call) -> None:
        # Closing takes a turn of the loop, as hanging up does.
        await asyncio.sleep(0)
        call.opened = False

    def run(self, delay_s: float = 2.0) -> asyncio.Task[Raced[Call]]:
        rules = RaceRules(
            close=self.close,
            is_worth_another=lambda error: isinstance(error, ProviderError) and error.fallback,
            sleep=self.sleep,
        )
        return asyncio.ensure_future(race(self.first.open(), self.second.open, delay_s, rules))


async def turns() -> None:
    """Let the loop do all that it can."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Afterwards no task may be left but the test's own."""
    before = asyncio.all_tasks()
    yield Scene()
    assert asyncio.all_tasks() - before <= {asyncio.current_task()}


async def test_a_first_that_answers_before_the_delay_is_alone(scene: Scene) -> None:
    running = scene.run(2.0)
    await turns()
    scene.first.outcome.set_result(None)
    assert await running == Raced(scene.first, 0, was_hedged=False)
    assert scene.delays_s == [2.0]
    assert (scene.first.opened, scene.second.started) == (True, False)


async def test_after_the_delay_the_second_starts_and_may_win_and_the_first_is_ended(scene: Scene) -> None:
    running = scene.run()
    await turns()
    assert scene.started == ["first"]
    scene.delay_over.set()
    await turns()
    assert scene.started == ["first", "second"]
    scene.second.outcome.set_result(None)
    raced = await running
    assert (raced.result, raced.winner, raced.was_hedged, raced.errors) == (scene.second, 1, True, (None, None))
    assert (scene.first.cancelled, scene.first.opened, scene.second.opened) == (True, False, True)


async def test_after_the_delay_the_first_may_still_win(scene: Scene) -> None:
    scene.delay_over.set()
    running = scene.run()
    await turns()
    scene.first.outcome.set_result(None)
    raced = await running
    assert (raced.result, raced.winner, raced.was_hedged) == (scene.first, 0, True)
    assert (scene.second.cancelled, scene.second.opened) == (True, False)


async def test_of_two_that_answer_at_once_one_wins_and_the_other_s_result_is_closed(scene: Scene) -> None:
    scene.delay_over.set()
    running = scene.run()
    await turns()
    scene.first.outcome.set_result(None)
    scene.second.outcome.set_result(None)
    assert (await running).result is scene.first
    assert (scene.first.opened, scene.second.opened) == (True, False)


async def test_a_loser_that_answers_while_it_is_cancelled_is_closed(scene: Scene) -> None:
    scene.first.answers_anyway = True
    scene.delay_over.set()
    running = scene.run()
    await turns()
    scene.second.outcome.set_result(None)
    assert (await running).result is scene.second
    assert (scene.first.cancelled, scene.first.opened, scene.second.opened) == (True, False, True)


async def test_when_the_first_fails_the_second_starts_at_once(scene: Scene) -> None:
    error = ProviderOverloaded("busy")
    running = scene.run()
    await turns()
    scene.first.outcome.set_exception(error)
    await turns()
    assert scene.second.started
    scene.second.outcome.set_result(None)
    raced = await running
    assert (raced.winner, raced.was_hedged, raced.errors) == (1, True, (error, None))


@pytest.mark.parametrize("hedged", [False, True])
async def test_what_another_could_not_mend_is_raised_at_once(scene: Scene, hedged: bool) -> None:
    if hedged:
        scene.delay_over.set()
    running = scene.run()
    await turns()
    scene.first.outcome.set_exception(ProviderBadRequest("no"))
    with pytest.raises(ProviderBadRequest):
        await running
    assert (scene.second.started, scene.second.cancelled) == (hedged, hedged)


async def test_a_second_that_fails_leaves_the_first_to_answer(scene: Scene) -> None:
    """Even by an error that no other could mend: that is about the second's own reading of the request."""
    error = ProviderBadRequest("no")
    scene.delay_over.set()
    running = scene.run()
    await turns()
    scene.second.outcome.set_exception(error)
    await turns()
    assert not running.done()
    scene.first.outcome.set_result(None)
    raced = await running
    assert (raced.winner, raced.errors) == (0, (None, error))


async def test_when_both_fail_both_errors_are_told(scene: Scene) -> None:
    errors = (ProviderOverloaded("one"), ProviderOverloaded("two"))
    scene.delay_over.set()
    running = scene.run()
    await turns()
    scene.second.outcome.set_exception(errors[1])
    await turns()
    scene.first.outcome.set_exception(errors[0])
    with pytest.raises(BothFailed) as raised:
        await running
    assert raised.value.errors == errors


@pytest.mark.parametrize("hedged", [False, True])
async def test_a_caller_who_leaves_ends_both_calls(scene: Scene, hedged: bool) -> None:
    if hedged:
        scene.delay_over.set()
    running = scene.run()
    await turns()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (scene.first.cancelled, scene.second.cancelled) == (True, hedged)


async def test_a_caller_who_leaves_while_the_loser_hangs_up_takes_the_winner_s_result_with_him(scene: Scene) -> None:
    """However often he is cancelled: both are closed before the cancellation passes."""
    scene.first.hang_up = asyncio.Event()
    scene.delay_over.set()
    running = scene.run()
    await turns()
    scene.second.outcome.set_result(None)
    await turns()
    assert scene.first.cancelled
    for _ in range(3):
        running.cancel()
        await turns()
        assert not running.done()
    scene.first.hang_up.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (scene.first.opened, scene.second.opened) == (False, False)


async def test_a_timeout_around_a_race_is_a_timeout(scene: Scene) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await scene.run()
    assert scene.first.cancelled


async def test_a_loser_that_cannot_be_closed_is_reported_and_does_not_take_the_answer_away(scene: Scene) -> None:
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    scene.first.answers_anyway = True
    scene.delay_over.set()

    async def close(call: Call) -> None:
        raise ConnectionResetError

    rules = RaceRules(close=close, sleep=scene.sleep)
    running = asyncio.ensure_future(race(scene.first.open(), scene.second.open, 1.0, rules))
    await turns()
    scene.second.outcome.set_result(None)
    assert (await running).result is scene.second
    assert [type(context["exception"]) for context in told] == [ConnectionResetError]


async def test_by_the_real_clock() -> None:
    async def slow() -> str:
        await asyncio.sleep(10)
        return "slow"

    async def quick() -> str:
        return "quick"

    assert await race(slow(), quick, 0.02) == Raced("quick", 1, was_hedged=True)
