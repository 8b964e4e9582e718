"""Schema 5: messages to webhooks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
oldest_code = 1

INDEXES = {
    "ix_webhook_deliveries_created_at_ms": ["created_at_ms"],
    "ix_webhook_deliveries_project_id_id": ["project_id", "id"],
    "ix_webhook_deliveries_about_id": ["about", "id"],
}


def upgrade() -> None:
    """One table, which is a queue and its log."""
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
