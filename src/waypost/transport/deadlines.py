"""The limits on time of one exchange, and the clock that holds it to them.

A limit is set around single waits only, never around a `yield` (PEP 789), so a slow reader of a body is not taken
for a slow provider: only `total_s` counts the reader's time too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType

from waypost.errors import Phase, ProviderTimeout


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


class ExchangeClock:
    """Knows when one exchange began and what it may take. Made inside the running loop, when the exchange begins."""

    __slots__ = ("_limits_s", "_place", "_time", "_total_at")

    def __init__(self, deadlines: Deadlines, place: str) -> None:
        self._limits_s: dict[Phase, float | None] = {
            "connect": deadlines.connect_s,
            "first_byte": deadlines.first_byte_s,
            "idle": deadlines.idle_s,
            "total": deadlines.total_s,
        }
        self._place = place
        self._time = asyncio.get_running_loop().time
        self._total_at = None if deadlines.total_s is None else self._time() + deadlines.total_s

    def limit(self, phase: Phase) -> Limit:
        """A limit for waits of this phase, which begins now: `async with clock.limit("idle"): await …`."""
        return Limit(self, phase)

    def check_total(self) -> None:
        """Raise if the exchange is over its time: a wait that ends at once never notices."""
        if self._total_at is not None and self._time() >= self._total_at:
            raise self.error("total")

    def nearest(self, phase: Phase) -> tuple[Phase, float | None]:
        """Which limit a phase that begins now will meet first, and at what time of the loop."""
        limit_s = self._limits_s[phase]
        phase_at = None if limit_s is None else self._time() + limit_s
        if self._total_at is not None and (phase_at is None or self._total_at <= phase_at):
            return "total", self._total_at
        return phase, phase_at

    def error(self, phase: Phase) -> ProviderTimeout:
        """The error of a limit that was met."""
        limit_s = self._limits_s[phase] or 0.0
        sentence = _SENTENCES[phase].format(place=self._place, limit_s=limit_s)
        return ProviderTimeout(sentence, hint=_HINTS[phase], phase=phase, limit_s=limit_s)


class Limit:
    """Bounds the waits inside its block by one phase after another. Raises ProviderTimeout, naming the phase."""

    __slots__ = ("_clock", "_phase", "_timeout")

    def __init__(self, clock: ExchangeClock, phase: Phase) -> None:
        self._clock = clock
        self._phase, at = clock.nearest(phase)
        self._timeout = asyncio.timeout_at(at)

    def enter(self, phase: Phase) -> None:
        """From now on this phase's limit holds instead of the last one's."""
        if not self._timeout.expired():
            self._phase, at = self._clock.nearest(phase)
            self._timeout.reschedule(at)

    async def __aenter__(self) -> Limit:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError:
            raise self._clock.error(self._phase) from None
