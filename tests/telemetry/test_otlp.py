"""Facts to a collector: what it is told, and what becomes of the process when it is slow, silent or gone."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from tests.telemetry.receiver import Receiver, receiving

from waypost.settings.otlp import OtlpSettings
from waypost.telemetry.facts import AttemptFacts, JobFacts, RequestFacts, StepFacts, Tokens
from waypost.telemetry.metrics.models import ModelNames
from waypost.telemetry.otlp.configured import Otlp, configured_otlp
from waypost.telemetry.otlp.names import Peer
from waypost.telemetry.tracing import Span

TRACE, PARENT, OWN, CALL = (
    "4bf92f3577b34da6a3ce929d0e0e4736",
    "00f067aa0ba902b7",
    "1111111111111111",
    "2222222222222222",
)
NOW_MS = 1_780_000_000_000
PEERS = {"first": Peer("openai", "api.openai.com", 443), "second": Peer("gcp.gemini", "example.com", 8443)}

ATTEMPTS = (
    AttemptFacts(
        "first", "openai", "gpt-5-mini", 1, NOW_MS + 5, 30, "failed", error_code="provider_overloaded", span_id="3" * 16
    ),
    AttemptFacts(
        "third", "openai", "gpt-5-mini", 0, NOW_MS + 36, 0, "failed", is_sent=False, error_code="target_paused"
    ),
    AttemptFacts(
        "second",
        "gemini",
        "gemini-3-flash",
        2,
        NOW_MS + 40,
        400,
        "answered",
        first_token_ms=120,
        response_model="gemini-3-flash-001",
        tokens=Tokens(100, 40, 5, 50, 20),
        cost_micro_usd=1234,
        span_id=CALL,
    ),
)
REQUEST = RequestFacts(
    "req-1",
    "openai_chat",
    "POST",
    "/v1/chat/completions",
    NOW_MS,
    0.45,
    "answered",
    200,
    route="smart",
    asked_model="smart",
    provider="second",
    model="gemini-3-flash-001",
    is_stream=True,
    first_token_ms=160,
    attempts=ATTEMPTS,
    project_id="project-1",
    key_id="key-1",
    end_user="somebody@example.com",
    trace_id=TRACE,
    span=Span(TRACE, OWN, PARENT, state="vendor=1"),
)
JOB = JobFacts(
    "job-1",
    "analyze",
    "failed",
    NOW_MS,
    NOW_MS + 100,
    NOW_MS + 900,
    1,
    "all_providers_failed",
    span=Span("a" * 32, "b" * 16, caused_by=f"00-{TRACE}-{OWN}-01"),
)
STEP = StepFacts(
    "job-1", "analyze", "chunk 3", NOW_MS + 110, NOW_MS + 800, "done", span=Span("a" * 32, "c" * 16, "b" * 16)
)


@contextmanager
def sending(receiver: Receiver, **settings: Any) -> Iterator[Otlp]:
    """The whole way from facts on, as a server has it."""
    models = ModelNames()
    models.configure([("first", "gpt-5-mini"), ("second", "gemini-3-flash")], lambda *_: False)
    otlp = configured_otlp(OtlpSettings(endpoint=receiver.url, **settings), models, {"OTEL_BSP_SCHEDULE_DELAY": "50"})
    assert otlp is not None
    otlp.tracing(PEERS, {})
    otlp.pipeline.start()
    try:
        yield otlp
    finally:
        otlp.pipeline.close(10.0)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as each:
        yield each


def test_request(receiver: Receiver) -> None:
    """A request and its calls are spans of one trace, with the ids that were given out and the exact counts."""
    with sending(receiver) as otlp:
        otlp.pipeline.request_ended(REQUEST)
    (request,) = receiver.named("POST /v1/chat/completions")
    assert (request.kind, request.trace_id, request.span_id, request.parent_id) == ("server", TRACE, OWN, PARENT)
    assert (request.started_ns, request.ended_ns) == (NOW_MS * 1_000_000, NOW_MS * 1_000_000 + 450_000_000)
    assert request.state == "vendor=1"
    assert not request.failed
    assert request.attributes == {
        "http.request.method": "POST",
        "url.path": "/v1/chat/completions",
        "http.response.status_code": 200,
        "waypost.request.id": "req-1",
        "waypost.door": "openai_chat",
        "waypost.outcome": "answered",
        "waypost.route": "smart",
        "waypost.project.id": "project-1",
        "waypost.key.id": "key-1",
        "gen_ai.request.model": "smart",
        "gen_ai.response.model": "gemini-3-flash-001",
    }
    assert [name for name, _ in request.events] == ["waypost.target_ruled_out"]
    (failed,) = receiver.named("chat gpt-5-mini")
    assert (failed.kind, failed.span_id, failed.parent_id, failed.failed) == ("client", "3" * 16, OWN, True)
    assert failed.attributes["error.type"] == "provider_overloaded"
    assert failed.attributes["gen_ai.provider.name"] == "openai"
    assert (failed.attributes["server.address"], failed.attributes["server.port"]) == ("api.openai.com", 443)
    assert "gen_ai.usage.input_tokens" not in failed.attributes, "what is not known is not told"
    (answered,) = receiver.named("generate_content gemini-3-flash")
    began_ns = (NOW_MS + 40) * 1_000_000
    assert (answered.span_id, answered.parent_id, answered.failed) == (CALL, OWN, False)
    assert (answered.started_ns, answered.ended_ns) == (began_ns, began_ns + 400_000_000)
    assert answered.events == (("waypost.first_token", began_ns + 120_000_000),)
    assert {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "gemini-3-flash",
        "gen_ai.response.model": "gemini-3-flash-001",
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": 0.12,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.cache_creation.input_tokens": 5,
        "gen_ai.usage.reasoning.output_tokens": 20,
        "waypost.cost_usd": 0.001234,
        "waypost.attempt.number": 2,
    }.items() <= answered.attributes.items()
    assert len(receiver.spans) == 3
    assert request.resource["service.name"] == "waypost"
    assert request.resource["service.instance.id"]
    assert "somebody@example.com" not in str(receiver.spans)


def test_job_and_step(receiver: Receiver) -> None:
    """A job is a trace of its own, linked to the request that asked for it; its steps are below it."""
    with sending(receiver) as otlp:
        otlp.pipeline.step_ended(STEP)
        otlp.pipeline.job_ended(JOB)
    (job,), (step,) = receiver.named("job analyze"), receiver.named("step analyze")
    assert (job.kind, job.parent_id, job.links) == ("consumer", "", ((TRACE, OWN),))
    assert (job.failed, job.attributes["error.type"]) == (True, "all_providers_failed")
    assert job.started_ns == (NOW_MS + 100) * 1_000_000
    assert job.attributes["waypost.job.queued_ms"] == 100
    assert (step.kind, step.trace_id, step.parent_id) == ("internal", job.trace_id, job.span_id)
    assert (step.attributes["waypost.step.name"], step.failed) == ("chunk 3", False)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"outcome": "failed", "status": 502, "error_code": "all_providers_failed"}, "all_providers_failed"),
        # A stream that broke after its status was sent.
        ({"outcome": "failed", "status": 200, "error_code": "incomplete_stream"}, "incomplete_stream"),
        ({"outcome": "failed", "status": 500}, "_OTHER"),
        ({"outcome": "refused", "status": 429, "error_code": "rate_limited"}, None),
        ({"outcome": "failed", "status": 400, "error_code": "provider_bad_request"}, None),
        ({"outcome": "caller_left", "status": None}, None),
    ],
)
def test_errors(receiver: Receiver, changes: dict[str, Any], error: str | None) -> None:
    """A server's failure is the span's; what callers do wrong is not."""
    with sending(receiver) as otlp:
        otlp.pipeline.request_ended(msgspec.structs.replace(REQUEST, attempts=(), **changes))
    (span,) = receiver.spans
    assert (span.failed, span.attributes.get("error.type")) == (error is not None, error)
    assert span.attributes.get("waypost.error.code", "") == changes.get("error_code", "")
    assert not span.status_text


@pytest.mark.parametrize(
    ("door", "path", "status", "name"),
    [
        ("gemini", "/v1beta/models/gemini-3-flash:generateContent", 200, "POST /v1beta/models/{model}:generateContent"),
        ("raw", "/providers/openai/v1/files/file-123", 200, "POST /providers"),
        ("other", "/api/ai/jobs/job_0192ab/cancel", 200, "POST /api/ai/jobs/{id}/cancel"),
        ("other", "/api/ai/analyze", 202, "POST /api/ai/analyze"),
        ("other", "/wp-login.php", 404, "POST"),
        ("other", "/api/ai/analyze", None, "POST"),
    ],
)
def test_names_are_few(receiver: Receiver, door: Any, path: str, status: int | None, name: str) -> None:
    """A span's name holds no id, no model and nothing that a stranger made up."""
    facts = msgspec.structs.replace(REQUEST, door=door, path=path, status=status, attempts=())
    with sending(receiver) as otlp:
        otlp.pipeline.request_ended(facts)
    assert [span.name for span in receiver.spans] == [name]


