"""Where the database is: from the setting `database_url` to an address. No I/O; no message holds a password."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from waypost.errors import ConfigurationError
from waypost.store import SQLITE_FILE

DRIVERS: Final[Mapping[str, str]] = {
    "sqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
EXAMPLES: Final = "Write postgresql://user:password@host/name or sqlite:////path/to/file.db."
ESCAPING: Final = "In a user name or password, characters such as @ : / % are written as %40 %3A %2F %25."


def database_url(configured: str | None, data_dir: Path) -> URL:
    """The address that is configured; an SQLite file's is its path from the root on. Raises ConfigurationError.

    A relative path is one in `data_dir`, so that every command and process means the same file wherever it starts.
    """
    if configured is None:
        return sqlite_url(data_dir / SQLITE_FILE)
    url = _parsed(configured)
    driver = DRIVERS.get(url.drivername.split("+")[0])
    if driver is None:
        raise ConfigurationError(
            f'database_url begins with "{url.drivername}".', hint=f"Waypost stores in SQLite or PostgreSQL. {EXAMPLES}"
        )
    if driver != DRIVERS["sqlite"]:
        return _postgresql(url.set(drivername=driver))
    if url.host or url.query or url.username:
        raise ConfigurationError(
            "database_url names an SQLite file with a host or parameters.",
            hint="An SQLite address is a path only: sqlite:///file-in-data_dir.db or, with four slashes, "
            "sqlite:////path/to/file.db.",
        )
    if not url.database or url.database == ":memory:":
        raise ConfigurationError(
            "database_url names an SQLite database in memory, which other processes could not see.",
            hint="Name a file, or leave database_url out.",
        )
    return sqlite_url(data_dir / Path(url.database).expanduser())


def sqlite_url(file: Path) -> URL:
    """The address of an SQLite file."""
    return URL.create(DRIVERS["sqlite"], database=str(file.absolute()))


def shown(url: URL) -> str:
    """The address for people: a file's path, or a URL whose password is hidden."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    hidden = {"password": "***"} if "password" in url.query else {}
    return url.set(drivername="postgresql").update_query_dict(hidden).render_as_string(hide_password=True)


def _parsed(configured: str) -> URL:
    try:
        return make_url(configured)
    except (ArgumentError, ValueError):
        # What SQLAlchemy and Python say repeats the text, or the part that stood where a port is wanted.
        raise ConfigurationError("database_url is not a URL.", hint=f"{EXAMPLES} {ESCAPING}") from None


def _postgresql(url: URL) -> URL:
    # A password with an @ in it ends there, and its rest would be taken, and shown, for the host and the database.
    if "@" in f"{url.host}{url.database}":
        raise ConfigurationError("database_url holds an @ too many.", hint=ESCAPING)
    return url
