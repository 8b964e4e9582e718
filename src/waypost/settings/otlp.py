"""The settings of OpenTelemetry: where spans and metrics are sent, how many, and what they tell."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_serializer

from waypost.settings.fields import HIDDEN, BaseUrl, HttpHeaders, Name, Part, refuse_boolean
from waypost.settings.problems import nearest
from waypost.settings.references import Finding

Propagation = Literal["none", "own", "all"]
Ratio = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), BeforeValidator(refuse_boolean)]
SIGNAL_PATHS: Final = ("/v1/traces", "/v1/metrics")


def _endpoint(address: str) -> str:
    for path in SIGNAL_PATHS:
        if address.endswith(path):
            raise ValueError(f"may not end with {path}, which Waypost appends")
    return address


class OtlpSettings(Part):
    """Spans and metrics to an OpenTelemetry collector. What is left out here is taken from the OTEL_ variables."""

    endpoint: Annotated[BaseUrl, AfterValidator(_endpoint)] | None = None
    """Address of the collector, such as http://localhost:4318; null is that of OTEL_EXPORTER_OTLP_ENDPOINT, and
    without that nothing is sent."""
    protocol: Literal["http/protobuf"] = "http/protobuf"
    """How the collector is spoken to."""
    headers: HttpHeaders = Field(default_factory=dict, repr=False)
    """Headers to send with each batch, such as a key, best written as ${NAME} so that it stays out of the file."""
    sample_ratio: Ratio | None = None
    """The part of the traces that begin here that is sent, 0 to 1; null is what OTEL_TRACES_SAMPLER says, else all; a
    caller's trace is sent if he says in traceparent that it is kept."""
    metrics: bool = True
    """Whether metrics are sent too, by the conventions for generative AI."""
    content: bool = False
    """Whether spans hold prompts and answers, without their secrets and cut to a length."""
    service_name: Name | None = None
    """The name of this service; null is that of OTEL_SERVICE_NAME, else waypost."""
    resource: dict[str, str] = Field(default_factory=dict)
    """More about this service, such as deployment.environment.name."""
    propagate: Propagation = "own"
    """Which providers are told of the trace, in the header traceparent: none, those at an address of one's own network
    (own), or all."""
    propagate_to: tuple[Name, ...] = ()
    """Providers, by their names here, that are told of it in any case."""
    queue: Annotated[int, Field(ge=16, le=1_000_000), BeforeValidator(refuse_boolean)] = 4096
    """Requests, jobs and steps that may wait to be sent; what comes when there are so many is dropped and counted."""

    @field_serializer("headers")
    def _hide_headers(self, headers: dict[str, str]) -> dict[str, str]:
        return dict.fromkeys(headers, HIDDEN)


def otlp_findings(told: Iterable[Any], providers: Collection[str]) -> Iterator[Finding]:
    """Providers in `propagate_to`, as it is written, that there are not."""
    for index, name in enumerate(told):
        if isinstance(name, str) and name not in providers:
            guess = nearest(name, sorted(providers))
            mend = f"did you mean {guess}?" if guess else f"the providers are {', '.join(sorted(providers))}"
            path = ("telemetry", "otlp", "propagate_to", index)
            yield path, f'telemetry.otlp.propagate_to names the unknown provider "{name}"; {mend}'
