"""Who observes a process, by its settings: a line for each."""

from __future__ import annotations

from dataclasses import dataclass

from waypost.settings import TelemetrySettings
from waypost.telemetry.metrics.metrics import Metrics
from waypost.telemetry.observers import Observer, Observers


@dataclass(frozen=True, slots=True)
class Observing:
    """All that observe one process, over reloads too. `metrics` None: nothing is counted."""

    observers: Observers
    metrics: Metrics | None

    @classmethod
    def of(cls, settings: TelemetrySettings) -> Observing:
        """Those that the settings ask for."""
        metrics = None if settings.metrics == "off" else Metrics()
        each: list[Observer] = [] if metrics is None else [metrics]
        return cls(Observers(each), metrics)
