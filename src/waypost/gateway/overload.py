"""Admission: may a new request come in, or is this process itself overloaded? In memory, no I/O.

Two signs count: how many requests are in flight, and how late the event loop is. The invariant: only new requests are
turned away, never one that was admitted; and once it turns requests away it goes on until the load is well under the
limit, so that it does not flap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from waypost.errors import ServerBusy


@dataclass(frozen=True, slots=True)
class OverloadLimits:
    """Requests are turned away from a limit on, and taken again at or under its `resume` figure.

    Lag is in seconds, smoothed: `lag_weight` is how much each new measurement counts, so that one long pause of the
    loop is no overload, but a row of short ones is.
    """

    max_in_flight: int = 4_000
    resume_in_flight: int = 3_600
    max_lag_s: float = 0.5
    resume_lag_s: float = 0.1
    lag_weight: float = 0.2
    retry_after_s: float = 1.0
    retry_after_limit_s: float = 10.0

    def __post_init__(self) -> None:
        """Raises ValueError if nothing could ever come in, or a resume figure is over its limit."""
        if self.max_in_flight < 1:
            raise ValueError("max_in_flight must be at least 1")
        if self.resume_in_flight > self.max_in_flight or self.resume_lag_s > self.max_lag_s:
            raise ValueError("requests cannot be taken again at a higher load than that which turns them away")


class Admission:
    """Ask `admit` for each new request; one that was admitted says `left` when it is over. `clock` is in seconds."""

    def __init__(self, limits: OverloadLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits or OverloadLimits()
        """May be changed at any time."""
        self.clock = clock
        self._in_flight = 0
        self._lag_s = 0.0
        self._due_at: float | None = None
        self._crowded = False
        self._lagging = False
        self._turning_away_since: float | None = None

    @property
    def in_flight(self) -> int:
        """Requests that were admitted and have not left."""
        return self._in_flight

    @property
    def lag_s(self) -> float:
        """How late the loop is, smoothed; a measurement that is overdue counts as if it came now."""
        overdue_s = 0.0 if self._due_at is None else self.clock() - self._due_at
        return self._smoothed(overdue_s) if overdue_s > self._lag_s else self._lag_s

    def admit(self) -> ServerBusy | None:
        """None: the request is in, and must leave. Else the error to answer it with, which says when to ask again."""
        limits = self.limits
        held = self._crowded and self._in_flight > limits.resume_in_flight
        self._crowded = held or self._in_flight >= limits.max_in_flight
        self._lagging = self.lag_s > (limits.resume_lag_s if self._lagging else limits.max_lag_s)
        # With nothing in flight, turning a request away could not relieve anything.
        if self._in_flight and (self._crowded or self._lagging):
            return self._busy()
        self._turning_away_since = None
        self._in_flight += 1
        return None

    def left(self) -> None:
        """An admitted request is over, however it ended. Raises RuntimeError if none is in flight."""
        if not self._in_flight:
            raise RuntimeError("more requests left than were admitted")
        self._in_flight -= 1

    def expects(self, due_at: float) -> None:
        """A measurement is due then, by the clock."""
        self._due_at = due_at

    def measured(self, lag_s: float) -> None:
        """The loop came so late to the measurement that was due."""
        self._lag_s = self._smoothed(max(0.0, lag_s))
        self._due_at = None

    def unmeasured(self) -> None:
        """Nobody measures any more: how late the loop is counts no longer."""
        self._lag_s, self._due_at = 0.0, None

    def _smoothed(self, lag_s: float) -> float:
        return self._lag_s + self.limits.lag_weight * (lag_s - self._lag_s)

    def _busy(self) -> ServerBusy:
        now = self.clock()
        since = self._turning_away_since = now if self._turning_away_since is None else self._turning_away_since
        # The longer it has lasted, the longer it will: callers who come back at once would only make it last.
        wait_s = min(self.limits.retry_after_limit_s, self.limits.retry_after_s + now - since)
        reason = f"{self._in_flight} requests are in flight" if self._crowded else "it is behind with its work"
        return ServerBusy(
            f"This server is overloaded: {reason}.",
            hint=f"Ask again in {wait_s:.0f} s, or run another server beside it.",
            retry_after_s=wait_s,
        )


class LagMeter:
    """Tells an admission how late the loop is: a callback that is due every `interval_s` looks when it is called."""

    def __init__(
        self, admission: Admission, interval_s: float = 0.1, observe: Callable[[float], None] | None = None
    ) -> None:
        self._admission = admission
        self._observe = observe
        """Told of each measurement, in seconds."""
        self._interval_s = interval_s
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure the running loop; nothing if it is measured already."""
        if self._timer is None:
            self._expect(self._admission.clock())

    def stop(self) -> None:
        """Measure no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._admission.unmeasured()

    def _expect(self, now: float) -> None:
        due_at = now + self._interval_s
        self._admission.expects(due_at)
        self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._measure, due_at)

    def _measure(self, due_at: float) -> None:
        now = self._admission.clock()
        self._admission.measured(now - due_at)
        if self._observe is not None:
            self._observe(now - due_at)
        self._expect(now)