def test_left_out(receiver: Receiver) -> None:
    """No spans of traces that are not kept, nor of probes; both are measured all the same if they asked anybody."""
    span = Span(TRACE, OWN, "", is_sampled=False)
    with sending(receiver) as otlp:
        otlp.pipeline.request_ended(msgspec.structs.replace(REQUEST, span=span))
        probe = msgspec.structs.replace(REQUEST, path="/health", door="other", attempts=(), span=Span(TRACE, OWN))
        otlp.pipeline.request_ended(probe)
        otlp.pipeline.request_ended(msgspec.structs.replace(REQUEST, span=None))
    assert receiver.spans == []
    assert sum(point.count for point in receiver.points("gen_ai.client.operation.duration")) == 4


def test_metrics(receiver: Receiver) -> None:
    """The conventions' histograms, with their buckets; each call is counted with its own vendor and model."""
    with sending(receiver) as otlp:
        otlp.pipeline.request_ended(REQUEST)
        otlp.pipeline.request_ended(REQUEST)
    second = {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "gcp.gemini",
        "gen_ai.request.model": "gemini-3-flash",
        "server.address": "example.com",
        "server.port": 8443,
    }
    tokens = {point.attributes["gen_ai.token.type"]: point for point in receiver.points("gen_ai.client.token.usage")}
    assert {kind: (point.count, point.sum) for kind, point in tokens.items()} == {"input": (2, 200), "output": (2, 100)}
    assert tokens["input"].attributes == {**second, "gen_ai.token.type": "input"}
    assert tokens["input"].bounds[-1] == 67108864
    durations = {
        point.attributes.get("error.type"): point for point in receiver.points("gen_ai.client.operation.duration")
    }
    assert set(durations) == {None, "provider_overloaded"}
    assert durations[None].sum == pytest.approx(0.8)
    assert durations[None].bounds[0] == 0.01
    (first_chunk,) = receiver.points("gen_ai.client.operation.time_to_first_chunk")
    assert first_chunk.sum == pytest.approx(0.24)
    (served,) = receiver.points("gen_ai.server.request.duration")
    assert served.count == 2
    assert served.sum == pytest.approx(0.9)
    (first_token,) = receiver.points("gen_ai.server.time_to_first_token")
    assert first_token.sum == pytest.approx(0.32)
    assert first_token.attributes == second


