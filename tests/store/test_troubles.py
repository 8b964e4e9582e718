"""Claims about what is said when the database cannot be used. Each fault is a real one."""

from __future__ import annotations

import logging
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from tests.databases import PostgresServer

from waypost.errors import DatabaseUnavailable, ServerBusy
from waypost.store.address import database_url, sqlite_url
from waypost.store.database import Database
from waypost.store.migrate import upgrade
from waypost.store.tables import revisions
from waypost.store.troubles import explained

PASSWORD = "s3cret-pa55"
ROW = insert(revisions).values(name="keys", number=1)


def told(url: URL) -> str:
    """What is said when this database is to be upgraded; no part of it, nor of its cause, holds the password."""
    database = Database(url)
    with pytest.raises(DatabaseUnavailable) as caught, explained(database):
        upgrade(database)
    database.close()
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


@contextmanager
def trouble(database: Database, reason: str) -> Iterator[None]:
    """What leaves the block is the operator's sentence, with this reason."""
    with pytest.raises(DatabaseUnavailable, match=reason), explained(database):
        yield


@pytest.fixture
def few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for long."""
    monkeypatch.setattr("waypost.store.database.BUSY_S", 0.2)


@pytest.fixture
def idle_for_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction may not stand still for long."""
    monkeypatch.setattr("waypost.store.postgresql_session.IDLE_S", 0.3)


# PostgreSQL


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (f"postgresql://u:{PASSWORD}@127.0.0.1:1/db", "port 1 failed: Connection refused"),
        (f"postgresql://u:{PASSWORD}@no-such-host.invalid/db", "failed to resolve host 'no-such-host.invalid'"),
        (f"postgres://u:{PASSWORD}@/db?host=/nowhere", "No such file or directory"),
        (f"postgresql://u@127.0.0.1:1/db?password={PASSWORD}", "Connection refused"),
    ],
)
def test_a_server_that_cannot_be_reached(address: str, reason: str) -> None:
    sentence = told(database_url(address, Path()))
    assert sentence.startswith("The database postgresql://u")
    assert reason in sentence
    assert sentence.endswith("check database_url (or WAYPOST_DATABASE_URL).")


def test_a_server_that_was_stopped_and_one_that_knows_not_who_or_what(shared_postgres: PostgresServer) -> None:
    there = shared_postgres.url
    assert 'database "absent" does not exist' in told(there.set(database="absent"))
    assert 'role "stranger" does not exist' in told(there.set(username="stranger", password=PASSWORD))


@pytest.fixture
def poor(shared_postgres: PostgresServer) -> Iterator[URL]:
    """The address of a database for a user without rights."""
    url = shared_postgres.create()
    shared_postgres.execute("CREATE ROLE poor LOGIN")
    # Before version 15 everybody could make tables there.
    shared_postgres.execute(f"ALTER ROLE poor IN DATABASE {url.database} SET search_path = pg_catalog")
    yield url.set(username="poor")
    shared_postgres.drop(url)
    shared_postgres.execute("DROP ROLE poor")


def test_a_user_without_rights(poor: URL) -> None:
    assert "cannot be used: the user may not do that. Grant it the right" in told(poor)


def test_a_server_that_only_lets_one_read(shared_postgres: PostgresServer) -> None:
    url = shared_postgres.create()
    shared_postgres.execute(f"ALTER DATABASE {url.database} SET default_transaction_read_only = on")
    assert "it may only be read. Name the primary server" in told(url)
    shared_postgres.drop(url)


def test_a_transaction_that_stands_still_loses_its_locks(shared_postgres: PostgresServer, idle_for_less: None) -> None:
    """So a frozen process does not keep the others waiting; when it wakes, it is told."""
    url = shared_postgres.create()
    database, other = Database(url), Database(url)
    upgrade(database)
    with trouble(database, "stood still for too long|terminat"), database.write() as connection:
        connection.execute(ROW)
        threading.Event().wait(0.6)
        with other.write() as second:
            second.execute(ROW)
        connection.execute(select(revisions))
    database.close()
    other.close()
    shared_postgres.drop(url)


