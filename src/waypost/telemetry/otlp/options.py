"""What is sent where, by the settings and the environment's standard variables. No I/O and no SDK.

What the exporters read of the environment themselves (headers, timeouts, certificates, compression) is left to them.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Literal

from waypost.errors import ConfigurationError
from waypost.settings.otlp import OtlpSettings

logger = logging.getLogger("waypost.telemetry")
PACKAGE: Final = "opentelemetry-exporter-otlp-proto-http"
HINT: Final = 'Install it: pip install "waypost[otlp]"'
ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
METRICS_ENDPOINT: Final = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
DISABLED: Final = "OTEL_SDK_DISABLED"
TRACES_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
METRICS_EXPORTER: Final = "OTEL_METRICS_EXPORTER"
METRICS_INTERVAL_MS: Final = "OTEL_METRIC_EXPORT_INTERVAL"
SPANS_DELAY_MS: Final = "OTEL_BSP_SCHEDULE_DELAY"
PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"
SERVICE_NAME: Final = "OTEL_SERVICE_NAME"
RESOURCE: Final = "OTEL_RESOURCE_ATTRIBUTES"
DEFAULT_SERVICE: Final = "waypost"
DEFAULT_INTERVAL_S: Final = 60.0
DEFAULT_DELAY_S: Final = 2.0
SPOKEN: Final = "http/protobuf"
Signal = Literal["traces", "metrics"]


@dataclass(frozen=True, slots=True)
class OtlpOptions:
    """`endpoint` None: the exporters know it from the environment."""

    endpoint: str | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    resource: Mapping[str, str] = field(default_factory=dict)
    traces: bool = True
    metrics: bool = True
    metrics_every_s: float = DEFAULT_INTERVAL_S
    delay_s: float = DEFAULT_DELAY_S
    """How long spans wait to be sent with others."""
    queue: int = 4096

    def address(self, signal: Signal) -> str | None:
        """Where a signal is sent; None: where the environment says."""
        return None if self.endpoint is None else f"{self.endpoint}/v1/{signal}"


def otlp_options(settings: OtlpSettings, environ: Mapping[str, str] = os.environ) -> OtlpOptions | None:
    """None: nothing is sent. Raises ConfigurationError if the settings want it and the packages are missing.

    Where only the environment wants it, as platforms set it for every process, their absence is a warning.
    """
    if environ.get(DISABLED, "").strip().lower() == "true":
        return None
    if settings.endpoint is None and not any(environ.get(name) for name in (ENDPOINT, TRACES_ENDPOINT)):
        return None
    traces = _is_wanted(environ, TRACES_EXPORTER)
    metrics = settings.metrics and _is_wanted(environ, METRICS_EXPORTER) and _has_metrics(settings, environ)
    if not (traces or metrics) or not _is_installed(settings):
        return None
    _warn_of_protocol(settings, environ)
    return OtlpOptions(
        endpoint=settings.endpoint,
        headers=settings.headers,
        resource=_resource(settings, environ),
        traces=traces,
        metrics=metrics,
        metrics_every_s=_seconds(environ, METRICS_INTERVAL_MS, DEFAULT_INTERVAL_S),
        delay_s=_seconds(environ, SPANS_DELAY_MS, DEFAULT_DELAY_S),
        queue=settings.queue,
    )


def _is_wanted(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").strip().lower() != "none"


def _has_metrics(settings: OtlpSettings, environ: Mapping[str, str]) -> bool:
    """A collector of traces alone may be named in the environment."""
    return settings.endpoint is not None or any(environ.get(name) for name in (ENDPOINT, METRICS_ENDPOINT))


def _is_installed(settings: OtlpSettings) -> bool:
    try:
        version(PACKAGE)
    except PackageNotFoundError:
        if settings.endpoint is not None:
            raise ConfigurationError(
                "telemetry.otlp.endpoint is set, and the packages for it are not installed.", hint=HINT
            ) from None
        logger.warning("%s is set, and no spans are sent: the packages are not installed. %s", ENDPOINT, HINT)
        return False
    return True


def _warn_of_protocol(settings: OtlpSettings, environ: Mapping[str, str]) -> None:
    protocol = environ.get(PROTOCOL, "").strip()
    if settings.endpoint is None and protocol not in ("", SPOKEN):
        logger.warning("%s is %s; Waypost speaks %s only", PROTOCOL, protocol[:40], SPOKEN)


def _resource(settings: OtlpSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """What the SDK does not read of the environment by itself, and what the settings say in its stead."""
    resource = dict(settings.resource)
    named = environ.get(RESOURCE, "")
    if settings.service_name is not None:
        resource["service.name"] = settings.service_name
    elif not environ.get(SERVICE_NAME) and "service.name=" not in named:
        resource.setdefault("service.name", DEFAULT_SERVICE)
    return resource


def _seconds(environ: Mapping[str, str], name: str, default_s: float) -> float:
    """Of a variable in milliseconds; the default, if it says no time."""
    try:
        seconds = float(environ.get(name) or default_s * 1000) / 1000
    except ValueError:
        return default_s
    return seconds if 0 < seconds < math.inf else default_s
