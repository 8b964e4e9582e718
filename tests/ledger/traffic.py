"""Records of made-up requests, each fixed by its number, and what the database must hold once they are posted.

The expectation is computed from the records alone, all at once and in the plainest way, for posting to be held to.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Table, select

from waypost.ledger.records import AttemptClosed, AttemptOpened, BodyStored, Counts, Record, RequestEnded
from waypost.store.database import Database
from waypost.store.tables import attempts, daily_totals, requests, spend, unfinished_attempts

START_MS: Final = 1_795_651_200_000
"""2026-11-26, midnight."""
MODELS: Final = ("gpt-5-mini", "gpt-5", "gpt-4o")
OUTCOMES: Final = ("answered", "failed", "caller_left", "lost")
BASES: Final = ("reported", "reported", "reported", "estimated", "free", "unpriced")


def an_opened(entry_id: str, number: int = 1, **changes: Any) -> AttemptOpened:
    """The begin of a call."""
    values: dict[str, Any] = {
        "attempt_id": f"{entry_id}.{number}",
        "entry_id": entry_id,
        "request_id": f"req_{entry_id}",
        "number": number,
        "started_at_ms": START_MS + 1000 + number,
        "request_started_at_ms": START_MS + 1000,
        "project_id": "proj_1",
        "key_id": "key_1",
        "end_user": "ann",
        "path": "/v1/chat/completions",
        "route": "fast",
        "asked_model": "fast",
        "stream": True,
        "tags": {"team": "search"},
        "provider": "openai",
        "kind": "openai",
        "model": "gpt-5-mini",
        "input_tokens": 100,
        "reserved_micro_usd": None,
    }
    return AttemptOpened(**{**values, **changes})


def a_closed(entry_id: str, number: int = 1, **changes: Any) -> AttemptClosed:
    """The end of a call."""
    values: dict[str, Any] = {
        "attempt_id": f"{entry_id}.{number}",
        "ended_at_ms": START_MS + 2000,
        "outcome": "answered",
        "error_code": None,
        "model": "gpt-5-mini-2026",
        "counts": Counts(input_tokens=90, input_cache_read_tokens=10, output_tokens=20),
        "cost_micro_usd": 1234,
        "cost_basis": "reported",
        "price_source": "configuration",
        "first_token_ms": 300,
        "provider_key": "#1",
        "way": None,
    }
    return AttemptClosed(**{**values, **changes})


def an_ended(entry_id: str, attempt_count: int = 1, **changes: Any) -> RequestEnded:
    """The end of a request."""
    values: dict[str, Any] = {
        "entry_id": entry_id,
        "request_id": f"req_{entry_id}",
        "started_at_ms": START_MS + 1000,
        "project_id": "proj_1",
        "key_id": "key_1",
        "end_user": "ann",
        "path": "/v1/chat/completions",
        "route": "fast",
        "asked_model": "fast",
        "stream": True,
        "tags": {"team": "search"},
        "provider": "openai",
        "model": "gpt-5-mini-2026",
        "end_state": "answered",
        "status": 200,
        "error_code": None,
        "attempts": attempt_count,
        "first_token_ms": 310,
        "total_ms": 1010,
        "cache": None,
    }
    return RequestEnded(**{**values, **changes})


def exchange(number: int, prefix: str = "") -> list[Record]:
    """A request by number, from its first call to its end: none to three calls, some at the same time."""
    source = random.Random(f"{prefix}{number}")  # noqa: S311 - no secret
    entry_id = f"{prefix}{number:08x}"
    at_ms = START_MS + source.randrange(40 * 86_400_000)
    count = source.choice((1, 1, 1, 2, 3, 0))
    whose = {
        "project_id": f"proj_{source.randrange(3)}",
        "key_id": f"key_{source.randrange(5)}",
        "end_user": source.choice((None, "ann", "bob")),
        "route": source.choice(("fast", "good", None)),
        "tags": source.choice((None, {"team": "search"}, {"team": "chat", "env": "test"})),
    }
    begins: list[Record] = []
    ends: list[Record] = []
    for place in range(1, count + 1):
        began_ms, model = at_ms + place, source.choice(MODELS)
        begins.append(
            an_opened(entry_id, place, started_at_ms=began_ms, request_started_at_ms=at_ms, model=model, **whose)
        )
        basis = source.choice(BASES)
        cost = {"unpriced": None, "free": 0}.get(basis, source.randrange(100_000))
        counts = Counts(input_tokens=source.randrange(1000), output_tokens=source.choice((None, 0, 250)))
        outcome = source.choice(OUTCOMES)
        ends.append(
            a_closed(
                entry_id,
                place,
                ended_at_ms=began_ms + 700,
                outcome=outcome,
                counts=counts,
                cost_micro_usd=cost,
                cost_basis=basis,
            )
        )
    calls = (
        begins + ends if source.random() < 0.5 else [each for pair in zip(begins, ends, strict=True) for each in pair]
    )
    return [*calls, an_ended(entry_id, count, started_at_ms=at_ms, **whose)]


def interleaved(exchanges: Iterable[Sequence[Record]], source: random.Random, at_once: int = 5) -> list[Record]:
    """The records of requests that run at the same time, each request's in their order."""
    waiting = [list(each) for each in exchanges]
    running: list[list[Record]] = []
    found: list[Record] = []
    while waiting or running:
        while waiting and len(running) < at_once:
            running.append(waiting.pop(0))
        chosen = source.choice(running)
        found.append(chosen.pop(0))
        running = [each for each in running if each]
    return found


