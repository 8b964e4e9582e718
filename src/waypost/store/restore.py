"""A backup back into a database, of the kind it came from or of the other. All of it happens or nothing.

The rows are read into the schema that the backup has, which is then brought to this code's one.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, select, text

from waypost import __version__
from waypost.store.address import shown
from waypost.store.backup_file import BackupError, reading, verify
from waypost.store.copying import ABOUT_THE_SCHEMA, Progress, copy_rows, reflected
from waypost.store.database import Database
from waypost.store.migrate import State, check, lock, make_file, migrate, state_of
from waypost.store.tables import metadata, revisions
from waypost.store.troubles import explained, sqlite_reason

_NO_DATA: Final = ABOUT_THE_SCHEMA | {revisions.name}
_OTHERS: Final = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND application_name = current_setting('application_name')"
)
_STOP: Final = "Stop all servers that use it, and try again."


def restore(database: Database, file: Path, progress: Progress, *, replace: bool = False) -> State:
    """Fill the database from a backup and say which schema that had. Raises BackupError and DatabaseUnavailable.

    `replace`: what the database holds gives way. No server may use it meanwhile: each keeps some of it in memory.
    """
    verify(file)
    with reading(file) as source:
        content = state_of(source)
        if content.version is None or content.version > content.known:
            raise BackupError(
                f"{file} has schema {content.version}; this is Waypost {__version__}, of schema {content.known}.",
                hint=f"Restore it with Waypost {content.written_by} or later.",
            )
        with explained(database):
            check(database).refuse_foreign(shown(database.url))
            if database.is_sqlite:
                _prepare_file(database)
            with database.change_schema() as target:
                _replace(source, content, target, database, progress, replace=replace)
    return content


def _replace(
    source: Connection, content: State, target: Connection, database: Database, progress: Progress, *, replace: bool
) -> None:
    lock(target)
    if not database.is_sqlite and target.scalar(_OTHERS):
        raise BackupError(f"The database {shown(database.url)} is in use.", hint=_STOP)
    tables = _tables_of(target)
    if not replace and _has_rows(target, tables):
        raise BackupError(
            f"The database {shown(database.url)} is not empty.",
            hint="Make a backup of it, then say --replace to give up all that it holds.",
        )
    for table in reversed(reflected(target, tables)):
        table.drop(target)
    migrate(target, to=content.version)
    copy_rows(source, target, content.tables, progress)
    migrate(target)


def _tables_of(connection: Connection) -> list[str]:
    """Waypost's tables in there, those of a newer Waypost too."""
    names = set(inspect(connection).get_table_names())
    known = set(state_of(connection).tables) if "schema_version" in names else set()
    return sorted(names & {*known, *metadata.tables, *ABOUT_THE_SCHEMA})


def _has_rows(connection: Connection, names: list[str]) -> bool:
    tables = reflected(connection, [name for name in names if name not in _NO_DATA])
    return any(connection.execute(select(1).select_from(table).limit(1)).first() for table in tables)


def _prepare_file(database: Database) -> None:
    """Make the file if there is none, and see that nobody else has it open."""
    file = Path(str(database.url.database))
    make_file(file)
    database.close()
    with closing(sqlite3.connect(file, timeout=1.0)) as connection:
        try:
            # Only the last one who has it open can leave the write-ahead log behind.
            connection.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise BackupError(f"The database {file} is in use.", hint=_STOP) from error
            raise BackupError(f"The database {file} cannot be used: {sqlite_reason(error)}.") from error
