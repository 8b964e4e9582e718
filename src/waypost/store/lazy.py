"""The database of a process that may never need it: opened, and brought to this code's schema, when first asked for.

Importing this costs nothing; opening costs what SQLAlchemy costs, so it is for threads.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from waypost.settings import Settings
from waypost.store import SQLITE_FILE

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from waypost.store.database import Database


class LazyDatabase:
    """The one database of a process. After a fork it may still be used, if nothing was opened before or all closed."""

    def __init__(self, settings: Settings, idle_s: float | None = None) -> None:
        self._settings = settings
        self._idle_s = idle_s
        self._database: Database | None = None
        self._is_ready = False
        self._turn = threading.Lock()

    @property
    def url(self) -> URL:
        """Where it is. Raises ConfigurationError."""
        return self._made().url

    def is_there(self) -> bool:
        """Is there one, so that opening it makes nothing? Only an SQLite file may be missing."""
        if self._is_ready:
            return True
        if self._settings.database_url is None:
            return (self._settings.data_dir / SQLITE_FILE).exists()
        database = self._made()
        return not database.is_sqlite or Path(str(database.url.database)).exists()

    def file(self) -> Path | None:
        """The SQLite file that it is, or will be; None: it is a server's. Nothing is opened."""
        database = self._made()
        return Path(str(database.url.database)) if database.is_sqlite else None

    def open(self) -> Database:
        """The database, with this code's schema. Raises ConfigurationError, DatabaseError."""
        database = self._made()
        with self._turn:
            if not self._is_ready:
                from waypost.store.migrate import upgrade

                upgrade(database)
                self._is_ready = True
        return database

    def _made(self) -> Database:
        with self._turn:
            if self._database is None:
                from waypost.store.database import open_database

                self._database = open_database(self._settings, self._idle_s)
            return self._database

    def close(self) -> None:
        """Close every connection. It may be opened again."""
        with self._turn:
            if self._database is not None:
                self._database.close()
