"""Tasks that one process of all that share a database does at a time: who does one now, and how it went last.

Whoever has a task holds it for a while and says again and again that it goes on; from one that died or stands still it
may be taken when that while is over. So two may be at it for a moment: what a task does must bear that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import or_, select, update

from waypost.store.database import Database
from waypost.store.tables import upkeep

HELD_MS: Final = 2 * 60 * 1000


@dataclass(frozen=True, slots=True)
class TaskState:
    """What the database knows of a task. Times are Unix ms; None: not known, or never."""

    holder: str | None = None
    held_until_ms: int | None = None
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    report: Mapping[str, Any] | None = None

    def is_running(self, now_ms: int) -> bool:
        """Is a process at it?"""
        return self.holder is not None and (self.held_until_ms or 0) > now_ms


def state_of(database: Database, task: str) -> TaskState:
    """How the task stands. Raises DatabaseError."""
    columns = [upkeep.c[name] for name in ("holder", "held_until_ms", "started_at_ms", "ended_at_ms", "report")]
    with database.read() as connection:
        row = connection.execute(select(*columns).where(upkeep.c.task == task)).first()
    return TaskState() if row is None else TaskState(*row)


def claim(database: Database, task: str, holder: str, now_ms: int, *, not_since_ms: int | None = None) -> bool:
    """Take the task, if nobody has it and, with `not_since_ms`, nobody began it since then. Raises DatabaseError."""
    free = or_(upkeep.c.holder.is_(None), upkeep.c.held_until_ms <= now_ms)
    due = (
        [] if not_since_ms is None else [or_(upkeep.c.started_at_ms.is_(None), upkeep.c.started_at_ms <= not_since_ms)]
    )
    with database.write() as connection:
        connection.execute(database.upsert(upkeep).values(task=task).on_conflict_do_nothing())
        taken = connection.execute(
            update(upkeep)
            .where(upkeep.c.task == task, free, *due)
            .values(holder=holder, held_until_ms=now_ms + HELD_MS, started_at_ms=now_ms)
        )
    return taken.rowcount == 1


def go_on(database: Database, task: str, holder: str, now_ms: int) -> bool:
    """Say that it goes on. False: another one has taken it."""
    with database.write() as connection:
        own = update(upkeep).where(upkeep.c.task == task, upkeep.c.holder == holder)
        return connection.execute(own.values(held_until_ms=now_ms + HELD_MS)).rowcount == 1


def finish(database: Database, task: str, holder: str, now_ms: int, report: Mapping[str, Any]) -> None:
    """Let go of it, and leave word of how it went."""
    with database.write() as connection:
        own = update(upkeep).where(upkeep.c.task == task, upkeep.c.holder == holder)
        connection.execute(own.values(holder=None, held_until_ms=None, ended_at_ms=now_ms, report=dict(report)))