# SQLite


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "waypost.db"
    file.write_text("Dear diary, " * 1000)
    assert told(sqlite_url(file)) == (
        f"The database {file} cannot be used: the file is damaged, or is no SQLite database. "
        "Put it aside and take the last backup: waypost db restore FILE"
    )
    assert file.read_text().startswith("Dear diary")


def test_a_folder_in_the_file_s_place(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="the file cannot be opened"):
        database = Database(sqlite_url(tmp_path))
        with explained(database), database.read() as connection:
            connection.execute(select(1))


def test_a_full_disk(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "waypost.db"))
    upgrade(database)
    with trouble(database, r"the disk is full\. Make room"), database.write() as connection:
        connection.execute(text("PRAGMA max_page_count = 1"))
        connection.execute(text("CREATE TABLE more AS SELECT zeroblob(1000000)"))
    with database.write() as connection:
        connection.execute(ROW)
    database.close()


def test_a_disk_that_takes_no_more_bytes(tmp_path: Path) -> None:
    """A process whose files may not grow says so, and the database is as it was."""
    database = Database(sqlite_url(tmp_path / "waypost.db"))
    upgrade(database)
    program = (
        "import sys\nfrom pathlib import Path\nfrom sqlalchemy import text\n"
        "from waypost.errors import DatabaseUnavailable\nfrom waypost.store.address import sqlite_url\n"
        "from waypost.store.database import Database\nfrom waypost.store.troubles import explained\n"
        "database = Database(sqlite_url(Path(sys.argv[1])))\n"
        "try:\n"
        "    with explained(database), database.write() as connection:\n"
        "        connection.execute(text('CREATE TABLE more AS SELECT zeroblob(1000000)'))\n"
        "except DatabaseUnavailable as error:\n"
        "    print(error)\n"
    )

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    command = [sys.executable, "-c", program, str(tmp_path / "waypost.db")]
    printed = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=True).stdout
    assert "cannot be used: the disk" in printed
    assert upgrade(database).status == "current"
    database.close()


def test_a_block_that_only_reads(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "waypost.db"))
    upgrade(database)
    with trouble(database, "may only be read"), database.read() as connection:
        connection.execute(ROW)
    database.close()


# Both


def test_others_that_are_waited_for_in_vain(database: Database, few_seconds: None) -> None:
    """One process holds what another wants; the sentence says how long it was waited for."""
    one, other = Database(database.url), Database(database.url)
    with one.write() as connection:
        connection.execute(ROW)
        with trouble(other, "has kept others waiting"), other.write() as second:
            second.execute(ROW)
    one.close()
    other.close()


def test_connections_that_are_all_in_use(database: Database, few_seconds: None) -> None:
    small = Database(database.url, pool_size=1)
    extra = 10 if database.is_sqlite else 0
    connections = [small.engine.connect() for _ in range(1 + extra)]
    with trouble(small, "every connection has been in use"), small.read():
        pass
    for connection in connections:
        connection.close()
    small.close()


def test_what_was_being_written_is_in_no_message(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """SQLAlchemy would add the row to its own message, and to the log."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(DBAPIError) as caught, database.write() as connection:
        connection.execute(text("SELECT * FROM nowhere WHERE name = :name"), {"name": PASSWORD})
    assert PASSWORD not in "".join(traceback.format_exception(caught.value)) + caplog.text


def test_a_mistake_in_the_code_keeps_its_own_error(database: Database) -> None:
    """Nobody is sent to look at a database that is well."""
    for statement in ("SELEKT 1", "SELECT * FROM nowhere", "INSERT INTO revisions VALUES (NULL, 1)"):
        with pytest.raises(DBAPIError), explained(database), database.write() as connection:
            connection.execute(text(statement))


def test_whoever_sent_a_request_is_told_to_come_again() -> None:
    assert issubclass(DatabaseUnavailable, ServerBusy)
    assert DatabaseUnavailable("away").http_status == 503
