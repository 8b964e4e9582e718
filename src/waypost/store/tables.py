"""The tables of the database, one schema for SQLite and PostgreSQL. Definitions only: no query and no connection.

Times are Unix milliseconds in UTC, money is in whole micro-dollars, lists and maps are JSON. NULL is "not known" or "no
limit", never 0. Ids are made by us. The invariant: no table holds a key, only its SHA-256.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    text,
)

from waypost.store.columns import id_column, number_column, text_column
from waypost.store.types import AnyText, Document

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    },
)


def _limits() -> list[Column[Any]]:
    """What a project and a key have alike: what they may use, and how much of it. NULL: no limit."""
    return [
        Column("tags", Document),
        Column("routes", Document),
        number_column("requests_per_minute"),
        number_column("tokens_per_minute"),
        number_column("concurrent_requests"),
        number_column("daily_budget_micro_usd"),
        number_column("monthly_budget_micro_usd"),
        number_column("user_daily_budget_micro_usd"),
        number_column("user_monthly_budget_micro_usd"),
        Column("warn_at", Document),
        Column("require_pricing", Boolean, nullable=False),
    ]


def _by_time(column: str, where: str | None = None) -> Index:
    """For the log: the requests with one value, by time. `where` leaves out what nobody asks for, or finds anyway."""
    only, name = None if where is None else text(where), f"ix_requests_{column}_started_at_ms"
    return Index(name, column, "started_at_ms", sqlite_where=only, postgresql_where=only)


def _counts() -> list[Column[int]]:
    """Tokens, as `chat.Usage` counts them."""
    return [
        number_column("input_tokens"),
        number_column("input_cache_read_tokens"),
        number_column("input_cache_write_5m_tokens"),
        number_column("input_cache_write_1h_tokens"),
        number_column("output_tokens"),
        number_column("output_reasoning_tokens"),
    ]


schema_version: Final = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("oldest_code", Integer, nullable=False),
    text_column("written_by", 64, needed=True),
    number_column("migrated_at_ms", needed=True),
    Column("tables", Document, nullable=False),
)
"""One row: the schema that the database has, the schema that code must know at least to use it, the version of Waypost
that made it so, and the names of all tables that are Waypost's."""

projects: Final = Table(
    "projects",
    metadata,
    id_column(),
    text_column("name", needed=True, unique=True),
    *_limits(),
    Column("store_bodies", Boolean, nullable=False),
    number_column("created_at_ms", needed=True),
    number_column("updated_at_ms", needed=True),
)

keys: Final = Table(
    "keys",
    metadata,
    id_column(),
    text_column("project_id", 64, needed=True, index=True),
    text_column("name", needed=True),
    Column("is_admin", Boolean, nullable=False),
    *_limits(),
    number_column("expires_at_ms"),
    number_column("revoked_at_ms"),
    number_column("created_at_ms", needed=True),
    number_column("updated_at_ms", needed=True),
    Index("uq_keys_project_id_name", "project_id", "name", unique=True),
)

key_secrets: Final = Table(
    "key_secrets",
    metadata,
    Column("sha256", LargeBinary(32), primary_key=True),
    text_column("key_id", 64, needed=True, index=True),
    text_column("shown", 32, needed=True),
    number_column("created_at_ms", needed=True),
    number_column("valid_until_ms"),
)
"""The secrets of a key: one, or two while a rotated one is still good. `shown` is its first and last characters."""

revisions: Final = Table(
    "revisions", metadata, text_column("name", 64, needed=True, primary_key=True), number_column("number")
)
"""Counters that rise with each change of what servers hold in memory, such as "keys"."""

