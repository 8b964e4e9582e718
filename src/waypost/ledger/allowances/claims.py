"""Who tells a warning, where several could: claimed in the database, once for each budget, window and share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from waypost.errors import DatabaseUnavailable
from waypost.ledger.allowances.warnings import REFUSES, BudgetWarning, Turn
from waypost.ledger.allowances.windows import DAY_S
from waypost.ledger.threads import DatabaseThreads

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.store.database import Database


class Queue(Protocol):
    """Has warnings sent that are claimed: in the claim's transaction, so that none is claimed and then lost."""

    def queue(self, connection: Connection, warning: BudgetWarning) -> None:
        """Within the transaction."""

    def queued(self) -> None:
        """It is committed."""


class Claims:
    """Claims in one database."""

    def __init__(self, threads: DatabaseThreads, queue: Queue | None = None) -> None:
        self._threads = threads
        self._queue = queue

    async def __call__(self, warning: BudgetWarning) -> Turn:
        """Whose is it to tell? While nobody knows, it is this caller's: twice is better than never."""
        try:
            claimed = await self._threads.write(partial(self._claimed, warning))
        except DatabaseUnavailable:
            return "ours"
        if claimed and self._queue is not None:
            self._queue.queued()
            return "queued"
        return "ours" if claimed else "another's"

    def _claimed(self, warning: BudgetWarning, connection: Connection, database: Database) -> bool:
        claimed = _claimed(connection, database, warning)
        if claimed and self._queue is not None:
            self._queue.queue(connection, warning)
        return claimed


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
