"""Claims about backups: one moment, whole or not at all, and into either kind of database."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, inspect, select, text
from tests.databases import KINDS, PostgresServer
from tests.planted import Planted
from tools.schema_fixture import fill

from waypost.errors import ConfigurationError, DatabaseUnavailable
from waypost.store.address import sqlite_url
from waypost.store.backup import back_up
from waypost.store.backup_file import BackupError, reading, verify
from waypost.store.database import Database
from waypost.store.migrate import check, newest, upgrade
from waypost.store.restore import restore
from waypost.store.tables import attempts, metadata, revisions, spend

Make = Callable[[str], Database]


def silent(_done: int, _total: int) -> None:
    """Nobody looks on."""


def content(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table but what is about the schema itself."""
    with database.read() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
            if table.name != "schema_version"
        }


@pytest.fixture
def make(shared_postgres: PostgresServer, tmp_path: Path) -> Iterator[Make]:
    """Fresh databases without tables, of the kind asked for."""
    made: list[Database] = []

    def database(kind: str) -> Database:
        url = sqlite_url(tmp_path / f"{len(made)}.db") if kind == "sqlite" else shared_postgres.create()
        made.append(Database(url))
        return made[-1]

    yield database
    for each in made:
        each.close()
        if not each.is_sqlite:
            shared_postgres.drop(each.url)


@pytest.fixture
def backup(database: Database, tmp_path: Path) -> Path:
    """A backup of a database with the sample rows."""
    fill(database)
    back_up(database, tmp_path / "a backup", silent)
    return tmp_path / "a backup"


# There and back


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_kept_comes_back_in_either_kind_of_database(
    database: Database, backup: Path, make: Make, kind: str
) -> None:
    """So the way from SQLite to PostgreSQL is a backup, too."""
    other = make(kind)
    seen: list[tuple[int, int]] = []
    restore(other, backup, lambda done, total: seen.append((done, total)))
    assert content(other) == content(database)
    assert check(other).status == "current"
    rows = sum(map(len, content(database).values()))
    assert seen[0] == (0, rows)
    assert seen[-1] == (rows, rows)
    other.close()
    upgrade(other)