requests: Final = Table(
    "requests",
    metadata,
    id_column(),
    text_column("request_id", 128, needed=True, index=True),
    number_column("started_at_ms", needed=True, index=True),
    text_column("project_id", 64),
    text_column("key_id", 64),
    text_column("end_user"),
    text_column("path"),
    text_column("route"),
    text_column("asked_model"),
    Column("stream", Boolean),
    text_column("provider"),
    text_column("model"),
    text_column("end_state", 16, needed=True),
    Column("status", Integer),
    text_column("error_code", 64),
    Column("attempts", Integer, nullable=False),
    *_counts(),
    number_column("cost_micro_usd"),
    Column("cost_is_estimate", Boolean, nullable=False),
    number_column("first_token_ms"),
    number_column("total_ms"),
    text_column("cache", 16),
    Column("tags", Document),
    _by_time("project_id"),
    _by_time("key_id"),
    _by_time("end_user", "end_user IS NOT NULL"),
    _by_time("route"),
    _by_time("provider"),
    _by_time("model"),
    _by_time("end_state", "end_state <> 'answered'"),
    _by_time("status", "status <> 200"),
    _by_time("error_code", "error_code IS NOT NULL"),
    Index("ix_requests_cost_micro_usd", "cost_micro_usd"),
    Index("ix_requests_total_ms", "total_ms"),
)
"""One row a request. `request_id` is what the caller was told, and may be his own; `end_state` is answered, failed,
caller_left or unknown (the process died before the request's end); cost NULL: of an attempt no price is known.

Which index pays is measured: benchmarks/request_log. Where several rows have one time, their ids are sorted anew."""

