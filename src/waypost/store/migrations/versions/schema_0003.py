"""Schema 3: what is kept of attempts that are under way, so that they can be closed if their process dies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
oldest_code = 1

INDEXED = ("entry_id", "holder", "project_id", "started_at_ms")


def upgrade() -> None:
    """A row for each attempt that has not ended, or whose request has not."""
    op.create_table(
        "unfinished_attempts",
        sa.Column("attempt_id", sa.String(64), nullable=False),
        sa.Column("entry_id", sa.String(64), nullable=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("project_id", sa.String(64)),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", name="pk_unfinished_attempts"),
    )
    for column in INDEXED:
        op.create_index(f"ix_unfinished_attempts_{column}", "unfinished_attempts", [column])
