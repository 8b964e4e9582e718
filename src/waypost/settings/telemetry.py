"""The settings of what watches Waypost."""

from __future__ import annotations

from pydantic import Field

from waypost.settings.fields import Part
from waypost.settings.otlp import OtlpSettings


class TelemetrySettings(Part):
    """What is told of the server's work, and to whom."""

    otlp: OtlpSettings = Field(default_factory=OtlpSettings)
    """Spans and metrics to an OpenTelemetry collector."""
