"""Claims about databases of earlier versions: each schema there ever was is taken over, with all that is in it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import MetaData, Table, inspect, select
from tools.schema_fixture import SCHEMAS, as_json, fill

from waypost.store.database import Database
from waypost.store.migrate import check, newest, upgrade
from waypost.store.tables import metadata

EARLIER = sorted(path.name for path in SCHEMAS.iterdir())
CONTRACTED: frozenset[tuple[str, str]] = frozenset()
"""Columns that a step has taken away, as (table, column)."""


def load(database: Database, folder: Path) -> None:
    """Make an empty database what the folder says."""
    script = (folder / f"{database.url.get_backend_name()}.sql").read_text(encoding="utf-8")
    if database.is_sqlite:
        with closing(sqlite3.connect(str(database.url.database))) as connection:
            connection.executescript(script)
        return
    address = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as postgres:
        postgres.execute(script.encode())


def rows_of(database: Database, table: str, columns: list[str]) -> list[dict[str, Any]]:
    """All rows of a table as the database has them now."""
    with database.read() as connection:
        found = Table(table, MetaData(), autoload_with=connection)
        return [
            as_json(dict(row)) for row in connection.execute(select(*(found.c[name] for name in columns))).mappings()
        ]


@pytest.mark.parametrize("number", EARLIER)
def test_a_database_of_an_earlier_schema_is_taken_over_with_its_rows(empty_database: Database, number: str) -> None:
    load(empty_database, SCHEMAS / number)
    assert check(empty_database).version == int(number)
    upgrade(empty_database)
    assert check(empty_database).status == "current"
    expected = json.loads((SCHEMAS / number / "rows.json").read_text(encoding="utf-8"))
    assert len(expected) > 10
    for table, rows in expected.items():
        there = {column for row in rows for column in row if (table, column) not in CONTRACTED}
        if not there:
            continue
        wanted = [{column: row.get(column) for column in there} for row in rows]
        found = rows_of(empty_database, table, sorted(there))
        assert sorted(found, key=repr_of) == sorted(wanted, key=repr_of)


def repr_of(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True)


@pytest.mark.parametrize("number", EARLIER)
def test_the_database_that_is_kept_has_the_schema_that_it_says(
    empty_database: Database, shared_postgres: Any, tmp_path: Path, number: str
) -> None:
    """A step that was changed after its database was written would otherwise go untested."""
    load(empty_database, SCHEMAS / number)
    made = Database(shared_postgres.create()) if not empty_database.is_sqlite else _beside(empty_database, tmp_path)
    upgrade(made, to=int(number))
    with made.read() as fresh, empty_database.read() as kept:
        assert columns_of(fresh) == columns_of(kept), f"run: python -m tools.schema_fixture {number}"
    made.close()


def _beside(database: Database, folder: Path) -> Database:
    return Database(database.url.set(database=str(folder / "fresh.db")))


def columns_of(connection: Any) -> dict[str, list[tuple[str, str, bool]]]:
    inspector = inspect(connection)
    return {
        table: [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)]
        for table in inspector.get_table_names()
    }


def test_every_schema_is_kept() -> None:
    assert [f"{number:04}" for number in range(1, newest() + 1)] == EARLIER, "run: python -m tools.schema_fixture"


def test_the_rows_that_are_kept_have_a_value_in_every_column(empty_database: Database) -> None:
    upgrade(empty_database)
    rows = fill(empty_database)
    assert set(rows) == set(metadata.tables) - {"schema_version"}
    for name, (full, bare) in rows.items():
        assert set(full) == set(metadata.tables[name].columns.keys()) >= set(bare)
        assert None not in full.values()
