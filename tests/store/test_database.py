"""Claims about transactions, on both databases."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, insert, select, text
from tests.databases import PostgresServer

from waypost.settings import Settings
from waypost.store.database import Database, DatabaseError, open_database
from waypost.store.tables import revisions


def test_what_a_block_wrote_is_kept_at_its_end_and_not_before(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(revisions).values(name="keys", number=1))
        with database.read() as other:
            assert other.scalar(select(func.count()).select_from(revisions)) == 0
    with database.read() as connection:
        assert connection.scalar(select(revisions.c.number)) == 1


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute(insert(revisions).values(name="keys", number=1))
        raise RuntimeError("fault")
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(revisions)) == 0


def test_a_read_block_is_one_snapshot_though_others_write(database: Database) -> None:
    def count() -> int | None:
        return connection.scalar(select(func.count()).select_from(revisions))

    with database.read() as connection:
        assert count() == 0
        with database.write() as other:
            other.execute(insert(revisions).values(name="keys", number=1))
        assert count() == 0
    with database.read() as connection:
        assert count() == 1


def test_a_read_block_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseError), database.read() as connection:
        connection.execute(insert(revisions).values(name="keys", number=1))


def test_writers_that_read_first_lose_no_update(database: Database) -> None:
    """Eight threads add 25 each through an upsert, and the sum is 200."""
    statement = database.upsert(revisions).values(name="keys", number=1)
    statement = statement.on_conflict_do_update(index_elements=["name"], set_={"number": revisions.c.number + 1})

    def add() -> None:
        for _ in range(25):
            with database.write() as connection:
                connection.execute(select(revisions)).all()
                connection.execute(statement)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.scalar(select(revisions.c.number)) == 200


def test_what_a_transaction_has_when_the_database_is_closed_is_closed_at_its_end(database: Database) -> None:
    with database.read() as before:
        driver = before.connection.driver_connection
    with database.read() as connection:
        assert connection.connection.driver_connection is driver, "connections are used again"
        database.close()
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    with pytest.raises((psycopg.OperationalError, sqlite3.ProgrammingError), match="closed"):
        driver.cursor().execute("SELECT 1")  # type: ignore[union-attr]
    with database.read() as after:
        assert after.execute(text("SELECT 1")).scalar_one() == 1


def test_a_server_that_went_away_is_used_again_when_it_is_back(postgres: PostgresServer) -> None:
    database = Database(postgres.url)
    with database.read() as connection:
        assert connection.scalar(select(1)) == 1
    postgres.kill()
    with pytest.raises(DatabaseError), database.read() as connection:
        connection.scalar(select(1))
    postgres.start()
    with database.read() as connection:
        assert connection.scalar(select(1)) == 1
    database.close()


def test_a_server_that_stands_still_is_waited_for(postgres: PostgresServer) -> None:
    database = Database(postgres.url)
    with database.read() as connection:
        postgres.freeze()
        waker = threading.Timer(0.5, postgres.thaw)
        waker.start()
        assert connection.scalar(select(1)) == 1
        waker.join()
    database.close()


def test_who_is_patient_is_not_cut_off_and_the_next_one_is_not_patient(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits are those of a transaction: the connection, used again, has the usual ones."""
    monkeypatch.setattr("waypost.store.database.BUSY_S", 0.2)
    monkeypatch.setattr("waypost.store.postgresql_session.IDLE_S", 0.2)
    patient, other = Database(database.url, pool_size=1), Database(database.url)
    with patient.read(patient=True) as connection:
        connection.scalar(select(func.count()).select_from(revisions))
        time.sleep(0.5)
        assert connection.scalar(select(func.count()).select_from(revisions)) == 0
    with pytest.raises(DatabaseError), other.write() as holder, patient.write() as connection:
        # SQLite lets nobody in beside the holder; PostgreSQL does, until it has stood still for too long.
        holder.execute(insert(revisions).values(name="keys", number=1))
        time.sleep(0.5)
        connection.execute(insert(revisions).values(name="other", number=2))
    patient.close()
    other.close()


def test_a_patient_writer_waits_as_long_as_it_must(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost.store.database.BUSY_S", 0.2)
    first, second = Database(database.url), Database(database.url)
    begun = threading.Event()

    def hold() -> None:
        with first.write() as connection:
            connection.execute(insert(revisions).values(name="keys", number=1))
            begun.set()
            time.sleep(0.6)

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait(10)
    statement = database.upsert(revisions).values(name="keys", number=2)
    with second.write(patient=True) as connection:
        connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"number": 2}))
    thread.join()
    with second.read() as connection:
        assert connection.scalar(select(revisions.c.number)) == 2
    first.close()
    second.close()


def test_what_must_survive_a_power_cut_is_waited_for(tmp_path: Path) -> None:
    """2 is FULL, 1 is NORMAL: SQLite's words for whether a commit waits for the disk."""
    for fsync, mode in (("off", 1), ("interval", 2), ("always", 2)):
        database = open_database(Settings.model_validate({"data_dir": tmp_path, "ledger": {"fsync": fsync}}))
        with database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == mode
        database.close()
