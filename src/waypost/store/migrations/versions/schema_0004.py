"""Schema 4: durable jobs and batches, who works on them, batches that providers do, and messages to webhooks."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
oldest_code = 1

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
QUEUED = "state = 'queued'"
DELIVERY_INDEXES = {
    "ix_webhook_deliveries_created_at_ms": ["created_at_ms"],
    "ix_webhook_deliveries_project_id_id": ["project_id", "id"],
    "ix_webhook_deliveries_about_id": ["about", "id"],
}


def upgrade() -> None:
    """New tables only."""
    _create_jobs()
    _create_parts_of_jobs()
    _create_batches()
    _create_workers()
    _create_provider_batches()
    _create_batched_calls()
    _create_deliveries()


def _needed(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        _needed("id", sa.String(64)),
        _needed("type", sa.String(32)),
        _needed("state", sa.String(16)),
        _needed("project_id", sa.String(64)),
        _needed("key_id", sa.String(64)),
        sa.Column("end_user", sa.String(200)),
        sa.Column("batch_id", sa.String(64)),
        sa.Column("batch_index", sa.BigInteger),
        _needed("priority", sa.Integer),
        sa.Column("idempotency_slot", sa.LargeBinary(32)),
        sa.Column("fingerprint", sa.LargeBinary(32)),
        _needed("request", JSON),
        sa.Column("result", sa.Text),
        sa.Column("error", JSON),
        _needed("progress_done", sa.Integer),
        sa.Column("progress_total", sa.Integer),
        _needed("runs", sa.Integer),
        sa.Column("executor_id", sa.String(128)),
        sa.Column("cost_micro_usd", sa.BigInteger),
        _needed("cost_is_estimate", sa.Boolean),
        sa.Column("usage", JSON),
        sa.Column("provider", sa.String(200)),
        sa.Column("model", sa.String(200)),
        _needed("possibly_paid_twice", sa.Integer),
        _needed("last_event", sa.Integer),
        sa.Column("tags", JSON),
        sa.Column("webhook_url", sa.Text),
        sa.Column("cancel_requested_at_ms", sa.BigInteger),
        sa.Column("not_before_ms", sa.BigInteger),
        _needed("created_at_ms", sa.BigInteger),
        sa.Column("started_at_ms", sa.BigInteger),
        sa.Column("ended_at_ms", sa.BigInteger),
        sa.Column("expires_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    slot = ["project_id", "idempotency_slot"]
    op.create_index("uq_jobs_project_id_idempotency_slot", "jobs", slot, unique=True)
    only = sa.text(QUEUED)
    waiting = ["project_id", "priority", "id"]
    op.create_index("ix_jobs_queued", "jobs", waiting, sqlite_where=only, postgresql_where=only)
    op.create_index("ix_jobs_project_id_created_at_ms", "jobs", ["project_id", "created_at_ms"])
    op.create_index("ix_jobs_state_created_at_ms", "jobs", ["state", "created_at_ms"])
    op.create_index("ix_jobs_batch_id_batch_index", "jobs", ["batch_id", "batch_index"])
    standing = ["batch_id", "state", "cost_micro_usd", "cost_is_estimate"]
    op.create_index("ix_jobs_batch_id_state", "jobs", standing)
    op.create_index("ix_jobs_expires_at_ms", "jobs", ["expires_at_ms"])


def _create_parts_of_jobs() -> None:
    op.create_table(
        "job_inputs",
        _needed("job_id", sa.String(64)),
        sa.Column("name", sa.String(200)),
        _needed("media_type", sa.String(128)),
        _needed("data", sa.LargeBinary),
        sa.PrimaryKeyConstraint("job_id", name="pk_job_inputs"),
    )
    op.create_table(
        "job_steps",
        _needed("job_id", sa.String(64)),
        _needed("name", sa.String(128)),
        sa.Column("executor_id", sa.String(128)),
        _needed("begun_at_ms", sa.BigInteger),
        sa.Column("ended_at_ms", sa.BigInteger),
        _needed("begun", sa.Integer),
        sa.Column("result", sa.Text),
        sa.Column("request_id", sa.String(128)),
        sa.Column("cost_micro_usd", sa.BigInteger),
        sa.PrimaryKeyConstraint("job_id", "name", name="pk_job_steps"),
    )
    op.create_table(
        "job_events",
        _needed("job_id", sa.String(64)),
        _needed("number", sa.Integer),
        _needed("at_ms", sa.BigInteger),
        _needed("name", sa.String(64)),
        _needed("data", sa.Text),
        sa.PrimaryKeyConstraint("job_id", "number", name="pk_job_events"),
    )


def _create_batches() -> None:
    op.create_table(
        "batches",
        _needed("id", sa.String(64)),
        _needed("project_id", sa.String(64)),
        _needed("key_id", sa.String(64)),
        sa.Column("name", sa.String(200)),
        _needed("state", sa.String(16)),
        _needed("request", JSON),
        sa.Column("total", sa.BigInteger),
        sa.Column("idempotency_slot", sa.LargeBinary(32)),
        sa.Column("tags", JSON),
        sa.Column("webhook_url", sa.Text),
        sa.Column("cancel_requested_at_ms", sa.BigInteger),
        _needed("created_at_ms", sa.BigInteger),
        sa.Column("ended_at_ms", sa.BigInteger),
        sa.Column("expires_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
    )
    slot = ["project_id", "idempotency_slot"]
    op.create_index("uq_batches_project_id_idempotency_slot", "batches", slot, unique=True)
    op.create_index("ix_batches_project_id_created_at_ms", "batches", ["project_id", "created_at_ms"])
    for column in ("state", "expires_at_ms"):
        op.create_index(f"ix_batches_{column}", "batches", [column])


def _create_workers() -> None:
    op.create_table(
        "executors",
        _needed("id", sa.String(128)),
        _needed("host", sa.String(128)),
        _needed("pid", sa.Integer),
        _needed("started_at_ms", sa.BigInteger),
        _needed("beat_at_ms", sa.BigInteger),
        sa.Column("report", JSON),
        sa.PrimaryKeyConstraint("id", name="pk_executors"),
    )
    op.create_table(
        "provider_paces",
        _needed("name", sa.String(200)),
        sa.Column("requests_left", sa.BigInteger),
        sa.Column("tokens_left", sa.BigInteger),
        _needed("refilled_at_ms", sa.BigInteger),
        sa.Column("paused_until_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("name", name="pk_provider_paces"),
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
    for name, columns in DELIVERY_INDEXES.items():
        op.create_index(name, "webhook_deliveries", columns)
    pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_webhook_deliveries_due",
        "webhook_deliveries",
        ["next_attempt_at_ms", "host", "project_id"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
