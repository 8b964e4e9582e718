"""gateway/fallback.py: order, what is kept of failures, and where a stream may still fall back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from waypost.errors import (
    AllTargetsFailed,
    ContentPolicyViolation,
    IncompleteStream,
    InvalidRequest,
    ProviderOverloaded,
    ProviderRateLimited,
    WaypostError,
)
from waypost.gateway.fallback import Candidate, first_answer, first_stream, may_fall_back


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
    async def open(self) -> AsyncIterator[AsyncIterator[str]]:
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


def candidates(*scripts: Script) -> list[Candidate[Script]]:
    return [Candidate(f"p{number}", script, f"m{number}") for number, script in enumerate(scripts)]


async def answer(*scripts: Script) -> tuple[str, list[str]]:
    answered = await first_answer(candidates(*scripts), lambda candidate: candidate.provider.call())
    return answered.answer, [attempt.provider for attempt in answered.attempts]


def opened(*scripts: Script) -> AbstractAsyncContextManager[object]:
    return first_stream(candidates(*scripts), lambda candidate: candidate.provider.open(), lambda item: item != "start")


async def drain(*scripts: Script) -> list[str]:
    got = []
    async with first_stream(
        candidates(*scripts), lambda candidate: candidate.provider.open(), lambda item: item != "start"
    ) as answered:
        async for item in answered.answer:
            got.append(item)
    return got


OVERLOADED = ProviderOverloaded("busy")


async def test_the_first_that_answers_is_taken_and_the_attempts_before_it_are_kept() -> None:
    assert await answer(Script(error=OVERLOADED), Script(("b",)), Script(("c",))) == ("b", ["p0", "p1"])


async def test_all_failing_carries_each_error_in_order() -> None:
    errors = [OVERLOADED, RuntimeError("down"), ProviderRateLimited("slow")]
    with pytest.raises(AllTargetsFailed, match="^All AI providers failed") as caught:
        await answer(*(Script(error=error) for error in errors))
    assert [attempt.error for attempt in caught.value.attempts] == errors
    assert caught.value.errors == {"p0": errors[0], "p1": errors[1], "p2": errors[2]}
    for error in errors:
        assert str(error) in str(caught.value)


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
            candidates(broken, second), lambda candidate: candidate.provider.open(), lambda item: item != "start"
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


async def test_durations_come_from_the_clock() -> None:
    ticks = iter([1.0, 1.25, 2.0, 2.5])
    answered = await first_answer(
        candidates(Script(error=OVERLOADED), Script(("b",))),
        lambda candidate: candidate.provider.call(),
        clock=lambda: next(ticks),
    )
    assert [attempt.duration_ms for attempt in answered.attempts] == [250, 500]


def test_every_error_of_ours_says_whether_another_target_may_help() -> None:
    def walk(kind: type[WaypostError]) -> list[type[WaypostError]]:
        return [kind, *(grand for child in kind.__subclasses__() for grand in walk(child))]

    for kind in walk(WaypostError):
        assert isinstance(kind.fallback, bool), kind
        assert not (kind.retryable and not kind.fallback), f"{kind.__name__}: what may be retried may fall back"
    assert may_fall_back(RuntimeError("a foreign provider's"))
