"""Requests of the log as they are told to people and programs: times in ISO 8601, money in dollars, names beside ids.

One order of fields for the API, the command line and exports. The invariant: no field holds a secret, as no column of
the log does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from waypost.ledger.definitions import told_time, usd
from waypost.ledger.log_search import Row
from waypost.ledger.request_log import WholeRequest

COUNTS: Final = (
    "input_tokens",
    "input_cache_read_tokens",
    "input_cache_write_5m_tokens",
    "input_cache_write_1h_tokens",
    "output_tokens",
    "output_reasoning_tokens",
)
REQUEST_FIELDS: Final = (
    "id",
    "request_id",
    "started_at",
    "project_id",
    "project",
    "key_id",
    "key",
    "end_user",
    "path",
    "route",
    "asked_model",
    "stream",
    "provider",
    "model",
    "end_state",
    "status",
    "error_code",
    "attempts",
    *COUNTS,
    "cost_usd",
    "cost_is_estimate",
    "first_token_ms",
    "total_ms",
    "cache",
    "tags",
)
ATTEMPT_FIELDS: Final = (
    "id",
    "number",
    "started_at",
    "provider",
    "kind",
    "asked_model",
    "model",
    "outcome",
    "error_code",
    *COUNTS,
    "usage",
    "reserved_usd",
    "cost_usd",
    "cost_basis",
    "price_source",
    "first_token_ms",
    "duration_ms",
    "provider_key",
    "way",
)


def told_request(row: Row) -> dict[str, Any]:
    """REQUEST_FIELDS of a row of a page."""
    return _told(row, REQUEST_FIELDS)


def told_whole(found: WholeRequest) -> dict[str, Any]:
    """A request with its calls and, if it was asked for, its body."""
    body = found.body
    return {
        **told_request(found.row),
        "calls": [_told(call, ATTEMPT_FIELDS) for call in found.attempts],
        "body": None
        if body is None
        else {
            "stored_at": told_time(body["stored_at_ms"]),
            "request": body["request"],
            "response": body["response"],
        },
    }


def _told(row: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    given = {
        **row,
        "started_at": told_time(row["started_at_ms"]),
        "cost_usd": usd(row["cost_micro_usd"]),
        "reserved_usd": usd(row.get("reserved_micro_usd")),
    }
    return {name: given[name] for name in names}