def test_a_backup_is_one_readable_file_for_its_owner_only(database: Database, backup: Path) -> None:
    names = [path.name for path in backup.parent.iterdir() if path.name.startswith((backup.name, "."))]
    assert names == [backup.name]
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with closing(sqlite3.connect(f"{backup.as_uri()}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT count(*) FROM projects").fetchone() == (2,)
    verify(backup)


def test_a_backup_shows_one_moment_though_the_database_goes_on(database: Database, tmp_path: Path) -> None:
    """A writer moves money between two rows all the time; in no backup is there more or less of it, and none waits."""
    with database.write() as connection:
        connection.execute(insert(spend), [{"subject": name, "window": "w", "micro_usd": 1000} for name in "ab"])
        filler = [{"subject": f"{n:05}" * 30, "window": "w", "micro_usd": 0} for n in range(20_000)]
        connection.execute(insert(spend), filler)
    done, moved = threading.Event(), 0

    def move() -> None:
        nonlocal moved
        while not done.is_set():
            with database.write() as connection:
                for name, change in (("a", 1), ("b", -1)):
                    statement = spend.update().where(spend.c.subject == name)
                    connection.execute(statement.values(micro_usd=spend.c.micro_usd + change))
            moved += 1

    thread = threading.Thread(target=move)
    thread.start()
    try:
        for number in range(2):
            before = moved
            back_up(database, tmp_path / f"{number}.backup", silent)
            assert moved > before
            with reading(tmp_path / f"{number}.backup") as connection:
                assert connection.scalar(select(func.sum(spend.c.micro_usd))) == 2000
    finally:
        done.set()
        thread.join()


def test_an_older_schema_is_backed_up_as_it_is_and_restored_into_the_newest(
    database: Database, planted: Planted, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One makes a backup with the new version before one lets it upgrade."""
    fill(database)
    old, before = newest(), content(database)
    planted.add("op.add_column('spend', sa.Column('note', sa.String(10)))", oldest_code=1)
    planted.be_the_code(monkeypatch)
    assert back_up(database, tmp_path / "backup", silent).version == old
    other = make("sqlite" if database.is_sqlite else "postgresql")
    assert restore(other, tmp_path / "backup", silent).version == old
    assert check(other).version == old + 1
    assert content(other) == before
    with other.read() as connection:
        assert "note" in {column["name"] for column in inspect(connection).get_columns("spend")}


def test_a_backup_of_a_newer_waypost_is_refused(
    database: Database, planted: Planted, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted.add("op.create_table('extra', sa.Column('number', sa.Integer))", oldest_code=1)
    with monkeypatch.context() as future:
        planted.be_the_code(future)
        upgrade(database)
        back_up(database, tmp_path / "backup", silent)
    with pytest.raises(BackupError, match=rf"has schema {newest() + 1}; this is Waypost .*, of schema {newest()}"):
        restore(make("sqlite"), tmp_path / "backup", silent)


def test_one_can_go_back_to_before_an_upgrade_that_went_too_far(
    database: Database, backup: Path, planted: Planted, tmp_path: Path
) -> None:
    """The database is too new for this code; with the backup from before, its own new tables are gone as well."""
    before = content(database)
    planted.add("op.create_table('extra', sa.Column('number', sa.Integer))", oldest_code=newest() + 1)
    upgrade(database, planted.folders)
    assert check(database).status == "too_new"
    restore(database, backup, silent, replace=True)
    assert (check(database).status, content(database)) == ("current", before)
    upgrade(database, planted.folders)


# What is refused


def test_rows_are_only_given_up_when_told_to(database: Database, backup: Path) -> None:
    with pytest.raises(BackupError, match=r"is not empty\. Make a backup of it, then say --replace"):
        restore(database, backup, silent)
    before = content(database)
    with database.write() as connection:
        connection.execute(delete(spend))
    restore(database, backup, silent, replace=True)
    assert content(database) == before


def test_a_database_in_use_is_not_replaced(database: Database, backup: Path) -> None:
    """A server would go on with what it has in memory."""
    server = Database(database.url)
    with server.read() as connection:
        connection.execute(select(revisions)).all()
    with pytest.raises(BackupError, match=r"is in use\. Stop all servers"):
        restore(database, backup, silent, replace=True)
    server.close()
    restore(database, backup, silent, replace=True)


def test_another_program_s_database_is_neither_kept_nor_filled(make: Make, backup: Path, tmp_path: Path) -> None:
    for kind in KINDS:
        other = make(kind)
        with pytest.raises(BackupError, match="is empty"):
            back_up(other, tmp_path / "none", silent)
        with other.write() as connection:
            connection.execute(text("CREATE TABLE keys (number integer)"))
        with pytest.raises(ConfigurationError, match="a table keys that Waypost did not make"):
            back_up(other, tmp_path / "none", silent)
        with pytest.raises(ConfigurationError, match="a table keys that Waypost did not make"):
            restore(other, backup, silent, replace=True)


def test_a_file_that_is_there_is_only_replaced_when_told_to(database: Database, backup: Path) -> None:
    with pytest.raises(BackupError, match="exists already"):
        back_up(database, backup, silent)
    back_up(database, backup, silent, replace=True)
    verify(backup)


@pytest.mark.parametrize("where", ["checksum", "row", "end"])
def test_a_backup_that_is_not_as_it_was_made_is_refused(backup: Path, make: Make, where: str) -> None:
    """One bit that differs, wherever it is, or one byte less."""
    data = bytearray(backup.read_bytes())
    if where == "end":
        del data[-1]
    else:
        data[61 if where == "checksum" else data.index(b"micro_usd", len(data) // 2)] ^= 1
    backup.write_bytes(data)
    other = make("sqlite")
    with pytest.raises(BackupError, match="its checksum differs"):
        restore(other, backup, silent)
    assert check(other).status == "empty"


@pytest.mark.parametrize("data", [b"", b"Dear diary", b"SQLite format 3\0" + bytes(1000)])
def test_a_file_that_is_no_backup_is_refused(tmp_path: Path, make: Make, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(BackupError, match="is no backup of Waypost's"):
        restore(make("sqlite"), tmp_path / "file", silent)
    with pytest.raises(BackupError, match="cannot be read: No such file"):
        restore(make("sqlite"), tmp_path / "nowhere", silent)


def test_a_plain_copy_of_a_database_is_no_backup(tmp_path: Path, make: Make) -> None:
    """It may lack what is still in the write-ahead log."""
    database = make("sqlite")
    upgrade(database)
    database.close()
    shutil.copy(str(database.url.database), tmp_path / "copy")
    with pytest.raises(BackupError, match="is no backup of Waypost's"):
        restore(make("sqlite"), tmp_path / "copy", silent)


# What is left when it fails


def test_a_backup_that_cannot_be_written_leaves_nothing(database: Database, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="cannot be written: No such file or directory"):
        back_up(database, tmp_path / "nowhere" / "backup", silent)

    def fail(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    (tmp_path / "backups").mkdir()
    with pytest.raises(KeyboardInterrupt):
        back_up(database, tmp_path / "backups" / "backup", fail)
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_disk_without_room_for_a_backup_is_said_of_the_file_and_not_of_the_database(
    database: Database, tmp_path: Path
) -> None:
    with database.write() as connection:
        rows = [{"subject": f"{n:05}" * 30, "window": "w", "micro_usd": 0} for n in range(5000)]
        connection.execute(insert(spend), rows)
    program = """
import resource, signal, sys
from pathlib import Path
from sqlalchemy.engine import make_url
from waypost.store.backup import back_up
from waypost.store.backup_file import BackupError
from waypost.store.database import Database
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
try:
    back_up(Database(make_url(sys.argv[1])), Path(sys.argv[2]), lambda done, total: None)
except BackupError as error:
    print(error)
"""
    (tmp_path / "backups").mkdir()
    file = tmp_path / "backups" / "backup"
    command = [sys.executable, "-c", program, str(database.url), str(file)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.startswith(f"{file} cannot be written: the disk ")
    assert list(file.parent.iterdir()) == []


def test_a_damaged_database_gives_no_backup(tmp_path: Path, make: Make) -> None:
    database = make("sqlite")
    upgrade(database)
    with database.write() as connection:
        rows = [{"subject": f"{n:05}" * 30, "window": "w", "micro_usd": 0} for n in range(5000)]
        connection.execute(insert(spend), rows)
    database.close()
    file = Path(str(database.url.database))
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        opened.write(os.urandom(40_000))
    with pytest.raises((BackupError, DatabaseUnavailable), match="damaged"):
        back_up(database, tmp_path / "backup", silent)
    assert not (tmp_path / "backup").exists()


_RESTORE = """
import sys, time
from pathlib import Path
from sqlalchemy.engine import make_url
from waypost.store.database import Database
from waypost.store.restore import restore

def slowly(done, total):
    print(done, flush=True)
    time.sleep(60 if done else 0)

restore(Database(make_url(sys.argv[1])), Path(sys.argv[2]), slowly, replace=True)
"""


def test_a_restore_that_is_killed_leaves_the_database_as_it_was(database: Database, backup: Path) -> None:
    """It is killed when rows have been written; another one then goes through."""
    with database.write() as connection:
        connection.execute(delete(attempts))
    before = content(database)
    database.close()
    command = [sys.executable, "-c", _RESTORE, str(database.url), str(backup)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert content(database) == before
    assert before["attempts"] == []
    database.close()
    end = time.monotonic() + 30
    while True:
        try:
            restore(database, backup, silent, replace=True)
            break
        except BackupError:
            # PostgreSQL takes a moment to see that the other one is gone.
            assert time.monotonic() < end
            time.sleep(0.05)
    assert len(content(database)["attempts"]) == 2
