"""Claims about the schema: how it comes to be, who may use it, and what is left when nobody sees a change through."""

from __future__ import annotations

import importlib.util
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, inspect, select, text
from sqlalchemy.engine.interfaces import ReflectedIndex
from tests.planted import Planted

from waypost.errors import ConfigurationError
from waypost.store.address import sqlite_url
from waypost.store.database import Database
from waypost.store.migrate import check, newest, upgrade
from waypost.store.migrations import VERSIONS
from waypost.store.tables import metadata, revisions, schema_version

NOW = newest()


def tables_of(database: Database) -> set[str]:
    with database.read() as connection:
        return set(inspect(connection).get_table_names())


def described(connection: Connection) -> dict[str, Any]:
    """All that the database says of its tables."""
    inspector = inspect(connection)
    return {
        name: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(name)],
            inspector.get_pk_constraint(name),
            sorted(str(plain(index)) for index in inspector.get_indexes(name)),
            inspector.get_unique_constraints(name),
        )
        for name in inspector.get_table_names()
        if name != "alembic_version"
    }


def plain(index: ReflectedIndex) -> dict[str, Any]:
    """With the condition of a partial index as text: SQLAlchemy's objects for the same text differ."""
    return {**index, "dialect_options": {name: str(value) for name, value in index["dialect_options"].items()}}


# How the schema comes to be


def test_the_migrations_lead_to_the_tables_of_the_code(database: Database) -> None:
    """What Alembic would still have to do is nothing."""
    with database.read() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_a_migrated_database_is_what_the_tables_would_make_of_an_empty_one(
    empty_database: Database,
) -> None:
    """Down to names of constraints, columns of primary keys and the order of columns."""
    with empty_database.write() as connection:
        metadata.create_all(connection)
        made = described(connection)
        metadata.drop_all(connection)
    upgrade(empty_database)
    with empty_database.read() as connection:
        assert described(connection) == made


def test_schemas_are_numbered_without_gaps_and_say_how_old_code_may_be() -> None:
    oldest = 1
    files = sorted(VERSIONS.glob("schema_*.py"))
    for number, file in enumerate(files, start=1):
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert (file.stem, module.revision) == (f"schema_{number:04}", f"{number:04}")
        assert module.down_revision == (f"{number - 1:04}" if number > 1 else None)
        assert oldest <= module.oldest_code <= number
        oldest = module.oldest_code
    assert len(files) == newest()


def test_an_upgrade_says_how_it_was_and_a_second_one_finds_nothing_to_do(empty_database: Database) -> None:
    assert check(empty_database).status == "empty"
    assert upgrade(empty_database).status == "empty"
    assert upgrade(empty_database).status == "current"
    assert check(empty_database).version == NOW


def test_nothing_is_made_by_a_look(tmp_path: Path) -> None:
    file = tmp_path / "not there" / "waypost.db"
    assert check(Database(sqlite_url(file))).status == "empty"
    assert not file.parent.exists()


def test_alembic_is_not_even_imported_when_the_schema_is_current(database: Database) -> None:
    program = (
        "import sys\nfrom sqlalchemy.engine import make_url\nfrom waypost.store.database import Database\n"
        "from waypost.store.migrate import upgrade\nupgrade(Database(make_url(sys.argv[1])))\n"
        "assert not [name for name in sys.modules if name.startswith('alembic')]"
    )
    subprocess.run([sys.executable, "-c", program, str(database.url)], check=True)


def test_a_path_may_hold_what_a_path_may_hold_and_the_file_is_its_owner_s_only(tmp_path: Path) -> None:
    file = tmp_path / "a folder, 100% new" / "wäy #1?post;.db"
    database = Database(sqlite_url(file))
    upgrade(database)
    with database.write() as connection:
        connection.execute(insert(revisions).values(name="keys", number=1))
        assert {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()} == {0o600}
    database.close()
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name]


def test_a_file_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"deeper/waypost\.db cannot be made: Not a directory"):
        upgrade(Database(sqlite_url(tmp_path / "file" / "deeper" / "waypost.db")))


def test_another_program_s_tables_are_left_alone(empty_database: Database) -> None:
    with empty_database.write() as connection:
        connection.execute(text("CREATE TABLE projects (number integer)"))
    with pytest.raises(ConfigurationError, match="has a table projects that Waypost did not make"):
        upgrade(empty_database)
    assert tables_of(empty_database) == {"projects"}


# Code of two ages on one database


