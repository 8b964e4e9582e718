"""What is wrong with the database, in words: the one table of what SQLite and PostgreSQL say. No password is in them.

The words name the file, or the host and the user: they are for the operator, not for whoever sent a request.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

import psycopg
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, TimeoutError  # noqa: A004 - its name there

from waypost.errors import DatabaseUnavailable
from waypost.store.address import shown
from waypost.store.database import BUSY_S, Database


class Trouble(NamedTuple):
    """What is wrong, and what to do."""

    reason: str
    mend: str


_BUSY: Final = Trouble(
    f"another process has kept others waiting for over {BUSY_S:.0f} s", "Find out what is writing, or try again later."
)
_ROOM: Final = Trouble("the disk is full", "Make room on that disk.")
_DAMAGED: Final = Trouble(
    "the file is damaged, or is no SQLite database",
    "Put it aside and take the last backup: waypost db restore FILE",
)
_SQLITE: Final[Mapping[int, Trouble]] = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_FULL: _ROOM,
    sqlite3.SQLITE_READONLY: Trouble(
        "the file or its folder may only be read", "Give this user the right to write to both."
    ),
    sqlite3.SQLITE_PERM: Trouble("the file may not be used", "Give this user the right to read and write it."),
    sqlite3.SQLITE_CANTOPEN: Trouble(
        "the file cannot be opened", "See that its folder is there, and that this user may write to both."
    ),
    sqlite3.SQLITE_IOERR: Trouble("the disk reports an error", "Look at the system's log and at the disk."),
    sqlite3.SQLITE_PROTOCOL: _BUSY,
    sqlite3.SQLITE_NOMEM: Trouble("memory is short", "Stop what takes so much of it."),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
}
_POSTGRESQL: Final[Mapping[str, Trouble]] = {
    "53100": Trouble("the server's disk is full", "Make room there."),
    "53200": Trouble("the server is out of memory", "Try again later, or give it more."),
    "53300": Trouble("the server has no connection left", "Raise its max_connections, or run fewer workers."),
    "25006": Trouble("it may only be read", "Name the primary server, which takes writes, in database_url."),
    "42501": Trouble(
        "the user may not do that", "Grant it the right, for instance: GRANT CREATE ON SCHEMA public TO the_user"
    ),
    "55P03": _BUSY,
    "57014": Trouble("a statement took too long", "Try again later; if it goes on, look at the server's load."),
    "25P03": Trouble("a transaction stood still for too long", "Try again."),
    "57P01": Trouble("the server is being shut down", "Start it again."),
    "57P02": Trouble("the server crashed", "Look at its log."),
    "57P03": Trouble("the server is not ready yet", "Try again in a moment."),
}
_SERVERS_FAULT: Final = ("08", "53", "57", "58", "XX")
"""Classes of PostgreSQL's codes that are about the connection, its resources, operators, its system and defects."""
_UNREACHED: Final = "See that it runs and lets this machine in, and check database_url (or WAYPOST_DATABASE_URL)."
_POOL: Final = Trouble(f"every connection has been in use for over {BUSY_S:.0f} s", "Try again later.")


def trouble(error: SQLAlchemyError, url: URL) -> DatabaseUnavailable:
    """The error for the operator: the database, the reason, and what to do."""
    found = _trouble(error) or Trouble(_first_line(error), "")
    password = str(url.password or "")
    reason = found.reason.replace(password, "***") if password else found.reason
    return DatabaseUnavailable(f"The database {shown(url)} cannot be used: {reason}.", hint=found.mend)


@contextmanager
def explained(database: Database) -> Iterator[None]:
    """Turn what leaves the block, if the database is to blame, into DatabaseUnavailable."""
    try:
        yield
    except SQLAlchemyError as error:
        # Otherwise it is a mistake of the code's, which keeps its own error.
        if _trouble(error) is None:
            raise
        raise trouble(error, database.url) from error


def sqlite_reason(error: sqlite3.Error) -> str:
    """What is wrong with an SQLite file."""
    found = _of_sqlite(error)
    return found.reason if found else _first_line(error)


def _trouble(error: SQLAlchemyError) -> Trouble | None:
    if isinstance(error, TimeoutError):
        return _POOL
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause)
    return _of_postgresql(cause) if isinstance(cause, psycopg.Error) else None


def _of_sqlite(error: sqlite3.Error) -> Trouble | None:
    # The lower byte is the kind, the rest says more precisely which.
    return _SQLITE.get((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF)


def _of_postgresql(error: psycopg.Error) -> Trouble | None:
    if error.sqlstate:
        ours = error.sqlstate[:2] not in _SERVERS_FAULT
        return _POSTGRESQL.get(error.sqlstate, None if ours else Trouble(_first_line(error), ""))
    # Without a code it is about the connection, or about a value that cannot be sent.
    return None if isinstance(error, psycopg.DataError) else Trouble(_first_line(error), _UNREACHED)


def _first_line(error: Exception) -> str:
    """Where one of several addresses was tried after another, the rest says it again for each."""
    return str(error).strip().partition("\n")[0].strip().removesuffix(".") or type(error).__name__
