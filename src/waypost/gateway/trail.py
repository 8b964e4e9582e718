"""The calls of one request, in the order of their start: those under way, and what became of those that ended.

Decides nothing. The invariant: a call is told at most once, in the place of its start, however late its end. They are
put into `Attempt`s only when somebody asks: most requests are one call, which is noted twice and told once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from waypost.errors import Attempt, Next, ProviderError
from waypost.gateway.breaker import TargetHealth
from waypost.gateway.candidate import Candidate
from waypost.gateway.story import error_code
from waypost.ledger.billing import was_served
from waypost.ledger.books import Ending, Line
from waypost.ledger.records import AttemptOutcome

ProviderT = TypeVar("ProviderT")


@dataclass(slots=True)
class Call(Generic[ProviderT]):
    """One that was begun. `next` is what it led to; None: it is under way and has not begun to answer."""

    candidate: Candidate[ProviderT]
    health: TargetHealth
    started_at: float
    next: Next | None = None
    error: Exception | None = None
    ended_at: float = 0.0
    answered_at: float | None = None
    wait_s: float = 0.0
    key_label: str | None = None
    line: Line | None = None
    """The call's line in the books, if it is written down."""


class Trail(Generic[ProviderT]):
    """One schedule's. `before` are the attempts of the schedule that it goes on from; times count from `born_at`."""

    def __init__(self, clock: Callable[[], float], born_at: float, before: tuple[Attempt, ...] = ()) -> None:
        self._clock = clock
        self._born_at = born_at
        self._before = before
        self._calls: list[Call[ProviderT]] = []
        self._attempts: tuple[Attempt, ...] | None = before

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Those that have ended, or begun to answer."""
        if self._attempts is None:
            told = [self._attempt(call, call.next) for call in self._calls if call.next is not None]
            self._attempts = (*self._before, *told)
        return self._attempts

    def begin(self, candidate: Candidate[ProviderT], health: TargetHealth) -> Call[ProviderT]:
        """A call begins now."""
        call = Call(candidate, health, self._clock())
        self._calls.append(call)
        return call

    def end(self, call: Call[ProviderT], error: Exception | None, following: Next, wait_s: float = 0.0) -> None:
        """The call ended, or begins to answer; `wait_s` comes before what follows."""
        call.error, call.next, call.wait_s, call.ended_at = error, following, wait_s, self._clock()
        if following == "answered":
            call.answered_at = call.ended_at
        if isinstance(error, ProviderError):
            call.key_label = error.key_label
        self._attempts = None
        if following != "answered":
            self._close_line(call)

    def over(self, call: Call[ProviderT], error: Exception | None, following: Next) -> None:
        """The answer that had begun is over."""
        call.error, call.next, call.ended_at = error, following, self._clock()
        self._attempts = None
        self._close_line(call)

    def finished(self, call: Call[ProviderT]) -> None:
        """Its provider has finished, and nobody has seen the end yet."""
        self._close_line(call)

    def left(self, call: Call[ProviderT]) -> None:
        """The caller left while the call was under way, or while its answer was."""
        if call.next is None or (call.next == "answered" and call.error is None):
            self.over(call, None, "caller_left")

    def lead(self, call: Call[ProviderT], following: Next) -> None:
        """What a call that ended led to, where that turns out later."""
        call.next = following
        self._attempts = None

    def note_key(self, call: Call[ProviderT], key_label: str | None) -> None:
        """Which of its provider's keys went with the call."""
        if key_label is not None:
            call.key_label = key_label
            self._attempts = None

    def _close_line(self, call: Call[ProviderT]) -> None:
        line = call.line
        if line is None or line.is_closed:
            return
        error = call.error
        line.close(
            Ending(
                _outcome(error, call.next),
                # What has given a token was served, however it ended.
                call.answered_at is not None or was_served(error),
                None if error is None else error_code(error),
                None if call.answered_at is None else _ms(call.answered_at - call.started_at),
                call.key_label,
                call.candidate.way,
            )
        )

    def _attempt(self, call: Call[ProviderT], following: Next) -> Attempt:
        return Attempt(
            call.candidate.name,
            call.candidate.model,
            call.error,
            _ms(call.ended_at - call.started_at),
            _ms(call.started_at - self._born_at),
            following,
            _ms(call.wait_s),
            None if call.answered_at is None else _ms(call.answered_at - call.started_at),
            call.key_label,
            call.candidate.way,
            0 if call.line is None else call.line.number,
        )


def _outcome(error: Exception | None, following: Next | None) -> AttemptOutcome:
    if error is not None:
        return "failed"
    if following == "caller_left":
        return "caller_left"
    return "lost" if following in ("lost", "hedge") else "answered"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
