"""The calls of one request, in the order of their start: those under way, and what became of those that ended.

Decides nothing. The invariant: a call is told at most once, in the place of its start, however late its end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from waypost.errors import Attempt, Next, ProviderError
from waypost.gateway.breaker import TargetHealth
from waypost.gateway.candidate import Candidate

ProviderT = TypeVar("ProviderT")


@dataclass(frozen=True, slots=True)
class Call(Generic[ProviderT]):
    """One that was begun. `number` is its place among the others, by their start."""

    candidate: Candidate[ProviderT]
    health: TargetHealth
    number: int
    started_at: float


class Trail(Generic[ProviderT]):
    """One schedule's. `before` are the attempts of the schedule that it goes on from; times count from `born_at`."""

    def __init__(self, clock: Callable[[], float], born_at: float, before: tuple[Attempt, ...] = ()) -> None:
        self._clock = clock
        self._born_at = born_at
        self._before = before
        self._begun = 0
        self._ended: dict[int, Attempt] = {}

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Those that have ended, or begun to answer."""
        return (*self._before, *(self._ended[number] for number in sorted(self._ended)))

    def begin(self, candidate: Candidate[ProviderT], health: TargetHealth) -> Call[ProviderT]:
        """A call begins now."""
        self._begun += 1
        return Call(candidate, health, self._begun, self._clock())

    def end(self, call: Call[ProviderT], error: Exception | None, following: Next, wait_s: float = 0.0) -> None:
        """The call ended, or begins to answer; `wait_s` comes before what follows."""
        duration_ms = self._since_ms(call.started_at)
        self._ended[call.number] = Attempt(
            call.candidate.name,
            call.candidate.model,
            error,
            duration_ms,
            started_ms=round((call.started_at - self._born_at) * 1000),
            next=following,
            waited_ms=round(wait_s * 1000),
            first_token_ms=duration_ms if following == "answered" else None,
            key_label=error.key_label if isinstance(error, ProviderError) else None,
            way=call.candidate.way,
        )

    def over(self, call: Call[ProviderT], error: Exception | None, following: Next) -> None:
        """The answer that had begun is over."""
        self.change(call, error=error, duration_ms=self._since_ms(call.started_at), next=following)

    def left(self, call: Call[ProviderT]) -> None:
        """The caller left while the call was under way, or while its answer was."""
        ended = self._ended.get(call.number)
        if ended is None:
            self.end(call, None, "caller_left")
        elif ended.next == "answered" and ended.error is None:
            self.over(call, None, "caller_left")

    def change(self, call: Call[ProviderT], **changes: Any) -> None:
        """What turns out later of a call that is told."""
        ended = self._ended.get(call.number)
        if ended is not None:
            self._ended[call.number] = replace(ended, **changes)

    def _since_ms(self, then: float) -> int:
        return round((self._clock() - then) * 1000)
