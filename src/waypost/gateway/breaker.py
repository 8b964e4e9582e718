"""A circuit breaker and a retry budget for each target, shared by all requests.

closed → open after too many failures among the last calls → half-open when the cool-down is over: one probe passes,
everyone else is still turned away → closed if it succeeds, open again (for twice as long) if it fails.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from enum import Enum


class Circuit(Enum):
    """Where a breaker stands."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """Opens when at least `min_failures` of the last `window_calls` within `window_s` failed, and half of them."""

    window_calls: int = 20
    window_s: float = 60.0
    min_failures: int = 5
    failure_share: float = 0.5
    cool_down_s: float = 10.0
    cool_down_limit_s: float = 120.0
    probe_s: float = 60.0
    """A probe that has not reported back by then is given up, and another may be made."""


class Breaker:
    """One target's. Ask `admit` before a call and tell it the outcome afterwards; `clock` is in seconds."""

    def __init__(self, limits: BreakerLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or BreakerLimits()
        self._clock = clock
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=self._limits.window_calls)
        self._open_until = 0.0
        self._cool_down_s = 0.0
        self._probe_until: float | None = None

    @property
    def circuit(self) -> Circuit:
        """Where it stands now."""
        if not self._cool_down_s:
            return Circuit.CLOSED
        return Circuit.OPEN if self._clock() < self._open_until else Circuit.HALF_OPEN

    @property
    def retry_after_s(self) -> float:
        """Seconds until it is worth asking again; 0 if now."""
        if self.circuit is Circuit.CLOSED:
            return 0.0
        # A probe most often ends long before it is given up.
        probe_s = min((self._probe_until or 0.0) - self._clock(), self._limits.cool_down_s)
        return max(0.0, self._open_until - self._clock(), probe_s)

    def admit(self) -> bool:
        """May a call be made now? In the half-open state this takes the one probe."""
        match self.circuit:
            case Circuit.CLOSED:
                return True
            case Circuit.OPEN:
                return False
            case Circuit.HALF_OPEN:
                if self._probe_until is not None and self._clock() < self._probe_until:
                    return False
                self._probe_until = self._clock() + self._limits.probe_s
                return True

    def succeeded(self) -> None:
        """A call was answered to its end."""
        if self._cool_down_s:
            self._outcomes.clear()
        self._cool_down_s, self._probe_until = 0.0, None
        self._outcomes.append((self._clock(), True))

    def failed(self) -> None:
        """A call showed that the target is unwell."""
        if self._cool_down_s:
            # Late failures of calls that were under way when it opened do not make the pause longer.
            if self.circuit is Circuit.HALF_OPEN:
                self._open(min(self._cool_down_s * 2, self._limits.cool_down_limit_s))
            return
        self._outcomes.append((self._clock(), False))
        since = self._clock() - self._limits.window_s
        recent = [well for at, well in self._outcomes if at >= since]
        failures = recent.count(False)
        if failures >= self._limits.min_failures and failures >= len(recent) * self._limits.failure_share:
            self._open(self._limits.cool_down_s)

    def released(self) -> None:
        """A call ended without saying anything about the target (a bad request, or the caller left)."""
        self._probe_until = None

    def _open(self, cool_down_s: float) -> None:
        self._cool_down_s, self._probe_until = cool_down_s, None
        self._open_until = self._clock() + cool_down_s


@dataclass(slots=True)
class RetryBudget:
    """Keeps an outage from becoming a storm: retries may be `share` of the calls, over all requests."""

    share: float = 0.2
    reserve: float = 10.0
    """Retries that may be saved up, so that a quiet target has some too."""
    _tokens: float = field(default=10.0, init=False)

    def called(self) -> None:
        """A first call was made."""
        self._tokens = min(self.reserve, self._tokens + self.share)

    def take(self) -> bool:
        """May a retry be made? Takes it."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """What is remembered of one target over all requests."""

    breaker: Breaker
    retries: RetryBudget = field(default_factory=RetryBudget)


class HealthBoard:
    """The health of every target that was ever asked, by provider and model. Bounded by the models that are asked."""

    def __init__(self, limits: BreakerLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._targets: dict[tuple[str, str | None], TargetHealth] = {}

    def of(self, provider: str, model: str | None) -> TargetHealth:
        """The target's, made at first sight. A board that is full forgets a target whose breaker is closed."""
        key = (provider, model)
        health = self._targets.get(key)
        if health is None:
            self._make_room()
            health = self._targets[key] = TargetHealth(Breaker(self._limits, self._clock))
        return health

    def take_over(self, before: HealthBoard, providers: Container[str]) -> None:
        """Share what another board remembers of these providers' targets: both go on noting the same."""
        # A copy first, in one step: the other board may be in use in another thread.
        self._targets |= {key: health for key, health in before._targets.copy().items() if key[0] in providers}

    def circuits(self) -> dict[tuple[str, str | None], Circuit]:
        """Where every breaker stands."""
        return {key: health.breaker.circuit for key, health in self._targets.items()}

    def _make_room(self, most: int = 10_000) -> None:
        if len(self._targets) < most:
            return
        for key, health in self._targets.items():
            if health.breaker.circuit is Circuit.CLOSED:
                del self._targets[key]
                return