tag_slots: Final = Table(
    "tag_slots",
    metadata,
    Column("tag", BigInteger, primary_key=True, autoincrement=False),
    Column("slot", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""In which ten minutes a tag was on some request: where to look for it. `tag` is 64 bits of a hash of name=value,
`slot` the time in ten minutes since 1970. A row may outlive the request; it holds nothing of it."""

attempts: Final = Table(
    "attempts",
    metadata,
    id_column(),
    text_column("entry_id", 64, needed=True, index=True),
    Column("number", Integer, nullable=False),
    number_column("started_at_ms", needed=True),
    text_column("project_id", 64),
    text_column("key_id", 64),
    text_column("end_user"),
    text_column("provider", needed=True),
    text_column("kind", 64),
    text_column("asked_model"),
    text_column("model"),
    text_column("outcome", 16, needed=True),
    text_column("error_code", 64),
    *_counts(),
    Column("usage", Document),
    number_column("reserved_micro_usd"),
    number_column("cost_micro_usd"),
    text_column("cost_basis", 16, needed=True),
    text_column("price_source", 100),
    number_column("first_token_ms"),
    number_column("duration_ms"),
    text_column("provider_key", 64),
    text_column("way", 16),
    Index("ix_attempts_started_at_ms", "started_at_ms"),
)
"""One row a call to a provider: the ledger. `entry_id` is `requests.id`.

`outcome` is open, answered, failed, caller_left, lost (another call was faster) or unknown (the process died).
`cost_basis` is reported, estimated, free (it was not served), unpriced, or open."""

bodies: Final = Table(
    "bodies",
    metadata,
    id_column("entry_id"),
    text_column("project_id", 64),
    number_column("stored_at_ms", needed=True, index=True),
    Column("request", AnyText()),
    Column("response", AnyText()),
)
"""What was asked and answered, redacted, of requests whose route or project wants it kept."""

daily_totals: Final = Table(
    "daily_totals",
    metadata,
    text_column("day", 10, needed=True, primary_key=True),
    text_column("project_id", 64, needed=True, primary_key=True),
    text_column("key_id", 64, needed=True, primary_key=True),
    text_column("route", needed=True, primary_key=True),
    text_column("provider", needed=True, primary_key=True),
    text_column("model", needed=True, primary_key=True),
    *[
        number_column(name, needed=True)
        for name in (
            "attempts",
            "failed_attempts",
            "input_tokens",
            "output_tokens",
            "cost_micro_usd",
            "estimated_attempts",
            "unpriced_attempts",
        )
    ],
)
"""Sums of attempts by UTC day, for charts: written in the transaction that writes the attempts. "" stands for none."""

spend: Final = Table(
    "spend",
    metadata,
    text_column("subject", needed=True, primary_key=True),
    text_column("window", 16, needed=True, primary_key=True),
    number_column("micro_usd", needed=True),
)
"""What a subject (`project:<id>`, `key:<id>`, `user:<project id>:<end user>`) has spent in a UTC day (2026-11-26) or
month (2026-11); written in the transaction that writes the attempts."""

grants: Final = Table(
    "grants",
    metadata,
    text_column("subject", needed=True, primary_key=True),
    text_column("window", 32, needed=True, primary_key=True),
    text_column("unit", 16, needed=True, primary_key=True),
    text_column("holder", 64, needed=True, primary_key=True, index=True),
    number_column("amount", needed=True),
    number_column("granted", needed=True),
    number_column("expires_at_ms", needed=True, index=True),
)
"""Slices of a budget or a limit that a process holds and spends in memory. What is granted counts as gone.

`granted` is all that the holder ever got of it, less what it gave back; `amount` is what of that is not in `spend`. A
row of no holder, with a unit such as `warned 0.8`, says that somebody has been warned.
"""

journal_files: Final = Table(
    "journal_files",
    metadata,
    text_column("name", 128, needed=True, primary_key=True),
    number_column("offset", needed=True),
    number_column("updated_at_ms", needed=True),
)
"""How far each journal file is in the database, in bytes: written in the transaction that writes its records."""

unfinished_attempts: Final = Table(
    "unfinished_attempts",
    metadata,
    id_column("attempt_id"),
    text_column("entry_id", 64, needed=True, index=True),
    text_column("holder", 64, needed=True, index=True),
    text_column("project_id", 64, index=True),
    number_column("started_at_ms", needed=True, index=True),
    Column("record", LargeBinary, nullable=False),
)
"""Attempts that are open, or whose request is: what the journal said at their begin, and the process they are of. If it
dies they are closed by this. A row goes when its attempt and its request have ended."""

audit: Final = Table(
    "audit",
    metadata,
    id_column(),
    number_column("at_ms", needed=True, index=True),
    text_column("actor", needed=True),
    text_column("action", 64, needed=True),
    text_column("object_kind", 32, needed=True),
    text_column("object_id", needed=True),
    Column("before", Document),
    Column("after", Document),
)
"""Each change of what is administered: who, what, as it was, as it is."""

upkeep: Final = Table(
    "upkeep",
    metadata,
    text_column("task", 64, needed=True, primary_key=True),
    text_column("holder", 64),
    number_column("held_until_ms"),
    number_column("started_at_ms"),
    number_column("ended_at_ms"),
    Column("report", Document),
)
"""Tasks that one process at a time does, such as "retention": who does it now and until when, and how it went last."""

stored_responses: Final = Table(
    "stored_responses",
    metadata,
    id_column(),
    text_column("project_id", 64, needed=True),
    text_column("previous_response_id", 64),
    number_column("created_at_ms", needed=True),
    number_column("expires_at_ms", needed=True, index=True),
    Column("request", AnyText(), nullable=False),
    Column("response", AnyText(), nullable=False),
)
"""Answers of /v1/responses that are kept. `request` holds the input items of this turn and how it was asked, `response`
the answer as its caller got it, with the encrypted reasoning that he may not have asked for."""

stored_items: Final = Table(
    "stored_items",
    metadata,
    text_column("project_id", 64, needed=True, primary_key=True),
    text_column("item_id", 128, needed=True, primary_key=True),
    Column(
        "response_id",
        AnyText(64),
        ForeignKey("stored_responses.id", name="fk_stored_items_response_id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
)
"""In which stored responses an item of input or output is, for callers who send its id only. They go with those."""

idempotency_answers: Final = Table(
    "idempotency_answers",
    metadata,
    text_column("project_id", 64, needed=True, primary_key=True),
    Column("slot", LargeBinary(32), primary_key=True),
    Column("fingerprint", LargeBinary(32), nullable=False),
    text_column("holder", 64, needed=True),
    number_column("lease_until_ms"),
    Column("billed", Boolean, nullable=False),
    Column("status", Integer),
    Column("headers", Document),
    Column("body", LargeBinary),
    number_column("created_at_ms", needed=True),
    number_column("expires_at_ms", needed=True, index=True),
)
"""Answers by Idempotency-Key. `slot` is the SHA-256 of path and key. `lease_until_ms` not NULL: `holder` works on the
first request, and lives at least until then; `billed`: somebody has begun to answer. Status NULL without a lease: it
was answered, and the answer was not kept."""
