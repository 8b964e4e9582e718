"""Which traces are kept: by their ids, so that all services of a trace decide alike, or as the caller has decided.

Source: OpenTelemetry specification, trace SDK, built-in samplers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from waypost.telemetry.trace_context import TraceContext

logger = logging.getLogger("waypost.telemetry")
SAMPLER: Final = "OTEL_TRACES_SAMPLER"
SAMPLER_ARGUMENT: Final = "OTEL_TRACES_SAMPLER_ARG"
_BY_PARENT: Final = "parentbased_"
_RATIO: Final = "traceidratio"
_FIXED: Final[Mapping[str, float]] = {"always_on": 1.0, "always_off": 0.0}
_ID_DIGITS: Final = 16
"""Of a trace's id, the last ones: those that all implementations take."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """`ratio` of the traces is kept, 0 to 1. `heeds_parent`: of those that begin here; others are kept as decided."""

    ratio: float = 1.0
    heeds_parent: bool = True

    def keeps(self, trace_id: str, parent: TraceContext | None = None) -> bool:
        """Are the spans of this trace sent?"""
        if parent is not None and self.heeds_parent:
            return parent.is_sampled
        if self.ratio >= 1.0:
            return True
        return int(trace_id[-_ID_DIGITS:], 16) < self.ratio * 16**_ID_DIGITS


def sampler_from(ratio: float | None, environ: Mapping[str, str]) -> Sampler:
    """By the settings; where they say nothing (None), by the environment's standard variables, else all are kept."""
    if ratio is not None:
        return Sampler(ratio)
    name = environ.get(SAMPLER, "").strip().lower()
    if not name:
        return Sampler()
    heeds_parent, kind = name.startswith(_BY_PARENT), name.removeprefix(_BY_PARENT)
    if kind in _FIXED:
        return Sampler(_FIXED[kind], heeds_parent)
    if kind != _RATIO:
        logger.warning("%s is not known: all traces are kept", SAMPLER)
        return Sampler()
    return Sampler(_ratio(environ.get(SAMPLER_ARGUMENT, "1")), heeds_parent)


def _ratio(text: str) -> float:
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0.0 <= ratio <= 1.0:
        logger.warning("%s is no number from 0 to 1: all traces are kept", SAMPLER_ARGUMENT)
        return 1.0
    return ratio
