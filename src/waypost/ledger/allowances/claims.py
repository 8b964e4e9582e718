"""Who tells a warning, where several could: claimed in the database, once for each budget, window and share."""

from __future__ import annotations

import logging

from sqlalchemy import Connection

from waypost.ledger.allowances.warnings import REFUSES, BudgetWarning
from waypost.ledger.allowances.windows import DAY_S
from waypost.store.database import Database, DatabaseError
from waypost.store.tables import grants

logger = logging.getLogger("waypost.ledger")


class Claims:
    """Claims in one database. Blocking."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __call__(self, warning: BudgetWarning) -> bool:
        """Is it this caller's to tell? While nobody knows, it is: twice is better than never."""
        try:
            with self._database.write() as connection:
                return self._claimed(connection, warning)
        except DatabaseError as error:
            logger.warning("who tells of a budget is not known: %s", type(error).__name__)
            return True

    def _claimed(self, connection: Connection, warning: BudgetWarning) -> bool:
        told = "refuses" if warning.share == REFUSES else f"warned {warning.share:.7g}"
        statement = self._database.upsert(grants).values(
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