def test_models_are_bounded(receiver: Receiver) -> None:
    """Callers may ask for any model; those that nobody configured are one series."""
    with sending(receiver) as otlp:
        otlp.pipeline.request_ended(REQUEST)
        for number in range(300):
            attempt = msgspec.structs.replace(ATTEMPTS[0], model=f"made-up-{number}")
            otlp.pipeline.request_ended(msgspec.structs.replace(REQUEST, attempts=(attempt,)))
    counts = {
        point.attributes["gen_ai.request.model"]: point.count
        for point in receiver.points("gen_ai.client.operation.duration")
    }
    assert counts == {"gpt-5-mini": 1, "gemini-3-flash": 1, "other": 300}


def test_headers_and_resource(receiver: Receiver) -> None:
    """The collector gets its key, and knows the service by the settings' words."""
    with sending(
        receiver,
        headers={"X-Api-Key": "the-key"},
        service_name="mine",
        resource={"deployment.environment.name": "test"},
    ) as otlp:
        otlp.pipeline.request_ended(REQUEST)
    assert {headers["x-api-key"] for _, headers in receiver.requests} == {"the-key"}
    assert {path for path, _ in receiver.requests} == {"/v1/traces", "/v1/metrics"}
    resource = receiver.spans[0].resource
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("mine", "test")


