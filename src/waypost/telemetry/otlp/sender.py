"""Spans and metrics through the OpenTelemetry SDK's exporters. The only module that imports it, and late.

Endpoint, headers, timeouts, compression and certificates that the settings leave open are the exporters' own matter,
who read the standard OTEL_EXPORTER_OTLP_ variables.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from waypost import __version__
from waypost.telemetry.facts import JobFacts, RequestFacts
from waypost.telemetry.metrics.models import ModelNames
from waypost.telemetry.otlp.measures import INSTRUMENTS, Known, points
from waypost.telemetry.otlp.options import OtlpOptions
from waypost.telemetry.otlp.peers import Peers
from waypost.telemetry.otlp.pipeline import Facts
from waypost.telemetry.otlp.spans import Kind, SpanValue, job_spans, request_spans, step_spans
from waypost.telemetry.trace_context import TraceContext

SCOPE: Final = "waypost"
INSTANCE: Final = "service.instance.id"
_KINDS: Final[Mapping[Kind, SpanKind]] = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
    "internal": SpanKind.INTERNAL,
}
_WELL: Final = Status(StatusCode.UNSET)
_FAILED: Final = Status(StatusCode.ERROR)
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


class OtlpSender:
    """Implements Sender."""

    def __init__(self, options: OtlpOptions, peers: Peers, models: ModelNames) -> None:
        _quiet()
        self._options = options
        self._peers = peers
        self._resource = _resource(options)
        self._scope = InstrumentationScope(SCOPE, __version__)
        self._spans = OTLPSpanExporter(options.address("traces"), headers=options.headers) if options.traces else None
        self._models = models
        self._reader: PeriodicExportingMetricReader | None = None
        self._histograms: Mapping[str, Histogram] = {}
        self._measured_at_s = time.monotonic()
        if options.metrics:
            self._begin_metrics()

    def send(self, facts: Sequence[Facts]) -> bool:
        """See Sender."""
        for each in facts:
            if isinstance(each, RequestFacts):
                self._measure(each)
        if self._spans is None:
            return True
        spans = [self._made(span) for each in facts for span in self._spans_of(each)]
        return not spans or self._spans.export(spans) is SpanExportResult.SUCCESS

    def tick(self) -> None:
        """See Sender."""
        now_s = time.monotonic()
        if self._reader is not None and now_s - self._measured_at_s >= self._options.metrics_every_s:
            self._measured_at_s = now_s
            self._reader.collect()

    def finish(self) -> None:
        """See Sender."""
        if self._reader is not None:
            self._reader.collect()

    def interrupt(self) -> None:
        """See Sender."""
        if self._spans is not None:
            self._spans.shutdown()  # type: ignore[no-untyped-call]
        if self._reader is not None:
            self._reader.shutdown(timeout_millis=0)

    def _begin_metrics(self) -> None:
        exporter = OTLPMetricExporter(self._options.address("metrics"), headers=self._options.headers)
        # This thread says when: the reader has none of its own.
        self._reader = PeriodicExportingMetricReader(exporter, export_interval_millis=math.inf)
        provider = MeterProvider([self._reader], self._resource, shutdown_on_exit=False)
        meter = provider.get_meter(SCOPE, __version__)
        self._histograms = {
            each.name: meter.create_histogram(
                each.name, each.unit, each.description, explicit_bucket_boundaries_advisory=each.buckets
            )
            for each in INSTRUMENTS
        }

    def _measure(self, facts: RequestFacts) -> None:
        if self._histograms:
            for point in points(facts, Known(self._peers.known, self._models)):
                self._histograms[point.instrument.name].record(point.value, point.attributes)

    def _spans_of(self, facts: Facts) -> Iterator[SpanValue]:
        if isinstance(facts, RequestFacts):
            return request_spans(facts, self._peers.known)
        return job_spans(facts) if isinstance(facts, JobFacts) else step_spans(facts)

    def _made(self, span: SpanValue) -> ReadableSpan:
        parent = None
        if span.parent_id:
            parent = _context(span.trace_id, span.parent_id, "", is_remote=span.has_remote_parent)
        return ReadableSpan(
            span.name,
            _context(span.trace_id, span.span_id, span.state),
            parent,
            self._resource,
            span.attributes,
            [Event(name, attributes, at_ns) for name, at_ns, attributes in span.events],
            [_link(each) for each in span.links],
            _KINDS[span.kind],
            status=_FAILED if span.error else _WELL,
            start_time=span.started_ns,
            end_time=span.ended_ns,
            instrumentation_scope=self._scope,
        )


def _context(trace_id: str, span_id: str, state: str, *, is_remote: bool = False) -> SpanContext:
    told = TraceState.from_header([state]) if state else None
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, _SAMPLED, told)


def _link(context: TraceContext) -> Link:
    return Link(_context(context.trace_id, context.span_id, context.state, is_remote=True))


def _resource(options: OtlpOptions) -> Resource:
    """Processes that count for themselves must not be taken for one: each has an id, unless it was given one."""
    found = Resource.create(dict(options.resource))
    if INSTANCE in found.attributes:
        return found
    return found.merge(Resource({INSTANCE: str(uuid.uuid4())}))


def _quiet() -> None:
    """What goes wrong in the exporters is counted and told in our own words, not once for each try."""
    logger = logging.getLogger("opentelemetry")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
