"""The request log, usage and the ledger's state as administrators get them: Pydantic models for the document.

Invariant: RequestModel and CallModel have the fields that `ledger.log_told` tells, in its order.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from waypost.server.models import Wire

Time: TypeAlias = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Day: TypeAlias = Annotated[str, Field(json_schema_extra={"format": "date"})]


class CountsModel(Wire):
    """Token counts. One that no provider reported is null, never 0."""

    input_tokens: int | None
    """The whole prompt, cached parts included."""
    input_cache_read_tokens: int | None
    """Of the prompt: what was read from the provider's cache."""
    input_cache_write_5m_tokens: int | None
    """Of the prompt: what was written to the provider's cache for five minutes."""
    input_cache_write_1h_tokens: int | None
    """Of the prompt: what was written to the provider's cache for an hour."""
    output_tokens: int | None
    """All that was generated, reasoning included."""
    output_reasoning_tokens: int | None
    """Of what was generated: reasoning."""


class RequestHead(Wire):
    """Whose a request is and what was asked."""

    id: str
    """Its id in the log; ids sort by time."""
    request_id: str
    """What its caller was told in the header x-request-id; callers may choose it, so it need not be the only one."""
    started_at: Time
    """When it came in."""
    project_id: str | None
    """The project that it counts for."""
    project: str | None
    """That project's name; null: it has none, as keys of the settings have, or it is deleted."""
    key_id: str | None
    """The key that it came with."""
    key: str | None
    """That key's name; null as for the project."""
    end_user: str | None
    """Whom the caller asked for: `user` or `safety_identifier` of the request."""
    path: str | None
    """The path that was asked."""
    route: str | None
    """The route that was taken; null: none, as for a model that was named outright."""
    asked_model: str | None
    """The model, route or alias that was asked for."""
    stream: bool | None
    """Was a stream asked for?"""
    provider: str | None
    """Who answered, or was asked last."""
    model: str | None
    """The model that answered, or was asked last, by the provider's name for it."""
    end_state: Literal["answered", "failed", "caller_left", "unknown"]
    """How it ended for its caller; unknown: the process died before its end."""
    status: int | None
    """The HTTP status; null: there was no reply."""
    error_code: str | None
    """The code of the error that it ended with."""
    attempts: int
    """Calls to providers that were made for it."""


class RequestModel(CountsModel, RequestHead):
    """A request of the log."""

    cost_usd: float | None
    """What all its calls cost in US dollars; null: the price of one of them is not known."""
    cost_is_estimate: bool
    """Was a part of it counted by Waypost, because no provider reported it?"""
    first_token_ms: int | None
    """Milliseconds until the first token."""
    total_ms: int | None
    """Milliseconds until its end."""
    cache: str | None
    """Whether it was answered from a cache of Waypost's."""
    tags: dict[str, str] | None
    """What its caller, its key and its project call it."""


class CallModel(CountsModel):
    """One call to a provider."""

    id: str
    """Its id."""
    number: int
    """Its place among the request's calls, from 1 on."""
    started_at: Time
    """When it was made."""
    provider: str
    """Whom it asked."""
    kind: str | None
    """The kind of that provider."""
    asked_model: str | None
    """The model that it asked for."""
    model: str | None
    """The model that answered."""
    outcome: Literal["open", "answered", "failed", "caller_left", "lost", "unknown"]
    """open: it goes on; lost: another call was faster; unknown: the process died before its end."""
    error_code: str | None
    """The code of the error that it ended with."""
    usage: dict[str, Any] | None
    """Other counts: audio, calls of server tools, the service tier."""
    reserved_usd: float | None
    """What was held of the budget for it."""
    cost_usd: float | None
    """What it cost in US dollars; null: not known."""
    cost_basis: Literal["reported", "estimated", "free", "unpriced", "open"]
    """By which count: the provider's last one, at least in part one of Waypost's, none as nothing was served, or no
    price is known."""
    price_source: str | None
    """The list that the price is of."""
    first_token_ms: int | None
    """Milliseconds until the first token."""
    duration_ms: int | None
    """Milliseconds until its end."""
    provider_key: str | None
    """Which of the provider's keys went with it."""
    way: str | None
    """How it went on with a stream that had broken."""


