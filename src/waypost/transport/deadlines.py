"""The limits on time of one exchange, and the watch that holds it to them.

A phase's limit counts only while somebody waits, so a slow reader of a body is not taken for a slow provider: only
`total_s` counts the reader's time too. A wait costs a reading of the loop's clock; there is one timer a connection,
and it is moved only when a limit ends before it would ring.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from math import inf

from waypost.errors import Phase, ProviderTimeout

KEEP_ALIVE_S = 15.0
"""How long an unused connection stays in the pool. No timer is set for later than that, so that it ends in time."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Limits in seconds; None is no limit of that kind.

    `connect_s`: name lookup, TCP, TLS and a proxy's tunnel. `first_byte_s`: from the start of sending to the reply's
    headers. `idle_s`: between two chunks of a body. `total_s`: the whole exchange.
    """

    connect_s: float | None = 10.0
    first_byte_s: float | None = None
    idle_s: float | None = 60.0
    total_s: float | None = 600.0


_SENTENCES: dict[Phase, str] = {
    "connect": "No connection to {place} was made within {limit_s:g} s.",
    "first_byte": "{place} took the request and did not begin to answer within {limit_s:g} s.",
    "idle": "{place} sent nothing for {limit_s:g} s in the middle of its answer.",
    "total": "The exchange with {place} was not over after its limit of {limit_s:g} s.",
}
_HINTS: dict[Phase, str] = {
    "connect": "Check the address and the network on the way there.",
    "first_byte": "Raise first_byte_s if the model needs longer to begin.",
    "idle": "Raise idle_s if the model pauses for longer.",
    "total": "Raise total_s, stream the answer, or ask for a shorter one.",
}


def deadline_error(phase: Phase, limit_s: float | None, place: str) -> ProviderTimeout:
    """The error of a limit that was met."""
    limit_s = limit_s or 0.0
    sentence = _SENTENCES[phase].format(place=place, limit_s=limit_s)
    return ProviderTimeout(sentence, hint=_HINTS[phase], phase=phase, limit_s=limit_s)


class Watch:
    """The one timer of a connection, over all its exchanges and the rests between them.

    `expired` is called once with the error of the limit that was met, or with None at the end of a rest.
    """

    __slots__ = (
        "_deadlines",
        "_expired",
        "_loop",
        "_phase",
        "_phase_at",
        "_place",
        "_timer",
        "_timer_at",
        "_total_at",
        "time",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[ProviderTimeout | None], None]) -> None:
        self._loop = loop
        self._expired = expired
        self.time = loop.time
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._phase: Phase | None = None
        self._phase_at = inf
        self._total_at = inf
        self._place = ""
        self._deadlines = Deadlines()

    def begin(self, deadlines: Deadlines, place: str, total_at: float) -> None:
        """An exchange begins whose total ends at `total_at`, by the loop's clock."""
        self._deadlines = deadlines
        self._place = place
        self._total_at = total_at
        self._phase_at = inf

    def wait(self, phase: Phase, limit_s: float | None) -> None:
        """Somebody waits from now on, for at most `limit_s`."""
        self._phase = phase
        due = self._phase_at = inf if limit_s is None else self.time() + limit_s
        due = min(due, self._total_at)
        if due < self._timer_at:
            self._arm(due)

    def wait_on(self) -> None:
        """Something of a body came, and whoever waits waits on for more."""
        self.wait("idle", self._deadlines.idle_s)

    def relax(self) -> None:
        """Nobody waits any more: only the total counts."""
        self._phase_at = inf

    def resume(self) -> None:
        """A limit was met for which nobody waits any more: only the total counts, and the timer is set again."""
        self.relax()
        self._arm(self._total_at)

    def rest(self) -> None:
        """The exchange is over, and the connection waits for another one."""
        self._total_at = inf
        self.wait("idle", KEEP_ALIVE_S)
        self._phase = None

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def overdue(self) -> ProviderTimeout | None:
        """The error of an exchange over its total: a reader that never has to wait meets no timer."""
        if self.time() < self._total_at:
            return None
        return deadline_error("total", self._deadlines.total_s, self._place)

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = min(due, self.time() + KEEP_ALIVE_S)
        # In an empty context: it outlives the request that set it.
        self._timer = self._loop.call_at(self._timer_at, self._ring, context=Context())

    def _ring(self) -> None:
        self._timer = None
        self._timer_at = inf
        due = min(self._phase_at, self._total_at)
        if self.time() < due:
            self._arm(due)
            return
        self._expired(self._error(due))

    def _error(self, due: float) -> ProviderTimeout | None:
        if self._phase is None:
            return None
        phase = "total" if due == self._total_at else self._phase
        return deadline_error(phase, getattr(self._deadlines, f"{phase}_s"), self._place)
