"""What became of one request: whoever learns it notes it here, and the access log tells it when the request ends.

A record is shared by every task that works for the request. Outside of a request notes go nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
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