@dataclass
class Expected:
    """What must be in the tables, of the columns that are computed."""

    attempts: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: dict[str, dict[str, Any]] = field(default_factory=dict)
    daily: dict[tuple[str, ...], Counter[str]] = field(default_factory=dict)
    spend: Counter[tuple[str, str]] = field(default_factory=Counter)
    unfinished: set[str] = field(default_factory=set)


def expected(records: Sequence[Record]) -> Expected:
    """What the database must hold of them."""
    opened = {each.attempt_id: each for each in records if isinstance(each, AttemptOpened)}
    closed = {each.attempt_id: each for each in records if isinstance(each, AttemptClosed)}
    ended = {each.entry_id: each for each in records if isinstance(each, RequestEnded)}
    found = Expected(daily=defaultdict(Counter))
    by_entry: dict[str, list[str]] = defaultdict(list)
    for attempt_id, begin in opened.items():
        by_entry[begin.entry_id].append(attempt_id)
        end = closed.get(attempt_id)
        found.attempts[attempt_id] = {
            "outcome": end.outcome if end else "open",
            "cost_micro_usd": end.cost_micro_usd if end else None,
            "cost_basis": end.cost_basis if end else "open",
            "input_tokens": end.counts.input_tokens if end else None,
            "duration_ms": end.ended_at_ms - begin.started_at_ms if end else None,
        }
        if end is None or begin.entry_id not in ended:
            found.unfinished.add(attempt_id)
        if end is not None:
            _count(found, begin, end)
    for entry_id, request in ended.items():
        ends = [closed.get(attempt_id) for attempt_id in by_entry[entry_id]]
        costs = [end.cost_micro_usd if end else None for end in ends]
        inputs = [end.counts.input_tokens for end in ends if end and end.counts.input_tokens is not None]
        found.requests[entry_id] = {
            "end_state": request.end_state,
            "attempts": request.attempts,
            "cost_micro_usd": None if None in costs else sum(cost for cost in costs if cost is not None),
            "cost_is_estimate": any(end.cost_basis == "estimated" for end in ends if end),
            "input_tokens": sum(inputs) if inputs else None,
        }
    return found


def _count(found: Expected, begin: AttemptOpened, end: AttemptClosed) -> None:
    day = datetime.fromtimestamp(begin.started_at_ms / 1000, UTC).strftime("%Y-%m-%d")
    key = (day, begin.project_id, begin.key_id, begin.route or "", begin.provider, end.model or begin.model or "")
    found.daily[key].update(
        attempts=1,
        failed_attempts=end.outcome == "failed",
        input_tokens=end.counts.input_tokens or 0,
        output_tokens=end.counts.output_tokens or 0,
        cost_micro_usd=end.cost_micro_usd or 0,
        estimated_attempts=end.cost_basis == "estimated",
        unpriced_attempts=end.cost_basis == "unpriced",
    )
    subjects = [f"key:{begin.key_id}", f"project:{begin.project_id}"]
    if begin.end_user:
        subjects.append(f"user:{begin.project_id}:{begin.end_user}")
    for subject in subjects if end.cost_micro_usd else ():
        for window in (day, day[:7]):
            found.spend[subject, window] += end.cost_micro_usd or 0


def stored(database: Database) -> Expected:
    """What the tables hold, of the same columns."""
    names = ("outcome", "cost_micro_usd", "cost_basis", "input_tokens", "duration_ms")
    found = Expected(attempts={row["id"]: {name: row[name] for name in names} for row in rows(database, attempts)})
    names = ("end_state", "attempts", "cost_micro_usd", "cost_is_estimate", "input_tokens")
    found.requests = {row["id"]: {name: row[name] for name in names} for row in rows(database, requests)}
    figures = [column.name for column in daily_totals.columns if not column.primary_key]
    key = [column.name for column in daily_totals.primary_key]
    found.daily = {
        tuple(row[name] for name in key): Counter({name: row[name] for name in figures})
        for row in rows(database, daily_totals)
    }
    found.spend = Counter({(row["subject"], row["window"]): row["micro_usd"] for row in rows(database, spend)})
    found.unfinished = {row["attempt_id"] for row in rows(database, unfinished_attempts)}
    return found


def rows(database: Database, table: Table) -> list[dict[str, Any]]:
    """All rows of a table."""
    with database.read() as connection:
        return [dict(row) for row in connection.execute(select(table)).mappings()]


def a_body(entry_id: str, **changes: Any) -> BodyStored:
    """What was asked and answered."""
    values: dict[str, Any] = {"project_id": "proj_1", "stored_at_ms": START_MS, "request": "{}", "response": "[]"}
    return BodyStored(entry_id, **{**values, **changes})
