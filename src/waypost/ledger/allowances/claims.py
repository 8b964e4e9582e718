"""Who tells a warning, where several could: claimed in the database, once for each budget, window and share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waypost.errors import DatabaseUnavailable
from waypost.ledger.allowances.warnings import REFUSES, BudgetWarning
from waypost.ledger.allowances.windows import DAY_S
from waypost.ledger.threads import DatabaseThreads

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.store.database import Database


class Claims:
    """Claims in one database."""

    def __init__(self, threads: DatabaseThreads) -> None:
        self._threads = threads

    async def __call__(self, warning: BudgetWarning) -> bool:
        """Is it this caller's to tell? While nobody knows, it is: twice is better than never."""
        try:
            return await self._threads.write(lambda connection, database: _claimed(connection, database, warning))
        except DatabaseUnavailable:
            return True


def _claimed(connection: Connection, database: Database, warning: BudgetWarning) -> bool:
    from waypost.store.tables import grants

    told = "refuses" if warning.share == REFUSES else f"warned {warning.share:.7g}"
    statement = database.upsert(grants).values(
        subject=warning.allowance.subject,
        window=warning.window,
        unit=told,
        holder="",
        amount=0,
        granted=0,
        expires_at_ms=round((warning.resets_at_s + 2 * DAY_S) * 1000),
    )
    # Not by the count of rows, which PostgreSQL's driver does not give for every INSERT.
    return connection.scalar(statement.on_conflict_do_nothing().returning(grants.c.holder)) is not None
