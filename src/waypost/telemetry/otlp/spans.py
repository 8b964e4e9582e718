"""Facts as spans: names, times, attributes. Plain values; nothing here knows who sends them.

Of a request there is a span, and one below it for each call; of a job one, its steps below it, and the calls of a step
below that. The invariant: all that is told is in the facts, which hold no header, key or error text, and
what was said only where the settings want it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from waypost.telemetry.facts import AttemptFacts, JobFacts, RequestFacts, StepFacts, Tokens
from waypost.telemetry.otlp import names
from waypost.telemetry.otlp.names import Peer
from waypost.telemetry.trace_context import TraceContext, new_span_id, read_context
from waypost.telemetry.tracing import Span

Kind: TypeAlias = Literal["server", "client", "consumer", "internal"]
Value: TypeAlias = str | int | float | bool
Attributes: TypeAlias = dict[str, Value]
MILLION: Final = 1_000_000
"""Nanoseconds in a millisecond, and micro-dollars in a dollar."""
PROBES: Final = frozenset({"/health", "/ready", "/metrics"})
"""What is asked for every few seconds: told only to who traces it himself."""
_NUMBERED: Final = re.compile(r"/[^/]*\d[^/]*")
_GEMINI_MODEL: Final = re.compile(r"/models/.+:")
NOT_FOUND: Final = 404


class SpanValue(msgspec.Struct, frozen=True):
    """One span. Times in Unix nanoseconds; `error` is the kind of its error, empty if there is none."""

    name: str
    kind: Kind
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    started_ns: int
    ended_ns: int
    attributes: Attributes
    error: str = ""
    events: tuple[tuple[str, int, Attributes], ...] = ()
    links: tuple[TraceContext, ...] = ()
    has_remote_parent: bool = False


def request_spans(facts: RequestFacts, peers: Mapping[str, Peer]) -> Iterator[SpanValue]:
    """Those of a request and its calls; none if its trace is not kept."""
    span = facts.span
    if span is None or not span.is_sampled or (facts.path in PROBES and not span.parent_id):
        return
    sent = [each for each in facts.attempts if each.is_sent]
    if span.is_own:
        yield _request_span(facts, span)
    for attempt in sent:
        yield _attempt_span(facts, attempt, span, peers)


def job_spans(facts: JobFacts) -> Iterator[SpanValue]:
    """That of a job."""
    span = facts.span
    if span is None or not span.is_sampled:
        return
    cause = read_context([span.caused_by]) if span.caused_by else None
    started_ms = facts.ready_at_ms if facts.started_at_ms is None else facts.started_at_ms
    yield SpanValue(
        f"job {facts.job_type}",
        "consumer",
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.state,
        started_ms * MILLION,
        max(facts.ended_at_ms, started_ms) * MILLION,
        _told(
            {
                "waypost.job.id": facts.job_id,
                "waypost.job.type": facts.job_type,
                "waypost.job.outcome": facts.outcome,
                "waypost.job.runs": facts.runs,
                "waypost.job.queued_ms": max(0, started_ms - facts.ready_at_ms),
                "waypost.batch.id": facts.batch_id,
                "waypost.project.id": facts.project_id,
                "waypost.key.id": facts.key_id,
                names.RESPONSE_MODEL: facts.model,
                **_used(facts.tokens, facts.cost_micro_usd),
            },
            error=_error(facts.error_code, failed=facts.outcome == "failed"),
        ),
        error=_error(facts.error_code, failed=facts.outcome == "failed"),
        links=() if cause is None else (cause,),
    )


def step_spans(facts: StepFacts) -> Iterator[SpanValue]:
    """That of one try of a step."""
    span = facts.span
    if span is None or not span.is_sampled:
        return
    error = _error(facts.error_code, failed=facts.outcome == "failed")
    yield SpanValue(
        f"step {facts.job_type}",
        "internal",
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.state,
        facts.started_at_ms * MILLION,
        max(facts.ended_at_ms, facts.started_at_ms) * MILLION,
        _told(
            {
                "waypost.job.id": facts.job_id,
                "waypost.job.type": facts.job_type,
                "waypost.step.name": facts.name,
                "waypost.step.outcome": facts.outcome,
                "waypost.request.id": facts.request_id,
                names.RESPONSE_MODEL: facts.model,
                **_used(facts.tokens, facts.cost_micro_usd),
            },
            error=error,
        ),
        error=error,
    )


def _request_span(facts: RequestFacts, span: Span) -> SpanValue:
    started_ns = facts.started_at_ms * MILLION
    # A caller's mistake is no error of a server's. Source: HTTP conventions, status of server spans.
    refused = facts.status is not None and 400 <= facts.status < 500
    failed = facts.outcome == "failed" and not refused
    error = _error(facts.error_code, failed=failed)
    return SpanValue(
        request_name(facts),
        "server",
        span.trace_id,
        span.span_id,
        span.parent_id,
        span.state,
        started_ns,
        started_ns + round(facts.duration_s * 1e9),
        _told(
            {
                names.METHOD: facts.method,
                names.PATH: facts.path,
                names.STATUS: facts.status,
                "waypost.request.id": facts.request_id,
                "waypost.door": facts.door,
                "waypost.outcome": facts.outcome,
                "waypost.route": facts.route,
                "waypost.cache": facts.cache,
                "waypost.project.id": facts.project_id,
                "waypost.key.id": facts.key_id,
                "waypost.error.code": facts.error_code,
                names.REQUEST_MODEL: facts.asked_model,
                names.RESPONSE_MODEL: facts.model,
                **_total(facts),
                **_said(facts),
            },
            error=error,
        ),
        error=error,
        events=tuple(_ruled_out(facts)),
        has_remote_parent=bool(span.parent_id),
    )


def _said(facts: RequestFacts) -> dict[str, Value | None]:
    if facts.content is None:
        return {}
    asked, answered = facts.content.told()
    return {names.INPUT_MESSAGES: asked, names.OUTPUT_MESSAGES: answered}


def request_name(facts: RequestFacts) -> str:
    """Method and path, one name for all ids and models; of unknown paths the method alone."""
    if facts.door == "raw":
        return f"{facts.method} /providers"
    if facts.door != "other":
        return f"{facts.method} {_GEMINI_MODEL.sub('/models/{model}:', facts.path)}"
    if facts.status is None or facts.status == NOT_FOUND:
        return facts.method
    return f"{facts.method} {_NUMBERED.sub('/{id}', facts.path)}"


def _ruled_out(facts: RequestFacts) -> Iterator[tuple[str, int, Attributes]]:
    for each in facts.attempts:
        if not each.is_sent:
            told = _told({"waypost.provider": each.provider, names.REQUEST_MODEL: each.model}, error=each.error_code)
            yield "waypost.target_ruled_out", each.started_at_ms * MILLION, told


def _attempt_span(facts: RequestFacts, attempt: AttemptFacts, span: Span, peers: Mapping[str, Peer]) -> SpanValue:
    operation, started_ns = names.operation_of(facts, attempt), attempt.started_at_ms * MILLION
    first_ms = attempt.first_token_ms if facts.is_stream else None
    error = _error(attempt.error_code, failed=attempt.outcome == "failed")
    peer = names.peer_of(peers, attempt)
    return SpanValue(
        f"{operation} {attempt.model}" if attempt.model else operation,
        "client",
        span.trace_id,
        attempt.span_id or new_span_id(),
        span.span_id,
        span.state,
        started_ns,
        started_ns + attempt.duration_ms * MILLION,
        _told(
            {
                names.OPERATION: operation,
                names.PROVIDER: peer.vendor,
                names.SERVER_ADDRESS: peer.address,
                names.SERVER_PORT: peer.port,
                names.REQUEST_MODEL: attempt.model,
                names.RESPONSE_MODEL: attempt.response_model,
                names.REQUEST_STREAM: facts.is_stream or None,
                names.FIRST_CHUNK_S: None if first_ms is None else first_ms / 1000,
                "waypost.provider": attempt.provider,
                "waypost.attempt.number": attempt.number or None,
                "waypost.attempt.outcome": attempt.outcome,
                "waypost.attempt.way": attempt.way,
                "waypost.cost_is_estimate": attempt.cost_is_estimate or None,
                **_used(attempt.tokens, attempt.cost_micro_usd),
            },
            error=error,
        ),
        error=error,
        events=() if first_ms is None else ((names.FIRST_TOKEN, started_ns + first_ms * MILLION, {}),),
    )


def _used(tokens: Tokens, cost_micro_usd: int | None) -> dict[str, Value | None]:
    return {
        names.INPUT_TOKENS: tokens.input,
        names.OUTPUT_TOKENS: tokens.output,
        names.CACHE_READ_TOKENS: tokens.input_cache_read,
        names.CACHE_WRITE_TOKENS: tokens.input_cache_write,
        names.REASONING_TOKENS: tokens.output_reasoning,
        "waypost.cost_usd": None if cost_micro_usd is None else cost_micro_usd / MILLION,
    }


def _total(facts: RequestFacts) -> dict[str, Value | None]:
    """What the request cost. None, if of one of its calls it is not known."""
    costs = [each.cost_micro_usd for each in facts.attempts if each.is_sent]
    known = [cost for cost in costs if cost is not None]
    return {"waypost.cost_usd": sum(known) / MILLION if costs and len(known) == len(costs) else None}


def _told(attributes: Mapping[str, Value | None], error: str) -> Attributes:
    """What is known of them."""
    told = {name: value for name, value in attributes.items() if value is not None and value != ""}
    return {**told, names.ERROR_TYPE: error} if error else told


def _error(code: str, *, failed: bool) -> str:
    return (code or names.OTHER) if failed else ""
