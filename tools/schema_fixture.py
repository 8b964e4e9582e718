"""Writes tests/fixtures/schemas/<number>/: a database of that schema with two rows in each table, as SQL.

Run once for each new schema: python -m tools.schema_fixture [NUMBER]. Every later version must be able to take that
database over, and find in it what rows.json says.
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

from sqlalchemy import JSON, BigInteger, Boolean, Column, Integer, LargeBinary, Table, insert, inspect
from sqlalchemy.engine import URL
from sqlalchemy.types import TypeEngine
from tests.databases import PostgresServer, postgres_server

from waypost.store.address import sqlite_url
from waypost.store.copying import ABOUT_THE_SCHEMA, reflected
from waypost.store.database import Database
from waypost.store.migrate import newest, upgrade
from waypost.store.types import AnyText

SCHEMAS: Final = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "schemas"


def fill(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Write into each table a row with a value in every column and one with those that are needed, and tell them."""
    rows: dict[str, list[dict[str, Any]]] = {}
    with database.write() as connection:
        names = set(inspect(connection).get_table_names()) - ABOUT_THE_SCHEMA
        for table in reflected(connection, names):
            rows[table.name] = [dict(_values(table, number)) for number in range(2)]
            for row in rows[table.name]:
                connection.execute(insert(table).values(row))
    return rows


def _values(table: Table, number: int) -> Iterator[tuple[str, Any]]:
    for column in table.columns:
        if number == 0 or not column.nullable:
            referred = next(iter(column.foreign_keys), None)
            yield str(column.name), _value(referred.column if referred else column, number)


def _value(column: Column[Any], number: int) -> Any:
    kind = column.type
    if isinstance(kind, AnyText):
        return f'{number} {column.name} ä漢😀 \'n "q" \\; --\n%s'[: kind.length]
    if isinstance(kind, JSON):
        return [str(column.name), {"ä'": [1, 2.5, None, True]}]
    kinds: dict[type[TypeEngine[Any]], Any] = {
        LargeBinary: bytes([number, *range(31)]),
        Boolean: number == 0,
        BigInteger: 2**62 + number,
        Integer: 7 + number,
    }
    return next(value for known, value in kinds.items() if isinstance(kind, known))


def as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row in a form that JSON can hold."""
    return {name: f"hex:{value.hex()}" if isinstance(value, bytes) else value for name, value in row.items()}


def _sqlite_dump(url: URL) -> str:
    with closing(sqlite3.connect(str(url.database))) as connection:
        return "\n".join(connection.iterdump()) + "\n"


def _postgresql_dump(server: PostgresServer, url: URL) -> str:
    options = ("--inserts", "--no-owner", "--no-privileges")
    command = [server.program("pg_dump"), "-h", str(server.folder), "-p", "5432", "-U", "waypost", *options]
    done = subprocess.run([*command, str(url.database)], capture_output=True, check=True)
    # What remains runs on any version: no orders to psql, and no settings that an older server may not know.
    left_out = ("\\", "--", "SET ", "SELECT pg_catalog.set_config")
    lines = done.stdout.decode().splitlines()
    return "\n".join(line for line in lines if line and not line.startswith(left_out)) + "\n"


def write(number: int, server: PostgresServer) -> Path:
    """Write the folder of that schema."""
    folder = SCHEMAS / f"{number:04}"
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as place:
        for url in (sqlite_url(Path(place) / "waypost.db"), server.create()):
            database = Database(url)
            upgrade(database, to=number)
            rows = fill(database)
            database.close()
            dump = _sqlite_dump(url) if database.is_sqlite else _postgresql_dump(server, url)
            (folder / f"{url.get_backend_name()}.sql").write_text(dump, encoding="utf-8")
    told = {name: [as_json(row) for row in rows[name]] for name in sorted(rows)}
    (folder / "rows.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def main() -> None:
    """Write the folders of the schemas that the command line names, else that of the newest."""
    with postgres_server() as server:
        for number in [int(argument) for argument in sys.argv[1:]] or [newest()]:
            sys.stdout.write(f"Wrote {write(number, server)}\n")


if __name__ == "__main__":
    main()
