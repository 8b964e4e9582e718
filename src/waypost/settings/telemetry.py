"""The settings of what watches this program: who may read its metrics, and how its log is written."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from waypost.settings.fields import Name, Part, Secret, refuse_boolean


def _off(value: Any) -> Any:
    """YAML 1.1 reads a bare `off` as false."""
    return "off" if value is False else value


class TelemetrySettings(Part):
    """Metrics and logs."""

    metrics: Annotated[Literal["open", "key", "off"], BeforeValidator(_off)] = "key"
    """Who may read /metrics: whoever reaches the server (open), who shows an admin key or metrics_token (key; anybody
    while there are no keys at all, when the server is on loopback only), or nobody, and nothing is counted (off)."""
    metrics_token: Secret | None = None
    """What a scraper shows as authorization: Bearer …; it is good for /metrics only."""
    worker_metrics_port: Annotated[int, Field(ge=0, le=65_535), BeforeValidator(refuse_boolean)] | None = None
    """Port at which `waypost worker` tells its metrics at /metrics; 0 takes a free one, null tells none."""
    worker_metrics_host: Name = "127.0.0.1"
    """Address for that; one that other machines reach takes metrics_token, or metrics: open."""
    logs: Literal["text", "json"] = "text"
    """Form of the log's lines: readable ones beside the access log's JSON, or JSON for all."""
