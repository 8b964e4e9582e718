"""A small OTLP/HTTP receiver at a loopback port, which decodes what comes by the protocol's own package."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


@dataclass(frozen=True)
class Seen:
    """A span as it came. Ids in hexadecimal."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    started_ns: int
    ended_ns: int
    attributes: Mapping[str, Any]
    failed: bool
    status_text: str
    events: tuple[tuple[str, int], ...]
    links: tuple[tuple[str, str], ...]
    resource: Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """A point of a histogram."""

    name: str
    attributes: Mapping[str, Any]
    count: int
    sum: float
    bounds: tuple[float, ...]


@dataclass
class Receiver:
    """What came so far. `status` is what it answers; while `hangs` is set it answers nothing."""

    status: int = 200
    hangs: threading.Event = field(default_factory=threading.Event)
    spans: list[Seen] = field(default_factory=list)
    measured: dict[tuple[str, tuple[tuple[str, Any], ...]], Measured] = field(default_factory=dict)
    requests: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    url: str = ""

    def taken(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """A batch came."""
        self.requests.append((path, headers))
        if path == "/v1/traces":
            self.spans.extend(_spans(body))
        else:
            self.measured.update({(each.name, tuple(sorted(each.attributes.items()))): each for each in _points(body)})

    def until(self, is_so: Callable[[Receiver], Any], within_s: float = 20.0) -> None:
        """Wait until it is so."""
        ends_at = time.monotonic() + within_s
        while not is_so(self):
            assert time.monotonic() < ends_at, (len(self.requests), [span.name for span in self.spans])
            time.sleep(0.02)

    def named(self, name: str) -> list[Seen]:
        """Spans of that name, in the order in which they came."""
        return [span for span in self.spans if span.name == name]

    def points(self, name: str) -> list[Measured]:
        """Of that instrument."""
        return [each for each in self.measured.values() if each.name == name]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """One that runs during the block."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if receiver.hangs.is_set():
                receiver.requests.append((self.path, {}))
                while receiver.hangs.is_set():
                    time.sleep(0.05)
            elif receiver.status < 300:
                receiver.taken(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            else:
                receiver.requests.append((self.path, {}))
            self.send_response(receiver.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
            """Silent."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that gave up is none of our errors."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield receiver
    finally:
        receiver.hangs.clear()
        server.shutdown()
        server.server_close()
        thread.join()


def _spans(body: bytes) -> Iterator[Seen]:
    request = ExportTraceServiceRequest.FromString(body)
    for of_resource in request.resource_spans:
        resource = _values(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Seen(
                    span.name,
                    KINDS[span.kind],
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.trace_state,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    _values(span.attributes),
                    span.status.code == 2,
                    span.status.message,
                    tuple((event.name, event.time_unix_nano) for event in span.events),
                    tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                    resource,
                )


def _points(body: bytes) -> Iterator[Measured]:
    request = ExportMetricsServiceRequest.FromString(body)
    for of_resource in request.resource_metrics:
        for of_scope in of_resource.scope_metrics:
            for metric in of_scope.metrics:
                for point in metric.histogram.data_points:
                    attributes = _values(point.attributes)
                    yield Measured(metric.name, attributes, point.count, point.sum, tuple(point.explicit_bounds))


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
