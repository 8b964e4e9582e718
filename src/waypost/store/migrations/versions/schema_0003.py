"""Schema 3: attempts whose end is not in the journal yet wait in a table of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
oldest_code = 1


def upgrade() -> None:
    """Old code made rows of them at once, with the outcome open; whoever closes them finds them in either place."""
    op.create_table(
        "unfinished_attempts",
        sa.Column("attempt_id", sa.String(64), nullable=False),
        sa.Column("entry_id", sa.String(64), nullable=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", name="pk_unfinished_attempts"),
    )
    for column in ("entry_id", "holder", "started_at_ms"):
        op.create_index(f"ix_unfinished_attempts_{column}", "unfinished_attempts", [column])
