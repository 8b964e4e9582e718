"""How the ledger is, for whoever administers: the database, what waits to get there, and when what was forgotten.

The facts are gathered when they are asked for, and whoever asks waits no longer than he says: a database that does not
answer is a fact too.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from waypost.ledger.books import now_ms
from waypost.ledger.definitions import told_time
from waypost.ledger.journal.backlog import Backlog, measure
from waypost.ledger.retention_task import RetentionState
from waypost.settings import Settings
from waypost.store.lazy import LazyDatabase

if TYPE_CHECKING:
    from waypost.ledger.upkeep import TaskState

WITHIN_S: Final = 2.0


class StatusSource(Protocol):
    """Who knows how the ledger is."""

    async def ledger_status(self) -> dict[str, Any]:
        """The facts as JSON data: `database`, `journal` and `retention`. Never raises, never waits for long."""


class LedgerStatus:
    """Implements StatusSource by what one process has. `trouble` says what keeps the journal from being drained."""

    def __init__(
        self,
        settings: Settings,
        database: LazyDatabase,
        *,
        journal_folder: Path | None = None,
        trouble: Callable[[], str | None] = lambda: None,
        retention: Callable[[], RetentionState] | None = None,
        within_s: float = WITHIN_S,
    ) -> None:
        url = settings.database_url
        is_sqlite = url is None or url.get_secret_value().startswith("sqlite")
        self._kind = "sqlite" if is_sqlite else "postgresql"
        self._database = database
        self._journal_folder = journal_folder
        self._trouble = trouble
        self._retention = retention
        self._within_s = within_s
        self._asking: Future[_Asked] | None = None

    async def ledger_status(self) -> dict[str, Any]:
        """The facts."""
        if self._asking is None or self._asking.done():
            self._asking = Future()
            # A daemon, and one at a time: it may wait for long, and must not keep the process from ending.
            threading.Thread(target=self._ask, args=(self._asking,), name="status", daemon=True).start()
        asked = asyncio.wrap_future(self._asking)
        await asyncio.wait({asked}, timeout=self._within_s)
        known = asked.result() if asked.done() else self._away(f"no answer within {self._within_s:g} s")
        return {
            "database": known.database,
            "journal": await asyncio.to_thread(self._journal_told),
            "retention": self._retention_told(known.task),
        }

    def _ask(self, answer: Future[_Asked]) -> None:
        """In a thread."""
        try:
            answer.set_result(self._asked())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the status tells
            # Not the text: it may hold the address.
            answer.set_result(self._away(type(error).__name__))

    def _asked(self) -> _Asked:
        from sqlalchemy import text

        from waypost.ledger.compaction import size_bytes
        from waypost.ledger.retention import TASK
        from waypost.ledger.upkeep import state_of

        database = self._database.open()
        begun = time.monotonic()
        with database.read() as connection:
            connection.execute(text("SELECT 1"))
        latency_ms = round((time.monotonic() - begun) * 1000, 3)
        return _Asked(self._told(latency_ms, size_bytes(database)), state_of(database, TASK))

    def _away(self, trouble: str) -> _Asked:
        return _Asked({**self._told(None, None), "trouble": trouble}, None)

    def _told(self, latency_ms: float | None, size: int | None) -> dict[str, Any]:
        return {"kind": self._kind, "latency_ms": latency_ms, "size_bytes": size, "trouble": None}

    def _journal_told(self) -> dict[str, Any] | None:
        if self._journal_folder is None:
            return None
        trouble, backlog = self._trouble(), Backlog()
        try:
            backlog = measure(self._journal_folder)
        except FileNotFoundError:
            # Nothing was written down yet.
            pass
        except OSError as error:
            trouble = trouble or type(error).__name__
        since = told_time(backlog.since_ms)
        return {"backlog_bytes": backlog.size_bytes, "backlog_since": since, "trouble": trouble}

    def _retention_told(self, task: TaskState | None) -> dict[str, Any] | None:
        if task is None:
            return None
        own = None if self._retention is None else self._retention()
        return {
            "is_running": task.is_running(now_ms()),
            "started_at": told_time(task.started_at_ms),
            "ended_at": told_time(task.ended_at_ms),
            "report": None if task.report is None else dict(task.report),
            "next_at": None if own is None else told_time(own.next_ms),
            "trouble": None if own is None else own.trouble,
        }


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the database was asked. `task` None: it did not answer."""

    database: dict[str, Any]
    task: TaskState | None
