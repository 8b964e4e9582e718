"""Requests for tests of the log, written straight into its tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waypost.ledger.tag_slots import note_slot, slots_of
from waypost.store.database import Database
from waypost.store.tables import attempts, bodies, requests

NOW_MS = 1_795_651_200_000
"""2026-11-26, midnight."""
DAY_MS = 24 * 60 * 60 * 1000


def a_request(number: int, **columns: Any) -> dict[str, Any]:
    """A request's row: each a second after the one before it, answered, and whatever `columns` say."""
    return {
        "id": f"{number:032x}",
        "request_id": f"req_{number}",
        "started_at_ms": NOW_MS - DAY_MS + number * 1000,
        "project_id": "proj_1",
        "key_id": "key_1",
        "end_user": None,
        "path": "/v1/chat/completions",
        "route": "default",
        "asked_model": "default",
        "stream": False,
        "provider": "first",
        "model": "one",
        "end_state": "answered",
        "status": 200,
        "error_code": None,
        "attempts": 1,
        "input_tokens": 10,
        "output_tokens": 20,
        "cost_micro_usd": 30,
        "cost_is_estimate": False,
        "first_token_ms": 40,
        "total_ms": 100,
        "cache": None,
        "tags": None,
        **columns,
    }


def an_attempt(entry_id: str, number: int = 1, **columns: Any) -> dict[str, Any]:
    """A call's row."""
    return {
        "id": f"{entry_id}.{number}",
        "entry_id": entry_id,
        "number": number,
        "started_at_ms": NOW_MS - DAY_MS,
        "project_id": "proj_1",
        "key_id": "key_1",
        "provider": "first",
        "kind": "openai",
        "model": "one",
        "outcome": "answered",
        "cost_micro_usd": 30,
        "cost_basis": "reported",
        "duration_ms": 90,
        **columns,
    }


def write(database: Database, *rows: Mapping[str, Any]) -> None:
    """Write requests as the drainer does, the slots of their tags in the same transaction."""
    with database.write() as connection:
        connection.execute(requests.insert(), list(rows))
        slots = slots_of((row["started_at_ms"], row["tags"]) for row in rows)
        if slots:
            connection.execute(note_slot(database), slots)


def write_attempts(database: Database, *rows: Mapping[str, Any]) -> None:
    """Write calls."""
    with database.write() as connection:
        for row in rows:
            connection.execute(attempts.insert().values(row))


def write_body(database: Database, entry_id: str, request: str | None, response: str | None) -> None:
    """Write what was asked and answered."""
    with database.write() as connection:
        connection.execute(
            bodies.insert().values(
                entry_id=entry_id, project_id="proj_1", stored_at_ms=NOW_MS, request=request, response=response
            )
        )
