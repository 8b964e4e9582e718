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
_UNREACHED: Final = "See that it runs and lets this machine in, and check database_url (or WAYPOST_DATABASE_URL)."
_POOL: Final = Trouble(f"every connection has been in use for over {BUSY_S:.0f} s", "Try again later.")


def trouble(error: SQLAlchemyError, url: URL) -> DatabaseUnavailable:
    """The error for the operator: the database, the reason, and what to do."""
    reason, mend = _trouble(error)
    password = str(url.password or "")
    reason = reason.replace(password, "***") if password else reason
    return DatabaseUnavailable(f"The database {shown(url)} cannot be used: {reason}.", hint=mend)


@contextmanager
def explained(database: Database) -> Iterator[None]:
    """Turn what leaves the block, if it is the database's, into DatabaseUnavailable."""
    try:
        yield
    except SQLAlchemyError as error:
        raise trouble(error, database.url) from error


def _trouble(error: SQLAlchemyError) -> Trouble:
    if isinstance(error, TimeoutError):
        return _POOL
    cause = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(cause, sqlite3.Error):
        # The lower byte is the kind, the rest says more precisely which.
        return _SQLITE.get((getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF, _as_told(cause))
    if isinstance(cause, psycopg.Error):
        return _POSTGRESQL.get(cause.sqlstate or "", _as_told(cause, "" if cause.sqlstate else _UNREACHED))
    return _as_told(error)


def _as_told(error: Exception, mend: str = "") -> Trouble:
    """The first line; where one of several addresses was tried after another, the rest says it again for each."""
    line = str(error).strip().partition("\n")[0].strip()
    return Trouble(line.removesuffix(".") or type(error).__name__, mend)
