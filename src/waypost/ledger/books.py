"""The books of one process: a line for each call to a provider, an entry for each request.

A line is in the journal before its call is sent, and closed before the caller sees the end of what the call gave; an
entry is written when the reply is over. The invariant: whatever is raised or cancelled, a line is closed exactly once,
or the journal shows it open and whoever reads that after a crash closes it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import getrandbits
from typing import Protocol

from waypost.catalogue import PriceBook
from waypost.chat import Usage
from waypost.ledger.account import Account
from waypost.ledger.allowances import Admission, Reservation
from waypost.ledger.billing import FREE, Bill, Guess, bill_cut, bill_whole
from waypost.ledger.records import (
    AttemptClosed,
    AttemptOpened,
    AttemptOutcome,
    BodyStored,
    Counts,
    EndState,
    Record,
    RequestEnded,
)
from waypost.ledger.spending import Spending


class RecordSink(Protocol):
    """The journal."""

    def append(self, record: Record) -> None:
        """Write it down; it survives the process. Raises JournalFull for a call that is not begun yet."""


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def new_entry_id() -> str:
    """Ids that sort by time: 12 hexadecimal digits of it, and 20 random ones."""
    return f"{now_ms():012x}{getrandbits(80):020x}"


@dataclass(slots=True)
class Entry:
    """One request: whose it is, what was asked, and what its calls came to so far."""

    account: Account
    request_id: str
    path: str
    started_at_ms: int
    tags: dict[str, str] | None = None
    end_user: str | None = None
    route: str | None = None
    asked_model: str = ""
    stream: bool = False
    entry_id: str = field(default_factory=new_entry_id)
    admission: Admission | None = None
    request_body: bytes | None = None
    """What was asked, if that and the answer are to be kept."""
    lines: int = 0
    open_lines: int = 0
    tokens: int = 0
    cost_micro_usd: int | None = 0
    """Of its calls that have ended; None: of one of them it is not known."""
    cost_is_estimate: bool = False
    is_over: bool = False
    written: list[Line] = field(default_factory=list)
    """The lines of its calls, in order."""
    on_closed: Callable[[], None] | None = None
    """Called once when no line is open any more."""

    def settle(self) -> None:
        """The limits learn what it used, once nothing of it goes on."""
        if self.is_over and not self.open_lines and self.admission is not None:
            self.admission.settle(self.tokens)
            self.admission = None
        if self.on_closed is not None and not self.open_lines:
            call, self.on_closed = self.on_closed, None
            call()


@dataclass(slots=True)
class Called:
    """Whom a call asks, how long the prompt is about, and the most that it can cost (None: not known)."""

    provider: str
    kind: str
    model: str | None
    prices: PriceBook
    input_tokens: int
    worst_micro_usd: Callable[[], int | None]
    """Asked only if money is limited: it takes reading the request."""
    costs: bool = True
    """May it cost anything? A count of tokens never does."""
    is_estimable: bool = True
    """Can tokens that the provider does not count be told from the length of what went and came?"""


@dataclass(slots=True)
class Ending:
    """How a call ended. `served` False: it cannot have cost anything."""

    outcome: AttemptOutcome
    served: bool = True
    error_code: str | None = None
    first_token_ms: int | None = None
    provider_key: str | None = None
    way: str | None = None


class Source(Protocol):
    """An answer, whole or under way."""

    @property
    def usage(self) -> Usage:
        """Counts so far."""

    @property
    def model(self) -> str:
        """The model, as the provider names it; empty if it has not said."""


class Line:
    """One call that is written down as begun. `source` is set as soon as there is an answer."""

    __slots__ = (
        "_books",
        "_entry",
        "_reservation",
        "attempt_id",
        "called",
        "closed",
        "number",
        "opened_at_ms",
        "source",
    )

    def __init__(self, books: Books, entry: Entry, called: Called, reservation: Reservation | None) -> None:
        entry.lines += 1
        entry.open_lines += 1
        entry.written.append(self)
        self.source: Source | None = None
        self._books: Books | None = books
        self._entry: Entry | None = entry
        """None once it is closed: the two would hold each other, and only the collector would find them."""
        self.called = called
        self.number = entry.lines
        self.opened_at_ms = 0
        self.closed: AttemptClosed | None = None
        """What was written down of its end."""
        self._reservation = reservation
        self.attempt_id = f"{entry.entry_id}.{entry.lines}"
        """Its id: the request's, and its place in it."""

    @property
    def is_closed(self) -> bool:
        """Is it written down how the call ended? That is so from its first end on."""
        return self._books is None

    def opened(self, reserved_micro_usd: int | None, now_ms: int) -> AttemptOpened:
        """What is written before the call."""
        entry, called = self._open_entry, self.called
        self.opened_at_ms = now_ms
        return AttemptOpened(
            self.attempt_id,
            entry.entry_id,
            entry.request_id,
            self.number,
            now_ms,
            entry.started_at_ms,
            entry.account.project_id,
            entry.account.key_id,
            entry.end_user,
            entry.path,
            entry.route,
            entry.asked_model,
            entry.stream,
            entry.tags,
            called.provider,
            called.kind,
            called.model,
            called.input_tokens,
            reserved_micro_usd,
        )

    def close(self, ending: Ending) -> None:
        """The call is over. Only the first time counts: a stream that has finished may be left afterwards."""
        books, self._books = self._books, None
        if books is None:
            return
        bill = self._bill(ending)
        self.closed = self._closed(ending, bill)
        books.sink.append(self.closed)
        if self._reservation is not None:
            self._reservation.settle(bill.cost_micro_usd)
        entry, self._entry = self._open_entry, None
        entry.open_lines -= 1
        entry.tokens += (bill.usage.input_tokens or 0) + (bill.usage.output_tokens or 0)
        if entry.cost_micro_usd is not None:
            cost = bill.cost_micro_usd
            entry.cost_micro_usd = None if cost is None else entry.cost_micro_usd + cost
        if bill.basis == "estimated":
            entry.cost_is_estimate = True
        entry.settle()

    def not_sent(self) -> None:
        """It could not be written down, so that the call is not made."""
        self._books = None
        if self._reservation is not None:
            self._reservation.release()
        entry, self._entry = self._open_entry, None
        entry.lines -= 1
        entry.open_lines -= 1
        entry.written.remove(self)

    @property
    def _open_entry(self) -> Entry:
        if self._entry is None:
            raise TypeError("the line is closed")
        return self._entry

    @property
    def _model(self) -> str:
        told = self.source.model if self.source is not None else ""
        return told or self.called.model or ""

    def _bill(self, ending: Ending) -> Bill:
        if not (ending.served and self.called.costs):
            return FREE
        called, model, source = self.called, self._model, self.source

        def price(usage: Usage) -> int | None:
            return called.prices.cost_micro_usd(called.provider, called.kind, model, usage, asked=called.model)

        def guess() -> Guess:
            return Guess(called.input_tokens, _said_tokens(source))

        usage = Usage() if source is None else source.usage
        if not called.is_estimable and usage.input_tokens is None:
            cost = price(usage)
            return Bill(usage, cost, "unpriced" if cost is None else "reported")
        return (bill_whole if ending.outcome == "answered" else bill_cut)(price, usage, guess)

    def _closed(self, ending: Ending, bill: Bill) -> AttemptClosed:
        priced = bill.basis in ("reported", "estimated")
        called, model = self.called, self._model
        return AttemptClosed(
            self.attempt_id,
            now_ms(),
            ending.outcome,
            ending.error_code,
            model or None,
            counts_of(bill.usage),
            bill.cost_micro_usd,
            bill.basis,
            called.prices.source(called.provider, called.kind, model, asked=called.model) if priced else None,
            ending.first_token_ms,
            ending.provider_key,
            ending.way,
        )


