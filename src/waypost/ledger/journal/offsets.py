"""How far each journal file is in the database, in the database's own words: moved with what was read, never apart."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, delete, select, update

from waypost.ledger.journal.election import Overtaken
from waypost.ledger.journal.reader import Slice
from waypost.store.database import Database
from waypost.store.tables import journal_files

_SLICE = 500


class Offsets:
    """What is known of the offsets. It is only good as long as this process alone moves them."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self._asked: set[str] = set()

    def learn(self, database: Database, names: Iterable[str]) -> None:
        """Ask for those not known yet. Raises DatabaseError."""
        unknown = sorted(set(names) - self._asked)
        if not unknown:
            return
        with database.read() as connection:
            for some in _slices(unknown):
                query = select(journal_files.c.name, journal_files.c.offset).where(journal_files.c.name.in_(some))
                self.known.update((row.name, row.offset) for row in connection.execute(query))
        self._asked.update(unknown)

    def move(self, connection: Connection, database: Database, read: Sequence[Slice]) -> None:
        """Within the transaction that posts what was read. Raises Overtaken, DatabaseError."""
        now_ms = time.time_ns() // 1_000_000
        for each in sorted(read, key=lambda one: one.name):
            if each.name in self.known:
                statement = update(journal_files).values(offset=each.end, updated_at_ms=now_ms)
                statement = statement.where(journal_files.c.name == each.name, journal_files.c.offset == each.start)
            else:
                statement = database.upsert(journal_files).on_conflict_do_nothing()
                statement = statement.values(name=each.name, offset=each.end, updated_at_ms=now_ms)
            # Not by the count of rows, which PostgreSQL's driver does not give for every INSERT.
            if connection.execute(statement.returning(journal_files.c.name)).first() is None:
                raise Overtaken(each.name)

    def moved(self, read: Sequence[Slice]) -> None:
        """That transaction is committed."""
        self.known.update((each.name, each.end) for each in read)

    def remove(self, connection: Connection, names: Sequence[str]) -> None:
        """The files are about to be removed. Raises DatabaseError."""
        for some in _slices(names):
            connection.execute(delete(journal_files).where(journal_files.c.name.in_(some)))

    def forget(self, names: Iterable[str] | None = None) -> None:
        """Ask again, for all if no names are given."""
        for name in list(self._asked if names is None else names):
            self.known.pop(name, None)
            self._asked.discard(name)


def _slices(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), _SLICE):
        yield names[start : start + _SLICE]