def test_old_code_serves_on_while_and_after_the_database_is_expanded(database: Database, planted: Planted) -> None:
    """A writes all the time while B migrates, and starts again on what B made."""
    step = planted.add("op.add_column('revisions', sa.Column('note', sa.String(10)))", oldest_code=1)
    done, written = threading.Event(), 0
    statement = database.upsert(revisions).values(name="keys", number=1)
    statement = statement.on_conflict_do_update(index_elements=["name"], set_={"number": revisions.c.number + 1})

    def serve() -> None:
        nonlocal written
        while not done.is_set():
            with database.write() as connection:
                connection.execute(statement)
            written += 1

    thread = threading.Thread(target=serve)
    thread.start()
    with planted.start(database) as process:
        output, _ = process.communicate(timeout=60)
        assert (output, process.returncode) == ("", 0)
    count = written
    while thread.is_alive() and written < count + 10:
        time.sleep(0.001)
    done.set()
    thread.join()
    restarted = Database(database.url)
    assert upgrade(restarted).status == "ahead"
    assert check(restarted).version == step
    with restarted.read() as connection:
        assert connection.scalar(select(revisions.c.number)) == written > count
    restarted.close()


def test_code_older_than_a_contracted_database_allows_is_refused(database: Database, planted: Planted) -> None:
    """The sentence says both schemas, who made the newer one, and what to do; nothing is touched."""
    step = planted.add("op.drop_column('revisions', 'number')", oldest_code=NOW + 1)
    upgrade(database, planted.folders)
    assert check(database).status == "too_new"
    with pytest.raises(ConfigurationError) as caught:
        upgrade(database)
    assert f"has schema {step}, made by Waypost 0." in str(caught.value)
    assert f"wants code of schema {NOW + 1} or later; this is Waypost 0." in str(caught.value)
    assert f", of schema {NOW}." in str(caught.value)
    assert "Install Waypost" in caught.value.hint
    assert upgrade(database, planted.folders).status == "current"


def test_an_expanding_step_does_not_let_in_code_that_an_earlier_step_shut_out(
    database: Database, planted: Planted
) -> None:
    planted.add("pass", oldest_code=NOW + 1)
    upgrade(database, planted.folders)
    planted.add("pass", oldest_code=1)
    upgrade(database, planted.folders)
    assert check(database).status == "too_new"


# Many at once, and none to the end


def test_of_several_processes_one_migrates_and_all_find_it_done(empty_database: Database, planted: Planted) -> None:
    """Eight start at once on an empty database; the slow step, which tells itself by a row, ran once."""
    planted.add(
        """
        import time
        op.create_table("runs", sa.Column("number", sa.Integer))
        time.sleep(0.5)
        op.execute("INSERT INTO runs VALUES (1)")
        """,
        oldest_code=1,
    )
    processes = [planted.start(empty_database) for _ in range(8)]
    for process in processes:
        output, _ = process.communicate(timeout=90)
        assert (output, process.returncode) == ("", 0)
    with empty_database.read() as connection:
        assert connection.execute(text("SELECT * FROM runs")).all() == [(1,)]
        assert len(connection.execute(select(schema_version)).all()) == 1


def test_a_step_that_fails_leaves_nothing_of_itself_or_of_those_before_it(database: Database, planted: Planted) -> None:
    planted.add("op.create_table('extra', sa.Column('number', sa.Integer))", oldest_code=1)
    step = planted.add("op.execute('DELETE FROM revisions')\nraise RuntimeError('fault')", oldest_code=1)
    with database.write() as connection:
        connection.execute(insert(revisions).values(name="keys", number=1))
    with pytest.raises(RuntimeError, match="fault"):
        upgrade(database, planted.folders)
    assert check(database).version == NOW < step
    assert "extra" not in tables_of(database)
    with database.read() as connection:
        assert connection.scalar(select(revisions.c.number)) == 1


def test_a_process_killed_within_a_step_leaves_the_old_schema_and_the_next_one_migrates(
    database: Database, planted: Planted, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    step = planted.add(
        f"""
        import pathlib, time
        op.create_table("extra", sa.Column("number", sa.Integer))
        if not pathlib.Path({str(begun)!r}).exists():
            pathlib.Path({str(begun)!r}).touch()
            time.sleep(60)
        """,
        oldest_code=1,
    )
    with planted.start(database) as process:
        while not begun.exists():
            time.sleep(0.01)
        process.kill()
    assert check(database).version == NOW
    assert upgrade(database, planted.folders).status == "behind"
    assert check(database, planted.folders).version == step
    assert "extra" in tables_of(database)
