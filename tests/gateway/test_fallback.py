"""gateway/fallback.py: order, what is kept of failures, and where a stream may still fall back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from waypost.errors import (
    AllTargetsFailed,
    ContentPolicyViolation,
    IncompleteStream,
    InvalidRequest,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderTimeout,
    WaypostError,
)
from waypost.gateway.breaker import BreakerLimits, Circuit, HealthBoard
from waypost.gateway.candidate import Candidate
from waypost.gateway.fallback import first_answer, first_stream
from waypost.gateway.policy import NO_RETRIES, Policy
from waypost.gateway.schedule import Schedule, may_fall_back


@dataclass
class Script:
    """What one candidate gives: items, then perhaps an error."""

    items: tuple[str, ...] = ()
    error: Exception | None = None
    events: list[str] = field(default_factory=list)

    async def call(self) -> str:
        if self.error:
            raise self.error
        return "".join(self.items)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AsyncIterable[str]]:
        self.events.append("opened")
        try:
            yield self._items()
        finally:
            self.events.append("closed")

    async def _items(self) -> AsyncIterator[str]:
        for item in self.items:
            yield item
        if self.error:
            raise self.error


def schedule(*scripts: Script) -> Schedule[Script]:
    return Schedule([Candidate(f"p{number}", script, f"m{number}") for number, script in enumerate(scripts)])


async def answer(*scripts: Script) -> tuple[str, list[str]]:
    answered = await first_answer(schedule(*scripts), lambda candidate: candidate.provider.call())
    return answered.answer, [attempt.provider for attempt in answered.attempts]


def opened(*scripts: Script) -> AbstractAsyncContextManager[object]:
    return first_stream(schedule(*scripts), lambda candidate: candidate.provider.open(), lambda item: item != "start")


async def drain(*scripts: Script) -> list[str]:
    got = []
    async with first_stream(
        schedule(*scripts), lambda candidate: candidate.provider.open(), lambda item: item != "start"
    ) as answered:
        async for item in answered.answer:
            got.append(item)
    return got


class Silent(Script):
    """Gives its items and then nothing, for ever."""

    async def call(self) -> str:
        await asyncio.Event().wait()
        return ""

    async def _items(self) -> AsyncIterator[str]:
        for item in self.items:
            yield item
        await asyncio.Event().wait()


OVERLOADED = ProviderOverloaded("busy")


async def test_the_first_that_answers_is_taken_and_the_attempts_before_it_are_kept() -> None:
    assert await answer(Script(error=OVERLOADED), Script(("b",)), Script(("c",))) == ("b", ["p0", "p1"])


async def test_all_failing_carries_each_error_in_order() -> None:
    errors = [OVERLOADED, RuntimeError("down"), ProviderRateLimited("slow")]
    with pytest.raises(AllTargetsFailed, match="^All AI providers failed") as caught:
        await answer(*(Script(error=error) for error in errors))
    assert [attempt.error for attempt in caught.value.attempts] == errors
    assert caught.value.errors == {"p0": errors[0], "p1": errors[1], "p2": errors[2]}
    assert caught.value.message == "All AI providers failed: p0: busy; p1: down; p2: slow."
    assert caught.value.hint.count("another target") == 2


async def test_no_candidates_is_said_so() -> None:
    with pytest.raises(AllTargetsFailed, match="none is configured"):
        await answer()


@pytest.mark.parametrize("error", [InvalidRequest("wrong"), ContentPolicyViolation("no")])
async def test_what_no_other_target_could_mend_is_raised_at_once(error: WaypostError) -> None:
    second = Script(("b",))
    with pytest.raises(type(error)):
        await answer(Script(error=error), second)
    with pytest.raises(type(error)):
        await drain(Script(error=error), second)
    assert second.events == []


async def test_a_stream_falls_back_before_its_first_token_and_what_it_held_back_is_dropped() -> None:
    broken = Script(("start",), error=OVERLOADED)
    assert await drain(broken, Script(("start", "b", "c"))) == ["start", "b", "c"]
    assert broken.events == ["opened", "closed"]


async def test_a_stream_that_breaks_after_its_first_token_is_not_begun_again_elsewhere() -> None:
    broken, second = Script(("start", "a"), error=IncompleteStream("cut")), Script(("b",))
    got = []
    with pytest.raises(IncompleteStream):
        async with first_stream(
            schedule(broken, second), lambda candidate: candidate.provider.open(), lambda item: item != "start"
        ) as answered:
            async for item in answered.answer:
                got.append(item)
    assert got == ["start", "a"]
    assert second.events == []
    assert broken.events == ["opened", "closed"]


async def test_a_stream_that_ends_well_without_a_token_is_an_answer() -> None:
    assert await drain(Script(("start",)), Script(("b",))) == ["start"]


async def test_leaving_early_closes_the_stream_that_was_chosen() -> None:
    script = Script(("start", "a", "b"))
    async with opened(script):
        assert script.events == ["opened"]
    assert script.events == ["opened", "closed"]


async def test_the_callers_error_inside_the_block_is_not_an_attempt() -> None:
    second = Script(("b",))
    with pytest.raises(KeyError):
        async with opened(Script(("a",)), second):
            raise KeyError("the caller's own")
    assert second.events == []


async def test_a_stream_without_a_first_token_in_time_falls_back_at_once() -> None:
    """The same target is not asked again; the last target keeps the total deadline."""
    slow: Script = Silent()
    second = Script(("start", "b"))
    impatient = Policy(first_token_s=0.05, max_retries=3)
    got = []
    async with first_stream(
        Schedule([Candidate("slow", slow), Candidate("second", second)], impatient),
        lambda candidate: candidate.provider.open(),
        lambda item: item != "start",
    ) as answered:
        async for item in answered.answer:
            got.append(item)
    assert got == ["start", "b"]
    first, last = answered.attempts
    assert isinstance(first.error, ProviderTimeout)
    assert (first.error.phase, first.error.limit_s, last.error) == ("first_token", 0.05, None)
    assert slow.events == ["opened", "closed"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_total_deadline_ends_the_request_whoever_is_asked(streamed: bool) -> None:
    silent = Silent()
    made = Schedule([Candidate("silent", silent)], Policy(total_s=0.05))
    with pytest.raises(AllTargetsFailed) as caught:
        if streamed:
            async with first_stream(made, lambda candidate: candidate.provider.open(), lambda _item: True):
                pass
        else:
            await first_answer(made, lambda candidate: candidate.provider.call())
    (attempt,) = caught.value.attempts
    assert isinstance(attempt.error, ProviderTimeout)
    assert attempt.error.phase == "total"
    assert caught.value.http_status == 504


async def test_the_total_deadline_also_ends_a_stream_in_the_middle() -> None:
    silent = Silent(("a",))
    got = []
    with pytest.raises(ProviderTimeout) as caught:
        async with first_stream(
            Schedule([Candidate("silent", silent)], Policy(total_s=0.05)),
            lambda candidate: candidate.provider.open(),
            lambda _item: True,
        ) as answered:
            async for item in answered.answer:
                got.append(item)
    assert (got, caught.value.phase, silent.events) == (["a"], "total", ["opened", "closed"])


async def test_a_timeout_of_the_providers_own_is_not_taken_for_ours() -> None:
    own = TimeoutError("mine")
    with pytest.raises(AllTargetsFailed) as caught:
        await answer(Script(error=own))
    assert caught.value.attempts[0].error is own


async def test_a_broken_stream_counts_against_its_target_and_leaving_does_not() -> None:
    board = HealthBoard(BreakerLimits(min_failures=1))
    broken = Script(("a",), error=IncompleteStream("cut"))
    for consume, circuit in ((False, Circuit.CLOSED), (True, Circuit.OPEN)):
        with suppress(IncompleteStream):
            async with first_stream(
                Schedule([Candidate("p", broken)], NO_RETRIES, board),
                lambda candidate: candidate.provider.open(),
                lambda _item: True,
            ) as answered:
                await anext(answered.answer)
                if consume:
                    await anext(answered.answer)
        assert board.of("p", None).breaker.circuit is circuit


def test_every_error_of_ours_says_whether_another_target_may_help() -> None:
    def walk(kind: type[WaypostError]) -> list[type[WaypostError]]:
        return [kind, *(grand for child in kind.__subclasses__() for grand in walk(child))]

    for kind in walk(WaypostError):
        assert isinstance(kind.fallback, bool), kind
        assert not (kind.retryable and not kind.fallback), f"{kind.__name__}: what may be retried may fall back"
    assert may_fall_back(RuntimeError("a foreign provider's"))