def test_refusing_collector(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """What a collector does not take is counted and told once; what comes later is sent."""
    receiver.status = 400
    with caplog.at_level(logging.WARNING), sending(receiver, metrics=False) as otlp:
        for _ in range(3):
            otlp.pipeline.request_ended(REQUEST)
        receiver.until(lambda it: otlp.pipeline.lost == 3)
        receiver.status = 200
        otlp.pipeline.request_ended(REQUEST)
        receiver.until(lambda it: it.spans)
    assert caplog.text.count("the collector takes no spans") == 1
    assert (otlp.pipeline.sent, otlp.pipeline.lost, otlp.pipeline.dropped) == (1, 3, 0)


def test_hanging_collector(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """While a collector is silent, telling facts stays instant, the queue ends somewhere, and so does the closing."""
    receiver.hangs.set()
    with sending(receiver, queue=50, metrics=False) as otlp:
        otlp.pipeline.request_ended(REQUEST)
        receiver.until(lambda it: it.requests)
        began = time.monotonic()
        for _ in range(1000):
            otlp.pipeline.request_ended(REQUEST)
        assert time.monotonic() - began < 0.5
        assert otlp.pipeline.dropped == 950
        with caplog.at_level(logging.WARNING):
            otlp.pipeline.close(0.3)
        assert time.monotonic() - began < 2.0
        assert "at least 50 are lost" in caplog.text
        receiver.hangs.clear()


class Said:
    """A long conversation."""

    size_bytes = 12 * 1024 * 1024

    def told(self) -> tuple[str, str]:
        return "asked", "answered"


def test_contents_have_room(receiver: Receiver) -> None:
    """What was said and waits to be sent is bounded in bytes; spans go on without it, until there is room again."""
    receiver.hangs.set()
    with sending(receiver, metrics=False) as otlp:
        otlp.pipeline.request_ended(REQUEST)
        receiver.until(lambda it: it.requests)
        for _ in range(3):
            otlp.pipeline.request_ended(msgspec.structs.replace(REQUEST, content=Said()))
        receiver.hangs.clear()
        receiver.until(lambda it: otlp.pipeline.sent == 4)
        otlp.pipeline.request_ended(msgspec.structs.replace(REQUEST, content=Said()))
        receiver.until(lambda it: len(it.named("POST /v1/chat/completions")) == 4)
    said = [span.attributes.get("gen_ai.input.messages") for span in receiver.named("POST /v1/chat/completions")]
    assert said == ["asked", "asked", None, "asked"]


def test_no_collector(caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody listens, closing waits for no further try."""
    with receiving() as gone:
        url = gone.url
    otlp = configured_otlp(OtlpSettings(endpoint=url), None, {})
    assert otlp is not None
    otlp.pipeline.start()
    otlp.pipeline.request_ended(REQUEST)
    began = time.monotonic()
    otlp.pipeline.close(1.0)
    assert time.monotonic() - began < 3.0
    assert otlp.pipeline.sent == 0
