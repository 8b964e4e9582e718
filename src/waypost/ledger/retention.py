"""Forgetting what has had its time: rows in small transactions, then the room they took.

One process of all that share a database does it at a time. The invariant: no transaction keeps other writers waiting
for long. Each takes as many rows as its predecessors did in good time, and they pause for longer than they work.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete

from waypost.ledger import compaction, upkeep
from waypost.ledger.erasure import erase_leftovers
from waypost.ledger.expiry import Expired, expired
from waypost.settings import LedgerSettings
from waypost.store.database import Database, DatabaseError

logger = logging.getLogger("waypost.ledger")

TASK: Final = "retention"
MOST_ROWS: Final = 1_000
FIRST_ROWS: Final = 100
FEWEST_ROWS: Final = 10
AIM_S: Final = 0.04
"""How long a transaction should take."""
REST: Final = 2.0
"""How many times as long as it took it then pauses."""
LIMIT_S: Final = 600.0
"""After so long the rest is left for the next time."""


@dataclass(slots=True)
class Report:
    """What was done."""

    deleted: dict[str, int] = field(default_factory=dict)
    """Rows by table."""
    is_complete: bool = True
    """Is nothing left that has had its time?"""
    transactions: int = 0
    longest_ms: int = 0
    """How long the longest of them held the database."""
    duration_ms: int = 0
    freed_bytes: int = 0
    """How much smaller the database's file became."""
    room: str = compaction.BY_THE_SERVER
    """What is done about the room that deleted rows took."""

    def told(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "deleted": dict(self.deleted),
            "is_complete": self.is_complete,
            "transactions": self.transactions,
            "longest_ms": self.longest_ms,
            "duration_ms": self.duration_ms,
            "freed_bytes": self.freed_bytes,
            "room": self.room,
        }


def run_once(
    database: Database,
    settings: LedgerSettings,
    now_ms: int,
    stop: Event | None = None,
    *,
    limit_s: float = LIMIT_S,
    not_since_ms: int | None = None,
) -> Report | None:
    """Forget what has had its time, until it is done, `stop` is set or the time is over. Raises DatabaseError.

    None: another process is at it or, with `not_since_ms`, one began since then.
    """
    holder = f"{socket.gethostname()[:40]}:{os.getpid()}"
    if not upkeep.claim(database, TASK, holder, now_ms, not_since_ms=not_since_ms):
        return None
    run = _Run(database, holder, now_ms, stop or Event(), time.monotonic() + limit_s)
    try:
        run.forget(expired(settings, now_ms))
        if run.goes_on():
            erase_leftovers(database, now_ms)
        run.make_room()
    except BaseException:
        run.report.is_complete = False
        with suppress(DatabaseError):
            run.finish()
        raise
    run.finish()
    return run.report


class _Run:
    """One run, and how fast it may go."""

    def __init__(self, database: Database, holder: str, now_ms: int, stop: Event, ends_at: float) -> None:
        self.report = Report()
        self.began = time.monotonic()
        self._database = database
        self._holder = holder
        self._now_ms = now_ms
        self._stop = stop
        self._ends_at = ends_at
        self._said_at = self.began
        self._is_ours = True

    def forget(self, all_expired: Sequence[Expired]) -> None:
        """Delete them, table by table."""
        for each in all_expired:
            rows = FIRST_ROWS
            while self.goes_on():
                # They are looked for before the transaction: on SQLite it keeps others from writing.
                with self._database.read() as connection:
                    keys = [tuple(row) for row in connection.execute(each.some(rows))]
                if not keys:
                    break
                taken_s = self._delete(each, keys)
                if len(keys) < rows:
                    break
                rows = _paced(rows, taken_s)
            else:
                self.report.is_complete = False
                return

    def make_room(self) -> None:
        """Give back what deleted rows took, as far as the database leaves that to us."""
        self.report.room = compaction.way_of(self._database)
        if self.report.room != compaction.BY_STEPS:
            return
        before, pages = compaction.size_bytes(self._database), FIRST_ROWS
        while compaction.is_worthwhile(self._database) and self.goes_on():
            begun = time.monotonic()
            compaction.step(self._database, pages)
            pages = _paced(pages, self._rest(begun))
        compaction.shorten_log(self._database)
        self.report.freed_bytes = max(0, before - compaction.size_bytes(self._database))

    def finish(self) -> None:
        """Let go of the task, and leave word of how it went."""
        self.report.duration_ms = round((time.monotonic() - self.began) * 1000)
        upkeep.finish(self._database, TASK, self._holder, self._passed_ms(), self.report.told())

    def goes_on(self) -> bool:
        """May it go on? Says to others that it does."""
        if self._stop.is_set() or time.monotonic() >= self._ends_at or not self._is_ours:
            return False
        if (time.monotonic() - self._said_at) * 1000 > upkeep.HELD_MS / 4:
            self._is_ours = upkeep.go_on(self._database, TASK, self._holder, self._passed_ms())
            self._said_at = time.monotonic()
        return self._is_ours

    def _passed_ms(self) -> int:
        """The time now, by the clock that the run began with."""
        return self._now_ms + round((time.monotonic() - self.began) * 1000)

    def _delete(self, each: Expired, keys: Sequence[tuple[Any, ...]]) -> float:
        """Delete the rows with these keys, and what hangs on them; seconds that others may have waited."""
        with self._database.write() as connection:
            begun = time.monotonic()
            for column in each.also:
                gone = connection.execute(delete(column.table).where(column.in_([key[0] for key in keys])))
                self._count(column.table.name, gone.rowcount)
            _delete_rows(connection, each, keys)
        self._count(each.table.name, len(keys))
        return self._rest(begun)

    def _count(self, table: str, rows: int) -> None:
        if rows:
            self.report.deleted[table] = self.report.deleted.get(table, 0) + rows

    def _rest(self, begun: float) -> float:
        """After a transaction, leave the database to others; seconds that it took."""
        taken_s = time.monotonic() - begun
        self.report.transactions += 1
        self.report.longest_ms = max(self.report.longest_ms, round(taken_s * 1000))
        self._stop.wait(taken_s * REST)
        return taken_s


def _delete_rows(connection: Connection, each: Expired, keys: Sequence[tuple[Any, ...]]) -> None:
    columns = list(each.table.primary_key.columns)
    if len(columns) == 1:
        connection.execute(delete(each.table).where(columns[0].in_([key[0] for key in keys])))
        return
    names = [f"key_{place}" for place in range(len(columns))]
    one = [column == bindparam(name) for column, name in zip(columns, names, strict=True)]
    connection.execute(delete(each.table).where(*one), [dict(zip(names, key, strict=True)) for key in keys])


def _paced(rows: int, taken_s: float) -> int:
    """How many rows the next transaction takes."""
    if taken_s > AIM_S * 2:
        return max(FEWEST_ROWS, rows // 4)
    if taken_s > AIM_S:
        return max(FEWEST_ROWS, rows * 3 // 4)
    return min(MOST_ROWS, rows * 3 // 2) if taken_s < AIM_S / 2 else rows
