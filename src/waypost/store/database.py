"""One database, SQLite or PostgreSQL: transactions, and the few things the two say differently. Blocking: threads only.

The event loop never waits for a database: whoever is in it goes through `asyncio.to_thread`, and FastAPI runs plain
functions in threads by itself. Importing this costs a tenth of a second, so it is imported where it is first needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from waypost.errors import ConfigurationError

SQLITE_FILE: Final = "waypost.db"
"""In the data folder, where no database is configured."""
BUSY_S: Final = 15.0
"""How long a transaction waits for another process's."""
DRIVERS: Final[Mapping[str, str]] = {
    "sqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}

DatabaseError = SQLAlchemyError
"""What a query raises when the database is away, full or refuses."""


def database_url(configured: str | None, data_dir: Path) -> URL:
    """Where the database is. Raises ConfigurationError; its message never holds a password."""
    if configured is None:
        return URL.create(DRIVERS["sqlite"], database=str(data_dir / SQLITE_FILE))
    try:
        url = make_url(configured)
    except ArgumentError:
        raise ConfigurationError(
            "database_url is not a URL.", hint="Write postgresql://user:password@host/name or sqlite:///path."
        ) from None
    driver = DRIVERS.get(url.drivername.split("+")[0])
    if driver is None:
        raise ConfigurationError(
            f'database_url begins with "{url.drivername}".', hint="Waypost stores in sqlite or postgresql."
        )
    return url.set(drivername=driver)


class Database:
    """Transactions on one database. Nothing is opened before the first one."""

    def __init__(self, url: URL, *, pool_size: int = 5) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(url) if self.is_sqlite else _postgresql_engine(url, pool_size)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot. Nothing written in it stays. Raises DatabaseError."""
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, committed at the block's end, rolled back by what leaves it. Raises DatabaseError.

        On SQLite it is the only writer from its begin on: one that began by reading could not always become one later.
        """
        with self.engine.connect() as connection:
            connection.execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
            with connection.begin():
                yield connection

    def upsert(self, table: Table) -> Any:
        """An INSERT that may get `on_conflict_do_update` or `on_conflict_do_nothing`, alike in both databases."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


_BEGIN: Final = "waypost_begin"


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_S, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # The driver's own habit of when to begin a transaction is switched off: `_begin` does it.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))

    return engine


def _postgresql_engine(url: URL, pool_size: int) -> Engine:
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_pre_ping=True,
        pool_timeout=BUSY_S,
        connect_args={"connect_timeout": 5, "options": "-c timezone=UTC -c lock_timeout=15s"},
    )