@dataclass(slots=True)
class RequestOutcome:
    """How a request ended for its caller."""

    end_state: EndState
    status: int | None
    total_ms: int
    provider: str | None = None
    model: str | None = None
    error_code: str | None = None
    first_token_ms: int | None = None
    cache: str | None = None


class Books:
    """What this process writes down. `spending` None: nothing is limited."""

    def __init__(self, sink: RecordSink, spending: Spending | None = None) -> None:
        self.sink = sink
        self.spending = spending

    def limits_rates(self, account: Account) -> bool:
        """May `admit` refuse a request of this account, or make it wait?"""
        return self.spending is not None and self.spending.limits_rates(account)

    async def admit(self, entry: Entry, tokens: int) -> None:
        """Let the request in, as far as its key's limits go. Raises LimitExceeded."""
        if self.spending is not None and entry.admission is None:
            entry.admission = await self.spending.admit(entry.account, tokens, entry.end_user)

    async def open(self, entry: Entry, called: Called) -> Line:
        """Write down that a call begins; then it may be sent. Raises BudgetExceeded, PriceUnknown, JournalFull."""
        # The budgets of the day in which the ledger will count it are those that it is reserved of.
        worst, reservation, at_ms = None, None, now_ms()
        if self.spending is not None and self.spending.limits_money(entry.account):
            worst = called.worst_micro_usd()
            reservation = await self.spending.reserve(entry.account, worst, entry.end_user, at_ms)
        line = Line(self, entry, called, reservation)
        try:
            self.sink.append(line.opened(worst, at_ms))
        except BaseException:
            line.not_sent()
            raise
        return line

    def end(self, entry: Entry, outcome: RequestOutcome) -> None:
        """The reply is over. A stream that goes on without its caller may end a second time, which then counts."""
        self.sink.append(
            RequestEnded(
                entry.entry_id,
                entry.request_id,
                entry.started_at_ms,
                entry.account.project_id,
                entry.account.key_id,
                entry.end_user,
                entry.path,
                entry.route,
                entry.asked_model,
                entry.stream,
                entry.tags,
                outcome.provider,
                outcome.model,
                outcome.end_state,
                outcome.status,
                outcome.error_code,
                entry.lines,
                outcome.first_token_ms,
                outcome.total_ms,
                outcome.cache,
            )
        )
        entry.is_over = True
        entry.settle()

    def keep(self, entry: Entry, response: bytes) -> None:
        """Keep what was asked and answered, without secrets. In a thread: finding those takes its time."""
        from waypost.ledger.redaction import redacted

        request, loop = entry.request_body or b"", asyncio.get_running_loop()
        project_id = entry.account.project_id

        def redact() -> None:
            kept = BodyStored(entry.entry_id, project_id, now_ms(), redacted(request), redacted(response))
            # At the end of the server there may be nobody left who would write it.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self.sink.append, kept)

        loop.run_in_executor(None, redact)


def counts_of(usage: Usage) -> Counts:
    """The counts as they are written down."""
    return Counts(
        usage.input_tokens,
        usage.input_cache_read_tokens,
        usage.input_cache_write_5m_tokens,
        usage.input_cache_write_1h_tokens,
        usage.input_audio_tokens,
        usage.output_tokens,
        usage.output_reasoning_tokens,
        usage.output_audio_tokens,
        _plain(usage.server_tool_calls),
        usage.service_tier,
    )


def _plain(calls: Mapping[str, int]) -> dict[str, int] | None:
    return dict(calls) or None


def _said_tokens(source: Source | None) -> int:
    """The tokens of what came of an answer, as we would count them."""
    count = getattr(source, "said_tokens", None)
    return count() if count is not None else 0
