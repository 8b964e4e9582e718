"""Journal records as rows of the tables. Values only.

Texts are cut to their columns, and numbers that cannot be are taken as not known, so that nothing that a caller or a
provider says keeps a row from being written. JSON is text, as drivers take it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy.dialects import sqlite

from waypost.ledger.records import AttemptClosed, AttemptOpened, BodyStored, Counts, RequestEnded
from waypost.store.types import AnyText, to_json

Row: TypeAlias = dict[str, Any]

MOST_TOKENS: Final = 10**12
"""A count beyond it is none."""
MOST_MICRO_USD: Final = 10**13
"""Ten million dollars: a call that is said to cost more has no known price."""
COUNTS: Final = (
    "input_tokens",
    "input_cache_read_tokens",
    "input_cache_write_5m_tokens",
    "input_cache_write_1h_tokens",
    "output_tokens",
    "output_reasoning_tokens",
)
"""The counts that have columns; the others are in `usage`."""
_FURTHER: Final = ("input_audio_tokens", "output_audio_tokens", "server_tool_calls", "service_tier")


def _fitting(length: int | None) -> Callable[[str | None], str | None]:
    """What a column of that length makes of a text, done here: rows go to the driver as they are."""
    return AnyText(length).bind_processor(sqlite.dialect())


text16, text64, text100, text128, text200 = (_fitting(length) for length in (16, 64, 100, 128, 200))
any_text: Final = _fitting(None)


def attempt_row(opened: AttemptOpened) -> Row:
    """The row of an attempt that is under way."""
    return {
        "id": text64(opened.attempt_id),
        "entry_id": text64(opened.entry_id),
        "number": opened.number,
        "started_at_ms": opened.started_at_ms,
        "project_id": text64(opened.project_id),
        "key_id": text64(opened.key_id),
        "end_user": text200(opened.end_user),
        "provider": text200(opened.provider),
        "kind": text64(opened.kind),
        "asked_model": text200(opened.asked_model),
        "model": text200(opened.model),
        "outcome": "open",
        "error_code": None,
        "input_tokens": None,
        "input_cache_read_tokens": None,
        "input_cache_write_5m_tokens": None,
        "input_cache_write_1h_tokens": None,
        "output_tokens": None,
        "output_reasoning_tokens": None,
        "usage": None,
        "reserved_micro_usd": _within(opened.reserved_micro_usd, MOST_MICRO_USD),
        "cost_micro_usd": None,
        "cost_basis": "open",
        "price_source": None,
        "first_token_ms": None,
        "duration_ms": None,
        "provider_key": None,
        "way": None,
    }


def closed_values(row: Mapping[str, Any], closed: AttemptClosed) -> Row:
    """What the attempt's end changes in its row."""
    cost, counts = _within(closed.cost_micro_usd, MOST_MICRO_USD), closed.counts
    return {
        "model": text200(closed.model) or row["model"],
        "outcome": closed.outcome,
        "error_code": text64(closed.error_code),
        "input_tokens": _within(counts.input_tokens, MOST_TOKENS),
        "input_cache_read_tokens": _within(counts.input_cache_read_tokens, MOST_TOKENS),
        "input_cache_write_5m_tokens": _within(counts.input_cache_write_5m_tokens, MOST_TOKENS),
        "input_cache_write_1h_tokens": _within(counts.input_cache_write_1h_tokens, MOST_TOKENS),
        "output_tokens": _within(counts.output_tokens, MOST_TOKENS),
        "output_reasoning_tokens": _within(counts.output_reasoning_tokens, MOST_TOKENS),
        "usage": _further(counts),
        "cost_micro_usd": cost,
        "cost_basis": "unpriced" if cost is None else closed.cost_basis,
        "price_source": text100(closed.price_source),
        "first_token_ms": closed.first_token_ms,
        # When a process died is not known.
        "duration_ms": None if closed.outcome == "unknown" else max(0, closed.ended_at_ms - row["started_at_ms"]),
        "provider_key": text64(closed.provider_key),
        "way": text16(closed.way),
    }


