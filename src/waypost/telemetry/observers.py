"""Who is told when something is over: nobody, one, or several, in their order.

The invariant: an observer that fails is written down, and heard of by nobody else. Each is called in the event loop of
the request or job and must not block.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, Protocol

from waypost.telemetry.facts import JobFacts, RequestFacts, StepFacts

logger = logging.getLogger("waypost.telemetry")
FAILED: Final = "%s failed to take what it was told"


class Observer(Protocol):
    """What somebody does with facts."""

    def request_ended(self, facts: RequestFacts) -> None:
        """A request, and all calls that it began, are over."""

    def job_ended(self, facts: JobFacts) -> None:
        """A job has ended, and that is written down."""

    def step_ended(self, facts: StepFacts) -> None:
        """A step of a job is over, well or not."""


class Observers:
    """Implements Observer. Ask for `any` before facts are made: most of the cost is in making them."""

    __slots__ = ("each",)

    def __init__(self, each: Sequence[Observer] = ()) -> None:
        self.each = tuple(each)

    @property
    def any(self) -> bool:
        """Is there anybody to be told?"""
        return bool(self.each)

    def request_ended(self, facts: RequestFacts) -> None:
        """See Observer."""
        for each in self.each:
            try:
                each.request_ended(facts)
            except Exception:
                logger.exception(FAILED, type(each).__name__)

    def job_ended(self, facts: JobFacts) -> None:
        """See Observer."""
        for each in self.each:
            try:
                each.job_ended(facts)
            except Exception:
                logger.exception(FAILED, type(each).__name__)

    def step_ended(self, facts: StepFacts) -> None:
        """See Observer."""
        for each in self.each:
            try:
                each.step_ended(facts)
            except Exception:
                logger.exception(FAILED, type(each).__name__)


NOBODY: Final = Observers()
