"""What the posting of journals does to slices: money that is known to be spent is not held any more as well.

Everything here happens in the transaction that adds to `spend`. The invariant: whatever is posted, what others may be
granted does not change, but for what a dead process did not spend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select, update

from waypost.ledger.allowances.pool import MONEY
from waypost.store.database import Database
from waypost.store.tables import grants


class PostedGrants:
    """Follows the posting of journals: what was spent of a slice, and what a dead process did not spend."""

    def posted(
        self, connection: Connection, database: Database, holder: str, spend: Mapping[tuple[str, str], int]
    ) -> None:
        """So much was added to what is spent."""
        shrink_grants(connection, database, holder, spend)

    def gone(self, connection: Connection, _database: Database, holder: str) -> None:
        """It is dead, and all it wrote is posted."""
        release_grants(connection, holder)


def shrink_grants(
    connection: Connection, _database: Database, holder: str, spent: Mapping[tuple[str, str], int]
) -> None:
    """So much of what the holder was granted is in `spend` now, by subject and window: it is not to count twice.

    To be called in the transaction that adds it to `spend`.
    """
    rows = [
        {"its_subject": subject, "its_window": window, "micro_usd": micro_usd}
        for (subject, window), micro_usd in sorted(spent.items())
        if micro_usd
    ]
    if rows and connection.scalar(_HOLDS, {"its_holder": holder}):
        connection.execute(_SHRINK, [{**row, "its_holder": holder} for row in rows])


def release_grants(connection: Connection, holder: str) -> None:
    """The holder is dead and all of its journal is in the database: what it held and did not spend is free.

    Not before: what it spent is not known until then.
    """
    connection.execute(delete(grants).where(grants.c.holder == holder))


_HOLDS: Final = select(grants.c.holder).where(grants.c.holder == bindparam("its_holder")).limit(1)
_SHRINK: Final = (
    update(grants)
    .where(
        grants.c.subject == bindparam("its_subject"),
        grants.c.window == bindparam("its_window"),
        grants.c.unit == MONEY,
        grants.c.holder == bindparam("its_holder"),
    )
    .values(amount=grants.c.amount - bindparam("micro_usd"))
)
