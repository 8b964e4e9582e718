"""One database, SQLite or PostgreSQL: transactions, and the few things the two say differently. Blocking: threads only.

The event loop never waits for a database: whoever is in it goes through `asyncio.to_thread`, and FastAPI runs plain
functions in threads by itself. Importing this costs a quarter of a second, so it is imported where it is first needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from waypost.settings import Settings
from waypost.store import postgresql_session, sqlite_session
from waypost.store.address import database_url as database_url
from waypost.store.types import to_json

DatabaseError = SQLAlchemyError
"""What a query raises when the database is away, full or refuses. `store.troubles` has words for it."""
BUSY_S: Final = 15.0
"""How long a transaction waits for another one, and for a connection."""
_LENT: Final = "waypost_lent"


def open_database(settings: Settings, idle_s: float | None = None) -> Database:
    """The database of these settings. Nothing is opened yet. Raises ConfigurationError."""
    configured = settings.database_url.get_secret_value() if settings.database_url else None
    return Database(database_url(configured, settings.data_dir), durable=settings.ledger.fsync != "off", idle_s=idle_s)


class Database:
    """Transactions on one database. Nothing is opened before the first one.

    `durable`: what was committed survives a power cut on SQLite too, at the price of a wait for the disk each time.
    On PostgreSQL it always does. `idle_s`: how long a transaction there may wait for this process, before it is ended
    for the sake of others.
    """

    def __init__(self, url: URL, *, pool_size: int = 5, durable: bool = False, idle_s: float | None = None) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        session = sqlite_session if self.is_sqlite else postgresql_session
        arguments = session.arguments(url, BUSY_S)
        # SQLAlchemy's messages would hold the rows that were being written, with all that callers said.
        self.engine: Engine = create_engine(
            url,
            pool_size=pool_size,
            pool_timeout=BUSY_S,
            hide_parameters=True,
            json_serializer=to_json,
            json_deserializer=msgspec.json.decode,
            **arguments,
        )
        session.prepare(self.engine, BUSY_S, durable=durable, idle_s=idle_s)
        self._closings = 0
        event.listen(self.engine, "checkout", self._note_lent)
        event.listen(self.engine, "checkin", self._close_if_late)

    @contextmanager
    def read(self, *, patient: bool = False) -> Iterator[Connection]:
        """One snapshot, in which nothing can be written. Raises DatabaseError.

        `patient`: for exports and the like, which may take as long as they want.
        """
        with self._begun(read_only=True, patient=patient) as connection:
            yield connection

    @contextmanager
    def write(self, *, patient: bool = False) -> Iterator[Connection]:
        """One transaction, committed at the block's end, rolled back by what leaves it. Raises DatabaseError.

        On SQLite it is the only writer from its begin on: one that began by reading could not always become one later.
        `patient`: it waits for others as long as it must, and may take as long as it wants.
        """
        with self._begun(patient=patient) as connection:
            yield connection
            connection.commit()

    @contextmanager
    def change_schema(self) -> Iterator[Connection]:
        """As `write`, patient, for who makes, alters and drops tables: rows that refer to theirs stay what they are."""
        with self._begun(patient=True, schema=True) as connection:
            yield connection
            connection.commit()

    def upsert(self, table: Table) -> Any:
        """An INSERT that may get `on_conflict_do_update` or `on_conflict_do_nothing`, alike in both databases."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def size_bytes(self) -> int:
        """How much room all of it takes. Raises DatabaseError."""
        statement = "SELECT pg_database_size(current_database())"
        if self.is_sqlite:
            statement = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        with self.read() as connection:
            return int(connection.execute(text(statement)).scalar_one())

    def close(self) -> None:
        """Close every connection: one that a transaction has, at its end. The next transaction opens new ones."""
        self._closings += 1
        self.engine.dispose()

    def _note_lent(self, _connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        record.info[_LENT] = self._closings

    def _close_if_late(self, _connection: object, record: ConnectionPoolEntry) -> None:
        """The pool that it comes back to is nobody's any more, so that nobody would close it."""
        if record.info.get(_LENT) != self._closings:
            record.invalidate()

    @contextmanager
    def _begun(self, *, read_only: bool = False, patient: bool = False, schema: bool = False) -> Iterator[Connection]:
        session = sqlite_session if self.is_sqlite else postgresql_session
        with self.engine.connect() as connection:
            session.begin(connection, BUSY_S, read_only=read_only, patient=patient, schema=schema)
            yield connection
