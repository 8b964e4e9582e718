"""The trace of a request or job under way: its ids, and what is said of it to whoever is called. No I/O, no spans.

Spans are made afterwards, of facts. Here is only what must be known earlier: the ids, whether the trace is kept, and
the header for each call. The invariant: nobody is told a trace's ids whom the settings do not name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

import msgspec

from waypost.telemetry.sampling import Sampler
from waypost.telemetry.trace_context import TRACEPARENT, TRACESTATE, TraceContext, new_span_id, new_trace_id

NO_HEADERS: Final[Mapping[str, str]] = {}
_outgoing: ContextVar[Mapping[str, str]] = ContextVar("waypost_outgoing_trace", default=NO_HEADERS)
_around: ContextVar[Span | None] = ContextVar("waypost_span_around", default=None)


class Span(msgspec.Struct, frozen=True, gc=False):
    """Where a request, job or step stands in its trace. Ids in hexadecimal, empty where there is none.

    `state` is a tracestate; `caused_by` is the traceparent of what led to it without waiting for it.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    is_sampled: bool = True
    state: str = ""
    caused_by: str = ""
    is_own: bool = True
    """False: somebody else tells of the span, such as the step that a call belongs to."""

    @property
    def context(self) -> TraceContext:
        """For those below it."""
        return TraceContext(self.trace_id, self.span_id, self.is_sampled, self.state)


def outgoing_headers() -> Mapping[str, str]:
    """What the call under way in this task is to say of its trace; mostly nothing."""
    return _outgoing.get()


def span_around() -> Span | None:
    """The step that the running task works for, if it is traced."""
    return _around.get()


@contextmanager
def working_within(span: Span | None) -> Iterator[None]:
    """In the block, the running task works for this step."""
    token = _around.set(span)
    try:
        yield
    finally:
        _around.reset(token)


@dataclass(frozen=True, slots=True)
class Tracing:
    """How this process traces. `tells` says which providers are told; content is kept if `content`."""

    sampler: Sampler
    tells: Callable[[str], bool]
    content: bool = False

    def begin(self, parent: TraceContext | None) -> Trace:
        """A request begins, in its caller's trace or in one of its own."""
        if parent is None:
            trace_id = new_trace_id()
            return Trace(Span(trace_id, new_span_id(), "", self.sampler.keeps(trace_id)), self.tells)
        kept = self.sampler.keeps(parent.trace_id, parent)
        return Trace(Span(parent.trace_id, new_span_id(), parent.span_id, kept, parent.state), self.tells)

    def within(self, span: Span) -> Trace:
        """A call of a step begins, whose span somebody else tells of."""
        return Trace(msgspec.structs.replace(span, is_own=False), self.tells)

    def job(self, job_id: str, runs: int, cause: TraceContext | None) -> Span:
        """That of a job: a trace of its own, whose ids follow from the job's.

        So whoever goes on with a job whose worker died goes on with its trace. It is kept if that of its cause is.
        """
        digest = hashlib.sha256(f"{job_id}\n{runs}".encode()).hexdigest()
        trace_id, span_id = digest[:32], digest[32:48]
        kept = self.sampler.keeps(trace_id) if cause is None else self.sampler.keeps(trace_id, cause)
        return Span(trace_id, span_id, "", kept, caused_by="" if cause is None else cause.traceparent)


@dataclass(slots=True)
class Trace:
    """One request's."""

    span: Span
    _tells: Callable[[str], bool]
    last_call: str = ""
    """The id of the last call's span."""

    def begin_call(self, provider: str) -> str:
        """The running task calls this provider next. Gives the id of the call's span."""
        span_id = self.last_call = new_span_id()
        _outgoing.set(self._headers(span_id) if self._tells(provider) else NO_HEADERS)
        return span_id

    def _headers(self, span_id: str) -> Mapping[str, str]:
        span = self.span
        context = TraceContext(span.trace_id, span_id, span.is_sampled)
        if span.state:
            return {TRACEPARENT: context.traceparent, TRACESTATE: span.state}
        return {TRACEPARENT: context.traceparent}


def span_below(span: Span | None) -> Span | None:
    """A new one, of something that is done within it."""
    if span is None:
        return None
    return Span(span.trace_id, new_span_id(), span.span_id, span.is_sampled, span.state)
