"""What became of one request: whoever learns it notes it here; the access log and the request's story tell it.

A record is shared by every task that works for the request. Outside of a request notes go nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from waypost.catalogue import PUBLISHED, PriceBook
from waypost.chat import Usage
from waypost.errors import AllTargetsFailed, Attempt, ProviderError, WaypostError
from waypost.gateway.story import AttemptStory, Outcome, RequestStory, Telling, error_code, error_words
from waypost.ledger.account import Account
from waypost.ledger.books import Books, Entry, RequestOutcome

if TYPE_CHECKING:
    from waypost.gateway.facts import Over


class Told(Protocol):
    """An answer, whole or under way: what it says of itself, which may still grow."""

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All calls so far."""

    @property
    def usage(self) -> Usage:
        """Counts so far."""

    @property
    def incomplete_usage(self) -> frozenset[str]:
        """The counts that are lower bounds."""

    @property
    def kind(self) -> str:
        """The kind of the provider, by which its price is known."""

    @property
    def prices(self) -> PriceBook:
        """Those in force when it was asked."""


@dataclass(frozen=True, slots=True)
class RequestEnd:
    """How a request ended for its caller."""

    request_id: str
    outcome: Outcome
    status: int | None
    duration_ms: int


@dataclass(slots=True)
class CallRecord:
    """Who answered or was asked last, all calls made, and the error the request ended with, if any."""

    provider: str | None = None
    model: str | None = None
    asked_model: str | None = None
    """None: the request asked for no model at all, as pages and probes do."""
    route: str | None = None
    retry_after_limit_ms: int | None = None
    notes: tuple[str, ...] = ()
    told: Told | None = None
    error: Exception | None = None
    cache: str | None = None
    """"hit" if a kept answer was given, of that provider and model."""
    replayed: bool = False
    """Was the answer that to an earlier request with the same idempotency key?"""
    on_answer: Callable[[], None] | None = None
    """Called when somebody answers, or has begun to: from then on the request may cost."""
    started_at: float = field(default_factory=time.time)
    request_id: str = ""
    path: str = ""
    account: Account | None = None
    """Whose the request is, once that is known."""
    tags: dict[str, str] | None = None
    books: Books | None = None
    entry: Entry | None = None
    """The request's in the ledger, once somebody is to be asked."""
    is_stream: bool = False
    """Does the caller want the answer piece by piece?"""
    trace_id: str = ""
    over: Over | None = None
    """How it ended for its caller; see `gateway.facts`."""
    tell: Callable[[], None] | None = None
    """Tells its facts, once nothing of it goes on."""
    goes_on: int = 0
    """What goes on without its caller."""
    _attempts: tuple[Attempt, ...] = ()

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All calls, in order."""
        return self.told.attempts if self.told is not None else self._attempts

    def note_attempts(self, attempts: Sequence[Attempt]) -> None:
        """Those of a service that does not tell by itself, or of an error."""
        self._attempts = tuple(attempts)

    def failures(self) -> tuple[Attempt, ...]:
        """Each call that failed, in order. One that broke off after it had begun to answer comes last."""
        failed = tuple([attempt for attempt in self.attempts if attempt.error is not None])
        if not failed and self.error is None:
            return ()
        told = any(attempt.error is self.error for attempt in failed)
        if told or not isinstance(self.error, ProviderError):
            return failed
        began_ms = self.attempts[-1].duration_ms if self.attempts else 0
        provider = self.error.provider or self.provider or ""
        return (*failed, Attempt(provider, self.model, self.error, began_ms))

    def write_end(self, end: RequestEnd) -> None:
        """Tell the books that the request is over; nothing if it is not in them."""
        if self.entry is None or self.books is None:
            return
        outcome = RequestOutcome(
            end.outcome,
            end.status,
            end.duration_ms,
            self.provider,
            self.model,
            None if self.error is None else error_code(self.error),
            _first_token_ms(self.attempts),
            self.cache or ("replay" if self.replayed else None),
        )
        self.books.end(self.entry, outcome)

    def settled(self, end: RequestEnd) -> Telling:
        """The request's story, for whoever asks later. It holds on to no answer, no exception and no trace.

        The request's errors lose their traces: see `forget_frames`.
        """
        forget_frames(attempt.error for attempt in self.attempts)
        if isinstance(self.error, WaypostError):  # any other may be on its way to whoever logs it with its trace
            forget_frames([self.error])
        told, limit_ms = self.told, self.retry_after_limit_ms
        return _Settled(
            end,
            self.asked_model or "",
            self.started_at,
            self.route,
            # What failed is put into words now, as its exception is not to be held on to; the rest when somebody asks.
            tuple([each if each.error is None else _attempt_story(each, limit_ms) for each in self.attempts]),
            Usage() if told is None else told.usage,
            frozenset() if told is None else told.incomplete_usage,
            self.provider or "",
            "" if told is None else told.kind,
            self.model or "",
            self.notes,
            PUBLISHED if told is None else told.prices,
        )


@dataclass(slots=True)
class _Settled:
    """What a story is made of. One object, since thousands wait for the few that are read."""

    end: RequestEnd
    asked_model: str
    started_at: float
    route: str | None
    attempts: tuple[Attempt | AttemptStory, ...]
    usage: Usage
    incomplete_usage: frozenset[str]
    provider: str
    kind: str
    model: str
    notes: tuple[str, ...]
    prices: PriceBook

    def __call__(self) -> RequestStory:
        """Tell it."""
        return RequestStory(
            request_id=self.end.request_id,
            asked_model=self.asked_model,
            started_at=self.started_at,
            duration_ms=self.end.duration_ms,
            outcome=self.end.outcome,
            status=self.end.status,
            route=self.route,
            # None of those that are not told yet has failed, so that no limit of waiting is told of them.
            attempts=tuple(
                each if isinstance(each, AttemptStory) else _attempt_story(each, None) for each in self.attempts
            ),
            usage=self.usage,
            incomplete_usage=self.incomplete_usage,
            cost_micro_usd=self._cost_micro_usd(),
            notes=self.notes,
        )

    def _cost_micro_usd(self) -> int | None:
        if self.incomplete_usage:
            return None
        asked = next((each.model for each in reversed(self.attempts) if each.provider == self.provider), None)
        return self.prices.cost_micro_usd(
            self.provider, self.kind, self.model, self.usage, self.started_at, asked=asked
        )


def _first_token_ms(attempts: Sequence[Attempt]) -> int | None:
    """From the request's start to the first token of who answered."""
    for each in attempts:
        if each.next == "answered":
            return None if each.first_token_ms is None else each.started_ms + each.first_token_ms
    return None


