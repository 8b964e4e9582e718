"""Writes tests/fixtures/schemas/<number>/: a database of today's schema with a row or two in each table, as SQL.

Run once for each new schema: python -m tools.schema_fixture. Every later version must be able to take that database
over, and find in it what rows.json says.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, Table, insert
from sqlalchemy.engine import URL
from tests.databases import PostgresServer, postgres_server

from waypost.store.address import sqlite_url
from waypost.store.copying import ABOUT_THE_SCHEMA
from waypost.store.database import Database
from waypost.store.migrate import newest, upgrade
from waypost.store.tables import metadata
from waypost.store.types import AnyText

SCHEMAS: Final = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "schemas"


def sample_rows() -> dict[str, list[dict[str, Any]]]:
    """For each table a row with a value in every column, and one with those only that are needed."""
    return {
        table.name: [dict(_values(table, number, bare=bool(number))) for number in range(2)]
        for table in metadata.sorted_tables
        if table.name not in ABOUT_THE_SCHEMA
    }


def _values(table: Table, number: int, *, bare: bool) -> Iterator[tuple[str, Any]]:
    for column in table.columns:
        if not (bare and column.nullable):
            yield column.name, _value(column, number)


def _value(column: Column[Any], number: int) -> Any:
    kind = column.type
    if isinstance(kind, AnyText):
        return f'{number} {column.name} ä漢😀 \'n "q" \\; --\n%s'[: kind.length]
    if isinstance(kind, LargeBinary):
        return bytes([number, *range(31)])
    if isinstance(kind, Boolean):
        return number == 0
    if isinstance(kind, BigInteger):
        return 2**62 + number
    return [column.name, {"ä'": [1, 2.5, None, True]}] if "JSON" in str(kind) else 7 + number


def fill(database: Database) -> None:
    """Write the sample rows into an empty database."""
    with database.write() as connection:
        for name, rows in sample_rows().items():
            for row in rows:
                connection.execute(insert(metadata.tables[name]).values(row))


def as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row in a form that JSON can hold."""
    return {name: f"hex:{value.hex()}" if isinstance(value, bytes) else value for name, value in row.items()}


def _sqlite_dump(url: URL) -> str:
    with closing(sqlite3.connect(str(url.database))) as connection:
        return "\n".join(connection.iterdump()) + "\n"


def _postgresql_dump(server: PostgresServer, url: URL) -> str:
    options = ("--inserts", "--no-owner", "--no-privileges")
    command = [server.program("pg_dump"), "-h", str(server.folder), "-p", "5432", "-U", "waypost", *options]
    done = subprocess.run([*command, str(url.database)], capture_output=True, check=True)  # noqa: S603 - our own words
    # What remains runs on any version: no orders to psql, and no settings that an older server may not know.
    left_out = ("\\", "--", "SET ", "SELECT pg_catalog.set_config")
    lines = done.stdout.decode().splitlines()
    return "\n".join(line for line in lines if line and not line.startswith(left_out)) + "\n"


def main() -> None:
    """Write the folder of today's schema."""
    folder = SCHEMAS / f"{newest():04}"
    folder.mkdir(parents=True, exist_ok=True)
    with postgres_server() as server, tempfile.TemporaryDirectory() as place:
        for url in (sqlite_url(Path(place) / "waypost.db"), server.create()):
            database = Database(url)
            upgrade(database)
            fill(database)
            database.close()
            dump = _sqlite_dump(url) if database.is_sqlite else _postgresql_dump(server, url)
            (folder / f"{url.get_backend_name()}.sql").write_text(dump, encoding="utf-8")
    rows = {name: [as_json(row) for row in rows] for name, rows in sample_rows().items()}
    (folder / "rows.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(f"Wrote {folder}\n")


if __name__ == "__main__":
    main()
