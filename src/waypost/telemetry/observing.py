"""Who observes a process, by its settings: a line for each."""

from __future__ import annotations

from dataclasses import dataclass

from waypost.settings import TelemetrySettings
from waypost.telemetry.metrics.metrics import Metrics
from waypost.telemetry.metrics.models import ModelNames
from waypost.telemetry.observers import Observer, Observers
from waypost.telemetry.otlp.configured import Otlp, configured_otlp


@dataclass(frozen=True, slots=True)
class Observing:
    """All that observe one process, over reloads too.

    `metrics` None: nothing is counted here; `otlp` None: nothing is sent to a collector.
    """

    observers: Observers
    metrics: Metrics | None
    otlp: Otlp | None = None

    @classmethod
    def of(cls, settings: TelemetrySettings) -> Observing:
        """Those that the settings ask for. Raises ConfigurationError."""
        metrics = None if settings.metrics == "off" else Metrics()
        otlp = configured_otlp(settings.otlp, None if metrics is None else metrics.models)
        each: list[Observer] = [] if metrics is None else [metrics]
        each += [] if otlp is None else [otlp.pipeline]
        if metrics is not None and otlp is not None:
            metrics.also = otlp.pipeline.counted
        return cls(Observers(each), metrics, otlp)

    @property
    def models(self) -> ModelNames | None:
        """The models that are told apart: the same for all; None: nobody tells any."""
        if self.metrics is not None:
            return self.metrics.models
        return None if self.otlp is None else self.otlp.models