def stand_in(closed: AttemptClosed, ended: RequestEnded | None) -> AttemptOpened:
    """For the begin of an attempt that was lost to damage: what else is known of it."""
    entry_id, _, number = closed.attempt_id.rpartition(".")
    return AttemptOpened(
        attempt_id=closed.attempt_id,
        entry_id=entry_id,
        request_id=ended.request_id if ended else "",
        number=int(number) if number.isdecimal() and len(number) < 9 else 0,
        started_at_ms=ended.started_at_ms if ended else closed.ended_at_ms,
        request_started_at_ms=ended.started_at_ms if ended else closed.ended_at_ms,
        project_id=ended.project_id if ended else "",
        key_id=ended.key_id if ended else "",
        end_user=ended.end_user if ended else None,
        path=ended.path if ended else "",
        route=ended.route if ended else None,
        asked_model=ended.asked_model if ended else "",
        stream=ended.stream if ended else False,
        tags=ended.tags if ended else None,
        provider=(ended.provider if ended else None) or "",
        kind="",
        model=closed.model,
        input_tokens=0,
        reserved_micro_usd=None,
    )


def ended_row(ended: RequestEnded) -> Row:
    """The row of a request, without what its attempts come to."""
    return {
        "id": text64(ended.entry_id),
        "request_id": text128(ended.request_id),
        "started_at_ms": ended.started_at_ms,
        "project_id": text64(ended.project_id),
        "key_id": text64(ended.key_id),
        "end_user": text200(ended.end_user),
        "path": text200(ended.path),
        "route": text200(ended.route),
        "asked_model": text200(ended.asked_model),
        "stream": ended.stream,
        "provider": text200(ended.provider),
        "model": text200(ended.model),
        "end_state": ended.end_state,
        "status": ended.status,
        "error_code": text64(ended.error_code),
        "attempts": ended.attempts,
        "first_token_ms": ended.first_token_ms,
        "total_ms": ended.total_ms,
        "cache": text16(ended.cache),
        "tags": _json(ended.tags),
    }


def unknown_end_row(opened: AttemptOpened, rows: Sequence[Mapping[str, Any]]) -> Row:
    """The row of a request whose process died before its end: by one of its attempts, and the rows of all."""
    answered = next((row for row in rows if row["outcome"] == "answered"), None)
    return {
        "id": text64(opened.entry_id),
        "request_id": text128(opened.request_id),
        "started_at_ms": opened.request_started_at_ms,
        "project_id": text64(opened.project_id),
        "key_id": text64(opened.key_id),
        "end_user": text200(opened.end_user),
        "path": text200(opened.path),
        "route": text200(opened.route),
        "asked_model": text200(opened.asked_model),
        "stream": opened.stream,
        "provider": answered and answered["provider"],
        "model": answered and answered["model"],
        "end_state": "unknown",
        "status": None,
        "error_code": None,
        "attempts": len(rows),
        "first_token_ms": None,
        "total_ms": None,
        "cache": None,
        "tags": _json(opened.tags),
    }


def body_row(stored: BodyStored) -> Row:
    """The row of what was asked and answered."""
    return {
        "entry_id": text64(stored.entry_id),
        "project_id": text64(stored.project_id),
        "stored_at_ms": stored.stored_at_ms,
        "request": any_text(stored.request),
        "response": any_text(stored.response),
    }


def sums(rows: Iterable[Mapping[str, Any]]) -> Row:
    """What a request's attempts come to. Its cost is known if that of each of them is."""
    total: Row = dict.fromkeys(COUNTS)
    cost: int | None = 0
    is_estimate = False
    for row in rows:
        for name in COUNTS:
            if row[name] is not None:
                total[name] = (total[name] or 0) + row[name]
        cost = None if cost is None or row["cost_micro_usd"] is None else cost + row["cost_micro_usd"]
        is_estimate = is_estimate or row["cost_basis"] == "estimated"
    total["cost_micro_usd"], total["cost_is_estimate"] = cost, is_estimate
    return total


def _within(number: int | None, most: int) -> int | None:
    return number if number is not None and 0 <= number <= most else None


def _further(counts: Counts) -> str | None:
    found = {name: value for name in _FURTHER if (value := getattr(counts, name)) is not None}
    return _json(found or None)


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else to_json(value)
