"""The database as one file, taken while servers go on with it. See `store.restore` for the way back.

From SQLite all pages are copied, from PostgreSQL all rows; either way the file holds one moment, is an SQLite database
and can be restored into either.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from waypost import __version__
from waypost.store.address import shown, sqlite_url
from waypost.store.backup_file import BackupError, seal
from waypost.store.copying import Progress, copy_rows
from waypost.store.database import Database
from waypost.store.migrate import State, check, migrate, state_of
from waypost.store.troubles import explained, sqlite_reason

_STEP_PAGES: Final = 4096
_COMPANIONS: Final = ("", "-wal", "-shm", "-journal")


def back_up(database: Database, file: Path, progress: Progress, *, replace: bool = False) -> State:
    """Write the backup and say which schema it has; `file` appears when it is whole.

    `replace`: a file that is there already gives way. Raises BackupError, ConfigurationError and DatabaseUnavailable.
    """
    with explained(database):
        state = check(database)
    where = shown(database.url)
    state.refuse_foreign(where)
    if state.version is None:
        raise BackupError(f"The database {where} is empty.", hint="Nothing is there to be kept.")
    if state.version > state.known and not database.is_sqlite:
        raise BackupError(
            f"The database {where} has schema {state.version}; this is Waypost {__version__}, of schema {state.known}.",
            hint=f"Back it up with Waypost {state.written_by} or later.",
        )
    if file.exists() and not replace:
        raise BackupError(f"{file} exists already.", hint="Name another file, or say --force.")
    copy = _copy_pages if database.is_sqlite else _copy_rows
    with _written(file) as partial, explained(database), database.read(patient=True) as connection:
        state = state_of(connection)
        copy(connection, state, partial, progress)
    return state


def _copy_pages(connection: Connection, _state: State, file: Path, progress: Progress) -> None:
    driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    # The transaction has begun with the look at the schema, so that what others write does not make it start anew.
    with closing(sqlite3.connect(file)) as target:
        driver.backup(
            target, pages=_STEP_PAGES, progress=lambda _status, left, total: progress(total - left, total), sleep=0
        )


def _copy_rows(connection: Connection, state: State, file: Path, progress: Progress) -> None:
    target = Database(sqlite_url(file))
    try:
        with target.change_schema() as copy:
            migrate(copy, to=state.version)
            copy_rows(connection, copy, state.tables, progress)
    except DBAPIError as error:
        # Only the file's own troubles are SQLite's here; the others are the database's.
        raise (error.orig if isinstance(error.orig, sqlite3.Error) else error) from None
    finally:
        target.close()


@contextmanager
def _written(file: Path) -> Iterator[Path]:
    """A file beside it to write to, which takes its place when it is whole, and is gone if it does not get so far."""
    partial: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".partial", dir=file.parent)
        os.close(descriptor)
        partial = Path(name)
        yield partial
        seal(partial)
        partial.replace(file)
        _sync_folder(file.parent)
    except sqlite3.Error as error:
        raise BackupError(f"{file} cannot be written: {sqlite_reason(error)}.") from error
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        if partial is not None:
            for companion in _COMPANIONS:
                partial.with_name(partial.name + companion).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
