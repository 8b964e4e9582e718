"""What became of one request: whoever learns it notes it here, and the access log tells it when the request ends.

A record is shared by every task that works for the request. Outside of a request notes go nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass

from waypost.errors import Attempt, ProviderError, WaypostError


@dataclass(slots=True)
class CallRecord:
    """Who answered or was asked last, all calls made, and the error the request ended with, if any."""

    provider: str | None = None
    model: str | None = None
    attempts: tuple[Attempt, ...] = ()
    error: Exception | None = None
    cache: str | None = None
    """"hit" if a kept answer was given, of that provider and model."""
    replayed: bool = False
    """Was the answer that to an earlier request with the same idempotency key?"""
    on_answer: Callable[[], None] | None = None
    """Called when somebody answers, or has begun to: from then on the request may cost."""

    def failures(self) -> tuple[Attempt, ...]:
        """Each call that failed, in order. One that broke off after it had begun to answer comes last."""
        failed = tuple(attempt for attempt in self.attempts if attempt.error is not None)
        told = any(attempt.error is self.error for attempt in failed)
        if told or not isinstance(self.error, ProviderError):
            return failed
        began_ms = self.attempts[-1].duration_ms if self.attempts else 0
        provider = self.error.provider or self.provider or ""
        return (*failed, Attempt(provider, self.model, self.error, began_ms))


_current: ContextVar[CallRecord | None] = ContextVar("waypost_call_record", default=None)


def begin_record() -> tuple[CallRecord, Token[CallRecord | None]]:
    """A new record for the running task and those it starts, and what `end_record` needs."""
    record = CallRecord()
    return record, _current.set(record)


def end_record(token: Token[CallRecord | None]) -> None:
    """The running task notes nothing more."""
    _current.reset(token)


def note_answer(provider: str, model: str, attempts: Sequence[Attempt]) -> None:
    """Somebody answers, or has begun to."""
    record = _current.get()
    if record is not None:
        record.provider, record.model, record.attempts = provider, model, tuple(attempts)
        if record.on_answer is not None:
            record.on_answer()


def on_answer(call: Callable[[], None]) -> None:
    """Have it called when somebody answers this request, or begins to."""
    record = _current.get()
    if record is not None:
        record.on_answer = call


def note_kept_answer(headers: Iterable[tuple[bytes, bytes]], *, cache: str | None = None) -> None:
    """An answer from memory is told: `cache` says which word of the cache; None: it is a replay. Nobody is asked."""
    record = _current.get()
    if record is None:
        return
    told = dict(headers)
    record.provider = told.get(b"x-waypost-provider", b"").decode("latin-1") or None
    record.model = told.get(b"x-waypost-model", b"").decode("latin-1") or None
    record.cache, record.replayed = cache, cache is None


def note_failure(error: Exception) -> None:
    """The request ends with this error, whatever the status says."""
    record = _current.get()
    if record is None:
        return
    record.error = error
    if isinstance(error, WaypostError) and error.attempts:
        record.attempts = error.attempts
    if record.attempts:
        record.provider = record.provider or record.attempts[-1].provider
        record.model = record.model or record.attempts[-1].model
    elif isinstance(error, ProviderError):
        record.provider = record.provider or error.provider
