"""The room that deleted rows took: how large a database is, and how an SQLite file is made smaller step by step.

PostgreSQL's autovacuum makes such room free for new rows by itself. An SQLite file that Waypost made gives its free
pages back in steps; one that was made elsewhere keeps them for new rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from waypost.store.database import Database

BY_THE_SERVER: Final = "left to PostgreSQL's autovacuum"
BY_STEPS: Final = "given back in steps"
KEPT: Final = "kept for new rows"
_INCREMENTAL: Final = 2
"""What SQLite calls a file that gives pages back when told to."""
WORTHWHILE_SHARE: Final = 0.1
"""Pages that are free beyond this share of the file are given back; new rows soon need the others."""
PATIENCE_MS: Final = 50
"""How long the last step of a checkpoint waits for readers, while it keeps writers waiting."""
PATIENT_MS: Final = 15_000


def way_of(database: Database) -> str:
    """What is done about the room in this database."""
    if not database.is_sqlite:
        return BY_THE_SERVER
    with _apart(database) as sqlite:
        return BY_STEPS if _number(sqlite, "auto_vacuum") == _INCREMENTAL else KEPT


def size_bytes(database: Database) -> int:
    """What the database takes on the disk, SQLite's log included. Raises DatabaseError."""
    if not database.is_sqlite:
        with database.read() as connection:
            return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    file = Path(str(database.url.database))
    files = (file, file.with_name(f"{file.name}-wal"))
    return sum(each.stat().st_size for each in files if each.exists())


def is_worthwhile(database: Database) -> bool:
    """Has an SQLite file much more free pages than new rows will need soon?"""
    with _apart(database) as sqlite:
        free, pages = _number(sqlite, "freelist_count"), _number(sqlite, "page_count")
    return free > max(256, pages * WORTHWHILE_SHARE)


def step(database: Database, pages: int) -> None:
    """Give so many pages back. One transaction."""
    with _apart(database) as sqlite:
        sqlite.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()


def shorten_log(database: Database) -> None:
    """Bring what is in the log into the file, and cut the log; if readers are in the way, only as far as that goes."""
    with _apart(database) as sqlite:
        # This one holds nobody up; little is then left for the one that does.
        sqlite.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        sqlite.execute(f"PRAGMA busy_timeout={PATIENCE_MS}")
        sqlite.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


@contextmanager
def _apart(database: Database) -> Iterator[Any]:
    """SQLite's own connection, outside of any transaction."""
    connection = database.engine.raw_connection()
    try:
        sqlite: Any = connection.driver_connection
        # Whoever had it before may have only read, and been impatient.
        sqlite.execute("PRAGMA query_only=0")
        sqlite.execute(f"PRAGMA busy_timeout={PATIENT_MS}")
        yield sqlite
    finally:
        connection.close()


def _number(sqlite: Any, pragma: str) -> int:
    return int(sqlite.execute(f"PRAGMA {pragma}").fetchone()[0])