class BodyModel(Wire):
    """What was asked and answered, without secrets and media and cut to a length."""

    stored_at: Time
    """When it was stored."""
    request: str | None
    """What was asked."""
    response: str | None
    """What was answered."""


class WholeRequestModel(RequestModel):
    """A request of the log with its calls."""

    calls: list[CallModel]
    """Each call to a provider, in order."""
    body: BodyModel | None
    """Only if `body=true` was asked for, and the route or project stores bodies."""


class RequestPage(Wire):
    """One page of the log."""

    items: list[RequestModel]
    """Requests, in the order that was asked for."""
    next: str | None
    """What to give as `after` for the page that follows; null: this is the last."""
    searched_to: Time | None
    """Set if the page is not full because looking through the log took too long: the log up to there has been looked
    at, and `next` goes on from there."""


class FiguresModel(Wire):
    """Sums of calls to providers."""

    attempts: int
    """Calls."""
    failed_attempts: int
    """Calls that failed."""
    input_tokens: int
    """Tokens of prompts, as far as they are known."""
    output_tokens: int
    """Tokens that were generated, as far as they are known."""
    cost_usd: float | None
    """What they cost in US dollars, those left out whose price is not known; null: that is all of them."""
    estimated_attempts: int
    """Calls whose cost is an estimate."""
    unpriced_attempts: int
    """Calls whose cost is not known, and not in the sum."""


class UsageItem(FiguresModel):
    """The sums of one period and one group."""

    period: Day
    """The first day of the period; weeks begin on Monday."""
    group: dict[str, str | None]
    """For each of `by` the value; projects and keys by their ids; null: the calls have none."""


class UsageSums(Wire):
    """What was used and what it cost."""

    since: Day
    """The first day that counts, in UTC."""
    until: Day
    """The first day after it that does not."""
    period: Literal["day", "week", "month"]
    """What is summed."""
    by: list[str]
    """What the sums are grouped by."""
    items: list[UsageItem]
    """By period, the dearest first. Periods without a call are left out."""
    total: FiguresModel
    """The sum of all."""
    names: dict[str, str]
    """The names of the projects and keys in the groups, by their ids."""


class DatabaseModel(Wire):
    """The database."""

    kind: Literal["sqlite", "postgresql"]
    """What it is."""
    latency_ms: float | None
    """How long it took to answer just now; null: it did not."""
    size_bytes: int | None
    """What it takes on the disk; null: not known."""
    trouble: str | None
    """Why it cannot be used."""


class JournalModel(Wire):
    """What is written down and not yet in the database."""

    backlog_bytes: int
    """How much that is, of all processes that share the data folder."""
    backlog_since: Time | None
    """Since when it may be waiting; null: nothing waits."""
    trouble: str | None
    """What keeps it from getting there."""


class RetentionReport(Wire):
    """What a run did."""

    deleted: dict[str, int]
    """Rows by table."""
    is_complete: bool
    """Did it forget all that had had its time?"""
    transactions: int
    """In so many transactions."""
    longest_ms: int
    """How long the longest of them held the database."""
    duration_ms: int
    """How long the run took, pauses included."""
    freed_bytes: int
    """How much smaller the database's file became."""
    room: str
    """What is done about the room that rows took."""


class RetentionModel(Wire):
    """Forgetting what has had its time, as `ledger` in the settings says."""

    is_running: bool
    """Is a process at it?"""
    started_at: Time | None
    """When the last run began; null: there was none."""
    ended_at: Time | None
    """When the last run that ended did so."""
    report: RetentionReport | None
    """What that one did."""
    next_at: Time | None
    """When this process looks again whether a run is due; null: it does not."""
    trouble: str | None
    """What kept this process from it."""


class LedgerFacts(Wire):
    """How the ledger is."""

    database: DatabaseModel
    """Where all of it is kept."""
    journal: JournalModel | None
    """The journal; null: nothing is written down."""
    retention: RetentionModel | None
    """The task that forgets; null: not known, as the database does not answer."""
