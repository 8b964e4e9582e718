"""Schema 1: keys, the ledger, the request log, and what is kept for callers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
oldest_code = 1

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    """Make every table."""
    _about_the_schema()
    _keys()
    _request_log()
    _spend()
    _audit()
    _kept_for_callers()


def _about_the_schema() -> None:
    op.create_table(
        "schema_version",
        sa.Column("version", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("oldest_code", sa.Integer, nullable=False),
        sa.Column("written_by", sa.String(64), nullable=False),
        sa.Column("migrated_at_ms", sa.BigInteger, nullable=False),
        sa.Column("tables", JSON, nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_schema_version"),
    )


def _keys() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("tags", JSON),
        sa.Column("routes", JSON),
        sa.Column("requests_per_minute", sa.BigInteger),
        sa.Column("tokens_per_minute", sa.BigInteger),
        sa.Column("concurrent_requests", sa.BigInteger),
        sa.Column("daily_budget_micro_usd", sa.BigInteger),
        sa.Column("monthly_budget_micro_usd", sa.BigInteger),
        sa.Column("user_daily_budget_micro_usd", sa.BigInteger),
        sa.Column("user_monthly_budget_micro_usd", sa.BigInteger),
        sa.Column("warn_at", JSON),
        sa.Column("require_pricing", sa.Boolean, nullable=False),
        sa.Column("store_bodies", sa.Boolean, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_projects"),
        sa.UniqueConstraint("name", name="uq_projects_name"),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("is_admin", sa.Boolean, nullable=False),
        sa.Column("tags", JSON),
        sa.Column("routes", JSON),
        sa.Column("requests_per_minute", sa.BigInteger),
        sa.Column("tokens_per_minute", sa.BigInteger),
        sa.Column("concurrent_requests", sa.BigInteger),
        sa.Column("daily_budget_micro_usd", sa.BigInteger),
        sa.Column("monthly_budget_micro_usd", sa.BigInteger),
        sa.Column("user_daily_budget_micro_usd", sa.BigInteger),
        sa.Column("user_monthly_budget_micro_usd", sa.BigInteger),
        sa.Column("warn_at", JSON),
        sa.Column("require_pricing", sa.Boolean, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger),
        sa.Column("revoked_at_ms", sa.BigInteger),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
    )
    op.create_index("ix_keys_project_id", "keys", ["project_id"])
    op.create_index("uq_keys_project_id_name", "keys", ["project_id", "name"], unique=True)
    op.create_table(
        "key_secrets",
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("shown", sa.String(32), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("valid_until_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("sha256", name="pk_key_secrets"),
    )
    op.create_index("ix_key_secrets_key_id", "key_secrets", ["key_id"])
    op.create_table(
        "revisions",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger),
        sa.PrimaryKeyConstraint("name", name="pk_revisions"),
    )


def _request_log() -> None:
    op.create_table(
        "requests",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("project_id", sa.String(64)),
        sa.Column("key_id", sa.String(64)),
        sa.Column("end_user", sa.String(200)),
        sa.Column("path", sa.String(200)),
        sa.Column("route", sa.String(200)),
        sa.Column("asked_model", sa.String(200)),
        sa.Column("stream", sa.Boolean),
        sa.Column("provider", sa.String(200)),
        sa.Column("model", sa.String(200)),
        sa.Column("end_state", sa.String(16), nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error_code", sa.String(64)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("input_tokens", sa.BigInteger),
        sa.Column("input_cache_read_tokens", sa.BigInteger),
        sa.Column("input_cache_write_5m_tokens", sa.BigInteger),
        sa.Column("input_cache_write_1h_tokens", sa.BigInteger),
        sa.Column("output_tokens", sa.BigInteger),
        sa.Column("output_reasoning_tokens", sa.BigInteger),
        sa.Column("cost_micro_usd", sa.BigInteger),
        sa.Column("cost_is_estimate", sa.Boolean, nullable=False),
        sa.Column("first_token_ms", sa.BigInteger),
        sa.Column("total_ms", sa.BigInteger),
        sa.Column("cache", sa.String(16)),
        sa.Column("tags", JSON),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
    )
    op.create_index("ix_requests_key_id_started_at_ms_id", "requests", ["key_id", "started_at_ms", "id"])
    op.create_index("ix_requests_project_id_started_at_ms_id", "requests", ["project_id", "started_at_ms", "id"])
    op.create_index("ix_requests_request_id", "requests", ["request_id"])
    op.create_index("ix_requests_started_at_ms_id", "requests", ["started_at_ms", "id"])
    op.create_table(
        "attempts",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("entry_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("project_id", sa.String(64)),
        sa.Column("key_id", sa.String(64)),
        sa.Column("end_user", sa.String(200)),
        sa.Column("provider", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(64)),
        sa.Column("asked_model", sa.String(200)),
        sa.Column("model", sa.String(200)),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("error_code", sa.String(64)),
        sa.Column("input_tokens", sa.BigInteger),
        sa.Column("input_cache_read_tokens", sa.BigInteger),
        sa.Column("input_cache_write_5m_tokens", sa.BigInteger),
        sa.Column("input_cache_write_1h_tokens", sa.BigInteger),
        sa.Column("output_tokens", sa.BigInteger),
        sa.Column("output_reasoning_tokens", sa.BigInteger),
        sa.Column("usage", JSON),
        sa.Column("reserved_micro_usd", sa.BigInteger),
        sa.Column("cost_micro_usd", sa.BigInteger),
        sa.Column("cost_basis", sa.String(16), nullable=False),
        sa.Column("price_source", sa.String(100)),
        sa.Column("first_token_ms", sa.BigInteger),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("provider_key", sa.String(64)),
        sa.Column("way", sa.String(16)),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
    )
    op.create_index("ix_attempts_entry_id", "attempts", ["entry_id"])
    op.create_index("ix_attempts_started_at_ms", "attempts", ["started_at_ms"])
    op.create_table(
        "bodies",
        sa.Column("entry_id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64)),
        sa.Column("stored_at_ms", sa.BigInteger, nullable=False),
        sa.Column("request", sa.Text),
        sa.Column("response", sa.Text),
        sa.PrimaryKeyConstraint("entry_id", name="pk_bodies"),
    )
    op.create_index("ix_bodies_stored_at_ms", "bodies", ["stored_at_ms"])


def _spend() -> None:
    op.create_table(
        "daily_totals",
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("provider", sa.String(200), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("failed_attempts", sa.BigInteger, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_micro_usd", sa.BigInteger, nullable=False),
        sa.Column("estimated_attempts", sa.BigInteger, nullable=False),
        sa.Column("unpriced_attempts", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("day", "project_id", "key_id", "route", "provider", "model", name="pk_daily_totals"),
    )
    op.create_table(
        "spend",
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("window", sa.String(16), nullable=False),
        sa.Column("micro_usd", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("subject", "window", name="pk_spend"),
    )
    op.create_table(
        "grants",
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("window", sa.String(32), nullable=False),
        sa.Column("unit", sa.String(16), nullable=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("granted", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("subject", "window", "unit", "holder", name="pk_grants"),
    )
    op.create_index("ix_grants_holder", "grants", ["holder"])
    op.create_index("ix_grants_expires_at_ms", "grants", ["expires_at_ms"])
    op.create_table(
        "journal_files",
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("offset", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_journal_files"),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("object_kind", sa.String(32), nullable=False),
        sa.Column("object_id", sa.String(200), nullable=False),
        sa.Column("before", JSON),
        sa.Column("after", JSON),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at_ms", "audit", ["at_ms"])


def _kept_for_callers() -> None:
    op.create_table(
        "stored_responses",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("previous_response_id", sa.String(64)),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("response", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_stored_responses"),
    )
    op.create_index("ix_stored_responses_expires_at_ms", "stored_responses", ["expires_at_ms"])
    op.create_table(
        "stored_items",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("item_id", sa.String(128), nullable=False),
        sa.Column("response_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "item_id", "response_id", name="pk_stored_items"),
        sa.ForeignKeyConstraint(
            ["response_id"], ["stored_responses.id"], name="fk_stored_items_response_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_stored_items_response_id", "stored_items", ["response_id"])
    op.create_table(
        "idempotency_answers",
        sa.Column("project_id", sa.String(64), nullable=False),
        sa.Column("slot", sa.LargeBinary(32), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(32), nullable=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger),
        sa.Column("billed", sa.Boolean, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("headers", JSON),
        sa.Column("body", sa.LargeBinary),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("project_id", "slot", name="pk_idempotency_answers"),
    )
    op.create_index("ix_idempotency_answers_expires_at_ms", "idempotency_answers", ["expires_at_ms"])
