"""The audit log: each change of what is administered, written in the transaction that makes the change.

The invariant: no change without its line, no line without its change, and no key or hash of one in any line. Whoever
holds projects or keys in memory sees by the revision that it must read them anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, insert, select

from waypost.ledger.books import new_entry_id, now_ms
from waypost.ledger.definitions import told_time
from waypost.store.database import Database
from waypost.store.tables import audit, revisions

REVISION: Final = "keys"
"""The counter that rises with each change of projects and keys."""
ObjectKind: TypeAlias = Literal["project", "key", "job"]


@dataclass(slots=True)
class Change:
    """One transaction of an administrator's."""

    connection: Connection
    actor: str
    now_ms: int
    is_noted: bool = False

    def note(
        self,
        action: str,
        kind: ObjectKind,
        object_id: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> None:
        """Write down what is changed. `before` None: it was not there; `after` None: it is no more."""
        self.is_noted = True
        write_line(self.connection, self.actor, self.now_ms, action, kind, object_id, before, after)


def write_line(
    connection: Connection,
    actor: str,
    now_ms: int,
    action: str,
    kind: ObjectKind,
    object_id: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    """One line of the log, in the transaction that makes the change."""
    connection.execute(
        insert(audit).values(
            id=f"audit_{new_entry_id()}",
            at_ms=now_ms,
            actor=actor,
            action=action,
            object_kind=kind,
            object_id=object_id,
            before=before,
            after=after,
        )
    )


@contextmanager
def changing(database: Database, actor: str) -> Iterator[Change]:
    """A transaction for changes that `actor` makes. What leaves the block undoes all of it. Raises DatabaseError."""
    with database.write() as connection:
        change = Change(connection, actor, now_ms())
        yield change
        if change.is_noted:
            count_up(database, connection)


def count_up(database: Database, connection: Connection) -> None:
    """Let servers read projects and keys anew."""
    first = database.upsert(revisions).values(name=REVISION, number=1)
    connection.execute(first.on_conflict_do_update(index_elements=["name"], set_={"number": revisions.c.number + 1}))


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of two tellings of one thing, what differs."""
    names = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in names}, {name: after[name] for name in names}


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One change: who, when, what, as it was, as it is."""

    id: str
    at_ms: int
    actor: str
    action: str
    object_kind: str
    object_id: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    def told(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "id": self.id,
            "at": told_time(self.at_ms),
            "actor": self.actor,
            "action": self.action,
            "object_kind": self.object_kind,
            "object_id": self.object_id,
            "before": self.before,
            "after": self.after,
        }


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which lines; None: any."""

    actor: str | None = None
    action: str | None = None
    object_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        """Its part of a query."""
        for name in ("actor", "action", "object_id"):
            if getattr(self, name) is not None:
                yield audit.c[name] == getattr(self, name)
        if self.since_ms is not None:
            yield audit.c.at_ms >= self.since_ms
        if self.until_ms is not None:
            yield audit.c.at_ms < self.until_ms


def find_lines(
    connection: Connection, wanted: AuditFilter = AuditFilter(), *, limit: int = 50, after: str | None = None
) -> list[AuditLine]:
    """The newest lines first; `after` is the id of the last line of the page before."""
    query = select(audit).where(*wanted.conditions()).order_by(audit.c.id.desc()).limit(limit)
    if after is not None:
        query = query.where(audit.c.id < after)
    return [AuditLine(**row) for row in connection.execute(query).mappings()]
