"""Schema 5: messages to webhooks, and batches that providers do."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
oldest_code = 1

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
INDEXES = {
    "ix_webhook_deliveries_created_at_ms": ["created_at_ms"],
    "ix_webhook_deliveries_project_id_id": ["project_id", "id"],
    "ix_webhook_deliveries_about_id": ["about", "id"],
}


def upgrade() -> None:
    """New tables only."""
    _create_deliveries()
    _create_provider_batches()
    _create_batched_calls()


def _needed(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _create_deliveries() -> None:
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64)),
        sa.Column("about", sa.String(200)),
        sa.Column("url", sa.Text),
        sa.Column("host", sa.String(300), nullable=False),
        sa.Column("event_type", sa.String(32), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("next_attempt_at_ms", sa.BigInteger),
        sa.Column("holder", sa.String(64)),
        sa.Column("status", sa.BigInteger),
        sa.Column("error_code", sa.String(64)),
        sa.Column("reply", sa.Text),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_webhook_deliveries"),
    )
    for name, columns in INDEXES.items():
        op.create_index(name, "webhook_deliveries", columns)
    pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["next_attempt_at_ms", "host", "project_id"],
        sqlite_where=pending,
        postgresql_where=pending,
    )


def _create_provider_batches() -> None:
    op.create_table(
        "provider_batches",
        _needed("id", sa.String(64)),
        _needed("batch_id", sa.String(64)),
        _needed("provider", sa.String(200)),
        _needed("kind", sa.String(64)),
        _needed("model", sa.String(200)),
        sa.Column("provider_key", sa.String(64)),
        _needed("state", sa.String(16)),
        sa.Column("vendor_id", sa.String(200)),
        sa.Column("vendor_state", sa.String(64)),
        _needed("requests", sa.Integer),
        _needed("size_bytes", sa.BigInteger),
        sa.Column("executor_id", sa.String(128)),
        sa.Column("sent_at_ms", sa.BigInteger),
        sa.Column("unsure_at_ms", sa.BigInteger),
        _needed("next_look_at_ms", sa.BigInteger),
        _needed("troubles", sa.Integer),
        sa.Column("trouble", sa.Text),
        sa.Column("cancelled_at_ms", sa.BigInteger),
        _needed("created_at_ms", sa.BigInteger),
        sa.Column("ended_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_provider_batches"),
    )
    op.create_index("ix_provider_batches_batch_id", "provider_batches", ["batch_id"])
    op.create_index("ix_provider_batches_state_next_look_at_ms", "provider_batches", ["state", "next_look_at_ms"])


def _create_batched_calls() -> None:
    op.create_table(
        "batched_calls",
        _needed("job_id", sa.String(64)),
        _needed("name", sa.String(128)),
        _needed("batch_id", sa.String(64)),
        _needed("provider", sa.String(200)),
        _needed("kind", sa.String(64)),
        _needed("model", sa.String(200)),
        _needed("state", sa.String(16)),
        sa.Column("provider_batch_id", sa.String(64)),
        _needed("tries", sa.Integer),
        _needed("size_bytes", sa.BigInteger),
        _needed("registered_at_ms", sa.BigInteger),
        sa.Column("cost_micro_usd", sa.BigInteger),
        _needed("cost_is_estimate", sa.Boolean),
        _needed("keeps_body", sa.Boolean),
        sa.Column("notes", JSON),
        sa.Column("error", JSON),
        _needed("record", sa.LargeBinary),
        _needed("body", sa.LargeBinary),
        sa.Column("answer", sa.Text),
        sa.PrimaryKeyConstraint("job_id", "name", name="pk_batched_calls"),
    )
    ready = ["state", "batch_id", "provider", "model", "job_id"]
    op.create_index("ix_batched_calls_state_batch_id", "batched_calls", ready)
    sent = ["provider_batch_id", "state", "job_id"]
    op.create_index("ix_batched_calls_provider_batch_id_state", "batched_calls", sent)
