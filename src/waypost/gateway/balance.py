"""In which order a route's targets are asked: as written, by weight, or by how soon they give a first token.

Makes no calls and looks at no breaker. The invariant: an order holds every target exactly once, so that balancing
never takes a fallback away; and a target of weight 0 comes after all others, as the last resort.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeAlias, TypeVar

TargetT = TypeVar("TargetT", bound=Hashable)
Strategy: TypeAlias = Literal["priority", "weighted", "least_latency"]

EXPLORATION_SHARE = 0.05
"""Of the requests that go to another than the fastest target first, so that a slow one can show that it is mended."""


def order(
    targets: Sequence[TargetT],
    strategy: Strategy,
    chance: Callable[[], float],
    weights: Sequence[float] = (),
    latencies: Mapping[TargetT, float | None] | None = None,
) -> list[TargetT]:
    """The targets in the order to ask them.

    `weights` stand beside the targets, none is negative; empty: all are alike. `latencies` are seconds to the first
    token; None: asked, but not known yet; not in it: never asked. `chance` gives numbers from 0 up to 1.
    Raises ValueError if there are not as many weights as targets.
    """
    if weights and len(weights) != len(targets):
        raise ValueError(f"{len(targets)} targets have {len(weights)} weights")
    if strategy == "priority":
        return list(targets)
    shares = weights or [1.0] * len(targets)
    weighed = [(target, share) for target, share in zip(targets, shares, strict=True) if share > 0]
    last_resorts = [target for target, share in zip(targets, shares, strict=True) if share <= 0]
    if strategy == "weighted":
        return _drawn(weighed, chance) + last_resorts
    return _fastest_first([target for target, _ in weighed], latencies or {}, chance) + last_resorts


def _drawn(weighed: Sequence[tuple[TargetT, float]], chance: Callable[[], float]) -> list[TargetT]:
    """Drawn one by one without putting back, each in proportion to its weight.

    Source: Efraimidis and Spirakis 2006; the times of independent exponential clocks, whose rates are the weights.
    """
    times = [(-math.log1p(-chance()) / share, place) for place, (_, share) in enumerate(weighed)]
    return [weighed[place][0] for _, place in sorted(times)]


def _fastest_first(
    targets: Sequence[TargetT], latencies: Mapping[TargetT, float | None], chance: Callable[[], float]
) -> list[TargetT]:
    new = [target for target in targets if target not in latencies]
    seen = sorted((target for target in targets if target in latencies), key=lambda target: _seconds(latencies[target]))
    if len(seen) > 1 and chance() < EXPLORATION_SHARE:
        seen.insert(0, seen.pop(1 + int(chance() * (len(seen) - 1))))
    return new + seen


def _seconds(latency_s: float | None) -> float:
    return math.inf if latency_s is None else latency_s


@dataclass(slots=True)
class _Latency:
    seconds: float | None
    at: float


@dataclass(slots=True)
class LatencyBoard(Generic[TargetT]):
    """How long each target took to its first token of late: a mean that forgets with time, not with calls.

    A figure is worth half after `half_life_s`, however many calls there were; after `forget_s` without an answer a
    target counts as never asked. Bounded: the target that was asked longest ago goes first.
    """

    half_life_s: float = 60.0
    forget_s: float = 600.0
    most_targets: int = 10_000
    clock: Callable[[], float] = time.monotonic
    _targets: dict[TargetT, _Latency] = field(default_factory=dict, init=False)

    def asked(self, target: TargetT) -> None:
        """A call to the target begins. One that was never asked waits behind the others until it has answered."""
        known = self._known(target)
        self._put(target, known.seconds if known else None, known.at if known else self.clock())

    def answered(self, target: TargetT, first_token_s: float) -> None:
        """The first token came after so long. A deadline that passed without one is told as its length."""
        now, known = self.clock(), self._known(target)
        if known is None or known.seconds is None:
            self._put(target, first_token_s, now)
            return
        # At least a part of every call counts: calls that come in the same instant must move the mean too.
        kept = min(0.9, 0.5 ** ((now - known.at) / self.half_life_s))
        self._put(target, known.seconds * kept + first_token_s * (1 - kept), now)

    def latencies(self) -> dict[TargetT, float | None]:
        """Seconds to the first token, as `order` takes them."""
        oldest = self.clock() - self.forget_s
        return {target: latency.seconds for target, latency in self._targets.items() if latency.at >= oldest}

    def _known(self, target: TargetT) -> _Latency | None:
        known = self._targets.get(target)
        return known if known is not None and known.at >= self.clock() - self.forget_s else None

    def _put(self, target: TargetT, seconds: float | None, at: float) -> None:
        self._targets.pop(target, None)
        while len(self._targets) >= self.most_targets:
            del self._targets[next(iter(self._targets))]
        self._targets[target] = _Latency(seconds, at)
