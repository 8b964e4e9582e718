"""The goals, and what becomes of figures: medians, ratios, verdicts. Pure: nothing is measured or printed here.

A figure is the median of its samples. A ratio is the median of the ratios of pairs that were measured one right after
the other, so that what slows the machine for a while slows both; without pairs it is the ratio of the medians.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["pass", "fail", "not measured"]
OURS = "waypost"


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of work that is measured, and the unit of its figure."""

    id: str
    title: str
    unit: str
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Goal:
    """At most `limit` (in the work's unit), or at most `limit` times what `against` needs for the same work."""

    work: str
    limit: float
    against: str | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """The samples of one kind of work by who did it, and why there are none."""

    samples: Mapping[str, Sequence[float]] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def figure(self, name: str) -> float | None:
        """The median of the samples; None if there are none."""
        found = self.samples.get(name)
        return statistics.median(found) if found else None

    def ratio(self, name: str, against: str) -> float | None:
        """How many times what `against` needs; None if either was not measured."""
        ours, theirs = self.samples.get(name), self.samples.get(against)
        if not ours or not theirs or not all(theirs):
            return None
        if len(ours) == len(theirs):
            return statistics.median(own / other for own, other in zip(ours, theirs, strict=True))
        return statistics.median(ours) / statistics.median(theirs)


@dataclass(frozen=True, slots=True)
class Judged:
    """A goal with its verdict. `share` is the part of the limit that was used: 1.0 is just reached, less is better."""

    goal: Goal
    verdict: Verdict
    ratio: float | None
    share: float | None


def judge(goal: Goal, measured: Measured) -> Judged:
    """Whether the goal is reached. What was not measured has not failed, and has not passed."""
    figure = measured.figure(OURS)
    ratio = None if goal.against is None else measured.ratio(OURS, goal.against)
    value = figure if goal.against is None else ratio
    if value is None:
        return Judged(goal, "not measured", None, None)
    return Judged(goal, "pass" if value <= goal.limit else "fail", ratio, value / goal.limit)


def shares(goal: Goal, measured: Measured) -> dict[str, float]:
    """For everybody who was measured, the part of our limit that they use; for the picture."""
    reference = 1.0 if goal.against is None else measured.figure(goal.against)
    if not reference:
        return {}
    figures = {name: measured.figure(name) for name in measured.samples}
    return {name: figure / (goal.limit * reference) for name, figure in figures.items() if figure is not None}


SAME_DIALECT = "same dialect"
ONE_WORKER = "one worker"
NO_LEDGER = "no ledger"

WORKS: tuple[Work, ...] = (
    Work("json", "JSON, same dialect", "CPU µs a request"),
    Work("stream", "202-event stream at once, same dialect", "CPU µs a stream"),
    Work("paced_200", "200 paced streams", "CPU µs an event", 1),
    Work("paced_400", "400 paced streams", "CPU µs an event", 1),
    Work("translated_json", "JSON, OpenAI in, Anthropic provider", "CPU µs a request"),
    Work("translated_stream", "stream, OpenAI in, Anthropic provider", "CPU µs a stream"),
    Work("latency_p50", "added latency at half load, p50", "ms", 3),
    Work("latency_p99", "added latency at half load, p99", "ms", 3),
    Work("rss_idle", "RSS, idle", "MB"),
    Work("rss_streams", "RSS, 1,000 open streams", "MB"),
    Work("workers", "JSON, two workers", "CPU µs a request"),
    Work("ledger", "JSON, written down in the ledger", "CPU µs a request"),
    Work("start", "start to the first healthy answer", "s", 2),
    Work("rate", "JSON on one core, 32 connections", "requests/s"),
)

GOALS: tuple[Goal, ...] = (
    Goal("json", 1.0, "ferrogw"),
    Goal("json", 1 / 60, "litellm", "≥ 60 times less than litellm"),
    Goal("stream", 0.25, "ferrogw"),
    Goal("paced_200", 1.0, "ferrogw"),
    Goal("paced_400", 1.0, "ferrogw"),
    Goal("translated_json", 2.0, SAME_DIALECT),
    Goal("translated_stream", 3.0, SAME_DIALECT),
    Goal("latency_p50", 0.5),
    Goal("latency_p99", 3.0),
    Goal("rss_idle", 80),
    Goal("rss_streams", 160),
    Goal("workers", 1.1, ONE_WORKER),
    Goal("ledger", 1.08, NO_LEDGER),
)


def words(goal: Goal, unit: str) -> str:
    """The goal as the table says it."""
    if goal.words:
        return goal.words
    return f"≤ {goal.limit:g} {unit}" if goal.against is None else f"≤ {goal.limit:g} x {goal.against}"
