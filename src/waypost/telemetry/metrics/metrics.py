"""Counts facts. One for each process, over all reloads of its settings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from waypost import __version__, errors
from waypost.errors import WaypostError
from waypost.telemetry.facts import AttemptFacts, JobFacts, RequestFacts, StepFacts
from waypost.telemetry.metrics.families import (
    ATTEMPT_SECONDS,
    ATTEMPTS,
    COST,
    COST_UNKNOWN,
    FIRST_TOKEN_SECONDS,
    JOB_QUEUE_SECONDS,
    JOB_SECONDS,
    JOB_STEPS,
    LAG_SECONDS,
    REQUEST_SECONDS,
    REQUESTS,
    TOKENS,
)
from waypost.telemetry.metrics.models import OTHER, ModelNames
from waypost.telemetry.metrics.numbers import Numbers, Rows, Snapshot

CODES: Final = frozenset(
    each.code for each in vars(errors).values() if isinstance(each, type) and issubclass(each, WaypostError)
)
FOREIGN: Final = "foreign_error"
JOB_TYPES: Final = frozenset({"analyze", "generate", "response"})
NO_LABELS: Final = ()
KINDS: Final = (
    ("input", "input"),
    ("input_cache_read", "cache_read"),
    ("input_cache_write", "cache_write"),
    ("output", "output"),
    ("output_reasoning", "reasoning"),
)
"""Counts of `Tokens`, and how the label calls them."""


class Metrics:
    """Implements Observer."""

    def __init__(self) -> None:
        self.numbers = Numbers()
        self.models = ModelNames()
        self.started_at = time.time()

    def snapshot(self, gauges: Mapping[str, Rows]) -> Snapshot:
        """What was counted, and how the process stands."""
        own: dict[str, Rows] = {
            "waypost_build_info": [((__version__,), 1.0)],
            "waypost_start_time_seconds": [((), self.started_at)],
            "waypost_processes": [((), 1.0)],
        }
        counted = self.numbers.snapshot()
        return Snapshot({**own, **gauges, **counted.values}, counted.bins)

    def request_ended(self, facts: RequestFacts) -> None:
        """See Observer. What a job asks is a request too."""
        numbers = self.numbers
        numbers.add(REQUESTS, (facts.door, facts.route, facts.outcome))
        numbers.observe(REQUEST_SECONDS, (facts.door, facts.route), facts.duration_s)
        if facts.is_stream and facts.first_token_ms is not None:
            numbers.observe(FIRST_TOKEN_SECONDS, (facts.route,), facts.first_token_ms / 1000)
        for each in facts.attempts:
            if each.is_sent:
                self._count_attempt(each)

    def _count_attempt(self, facts: AttemptFacts) -> None:
        numbers, answered = self.numbers, facts.outcome == "answered"
        provider = facts.provider
        model = self.models.label(provider, facts.kind, facts.model, was_answered=answered)
        target = (provider, model)
        numbers.add(ATTEMPTS, (provider, model, facts.outcome if facts.outcome != "failed" else _failure(facts)))
        numbers.observe(ATTEMPT_SECONDS, target, facts.duration_ms / 1000)
        for name, kind in KINDS:
            count = getattr(facts.tokens, name)
            if count:
                numbers.add(TOKENS, (provider, model, kind), count)
        if facts.cost_micro_usd is None:
            numbers.add(COST_UNKNOWN, target)
        elif facts.cost_micro_usd:
            numbers.add(COST, target, facts.cost_micro_usd)

    def job_ended(self, facts: JobFacts) -> None:
        """See Observer."""
        kind = job_type(facts.job_type)
        if facts.started_at_ms is None:
            return
        self.numbers.observe(JOB_SECONDS, (kind, facts.outcome), (facts.ended_at_ms - facts.started_at_ms) / 1000)
        if facts.runs == 1:
            waited_ms = max(0, facts.started_at_ms - facts.ready_at_ms)
            self.numbers.observe(JOB_QUEUE_SECONDS, NO_LABELS, waited_ms / 1000)

    def step_ended(self, facts: StepFacts) -> None:
        """See Observer."""
        self.numbers.add(JOB_STEPS, (job_type(facts.job_type), facts.outcome))

    def lagged(self, lag_s: float) -> None:
        """The event loop was so late."""
        self.numbers.observe(LAG_SECONDS, NO_LABELS, max(0.0, lag_s))


def _failure(facts: AttemptFacts) -> str:
    """Codes are ours, but for what a plugin may bring along."""
    return f"failed_{facts.error_code if facts.error_code in CODES else FOREIGN}"


def job_type(name: str) -> str:
    """One that there is; a worker of another version may have others."""
    return name if name in JOB_TYPES else OTHER
