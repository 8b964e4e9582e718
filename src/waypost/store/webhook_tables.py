"""The table of messages to webhooks, a queue and its log in one. Definitions only; the rules of `store.tables` hold."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, Index, Table, text

from waypost.store.columns import id_column, number_column, text_column
from waypost.store.tables import metadata
from waypost.store.types import AnyText

webhook_deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    id_column(),
    text_column("project_id", 64),
    text_column("about"),
    Column("url", AnyText()),
    text_column("host", 300, needed=True),
    text_column("event_type", 32, needed=True),
    Column("body", AnyText(), nullable=False),
    text_column("state", 16, needed=True),
    number_column("attempts", needed=True),
    number_column("next_attempt_at_ms"),
    text_column("holder", 64),
    number_column("status"),
    text_column("error_code", 64),
    Column("reply", AnyText()),
    number_column("duration_ms"),
    number_column("created_at_ms", needed=True, index=True),
    number_column("updated_at_ms", needed=True),
    Index("ix_webhook_deliveries_project_id_id", "project_id", "id"),
    Index("ix_webhook_deliveries_about_id", "about", "id"),
    Index(
        "ix_webhook_deliveries_due",
        "next_attempt_at_ms",
        "host",
        "project_id",
        sqlite_where=text("state = 'pending'"),
        postgresql_where=text("state = 'pending'"),
    ),
)
"""Messages to webhooks. `about` is the id of a job or batch, or a budget's subject; `url` NULL: the one of the setting
ledger.warning_webhook. While a message is pending it is due at `next_attempt_at_ms`; whoever takes it moves that time
on by a lease and writes himself down as its `holder`. What the last try came to is in `status` and what follows it."""