def _attempt_story(attempt: Attempt, wait_limit_ms: int | None) -> AttemptStory:
    error = attempt.error
    asked_s = error.retry_after_s if isinstance(error, ProviderError) else None
    return AttemptStory(
        provider=attempt.provider,
        model=attempt.model,
        started_ms=attempt.started_ms,
        duration_ms=attempt.duration_ms,
        reason_next=attempt.next,
        first_token_ms=attempt.first_token_ms,
        error_code=None if error is None else error_code(error),
        error_sentence="" if error is None else error_words(error),
        waited_ms=attempt.waited_ms,
        asked_wait_ms=None if asked_s is None else round(asked_s * 1000),
        wait_limit_ms=wait_limit_ms,
        key_label=attempt.key_label,
        way=attempt.way,
    )


def forget_frames(errors: Iterable[BaseException | None]) -> None:
    """Cut the traces of these errors, and of those they came from.

    An error whose trace leads to a frame that holds the error is a cycle, and keeps all that its frames hold, such as
    64 MB of a reply that was too large, until the collector looks: which is seldom, since the server looks for little
    that is garbage.
    """
    left: list[BaseException | None] = list(errors)
    seen: set[int] = set()
    while left:
        error = left.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        error.__traceback__ = None
        left += [error.__cause__, error.__context__]
        if isinstance(error, AllTargetsFailed):
            left += [attempt.error for attempt in error.attempts]


_current: ContextVar[CallRecord | None] = ContextVar("waypost_call_record", default=None)


def current_record() -> CallRecord | None:
    """The record of the request that the running task works for."""
    return _current.get()


def begin_record() -> tuple[CallRecord, Token[CallRecord | None]]:
    """A new record for the running task and those it starts, and what `end_record` needs."""
    record = CallRecord()
    return record, _current.set(record)


def end_record(token: Token[CallRecord | None]) -> None:
    """The running task notes nothing more."""
    _current.reset(token)


def note_served(told: Told, provider: str, model: str, notes: tuple[str, ...]) -> None:
    """A target answers, or has begun to."""
    record = _current.get()
    if record is not None:
        record.provider, record.model, record.notes, record.told = provider, model, notes, told
        if record.on_answer is not None:
            record.on_answer()


def note_answer(provider: str, model: str, attempts: Sequence[Attempt]) -> None:
    """Somebody answers, or has begun to."""
    record = _current.get()
    if record is not None:
        record.provider, record.model = provider, model
        record.note_attempts(attempts)
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
        record.note_attempts(error.attempts)
    if record.attempts:
        # A call that ran beside the one that failed may come after it.
        last = next((each for each in reversed(record.attempts) if each.next != "lost"), record.attempts[-1])
        record.provider = record.provider or last.provider
        record.model = record.model or last.model
    elif isinstance(error, ProviderError):
        record.provider = record.provider or error.provider
