"""Rows from one database to another of the same schema, whatever kind each is. Both are asked what tables they have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import JSON, Connection, MetaData, Row, String, Table, event, func, select
from sqlalchemy.engine.interfaces import ReflectedColumn

from waypost.store.tables import schema_version
from waypost.store.types import AnyText, Document

Progress: TypeAlias = Callable[[int, int], None]
"""How much is done, of how much."""

ABOUT_THE_SCHEMA: Final = frozenset({schema_version.name, "alembic_version"})
"""Tables that each database has for itself."""
BATCH_ROWS: Final = 2000


def copy_rows(source: Connection, target: Connection, names: Iterable[str], progress: Progress) -> int:
    """Copy every row of these tables, and say how many there were. `source` must stand still meanwhile."""
    wanted = set(names) - ABOUT_THE_SCHEMA
    there, here = reflected(source, wanted), {table.name: table for table in reflected(target, wanted)}
    total = sum(count(source, table) for table in there)
    done = 0
    progress(0, total)
    for original in there:
        columns = original.columns.keys()
        for batch in source.execute(select(original).execution_options(yield_per=BATCH_ROWS)).partitions():
            _write(target, here[original.name], columns, batch)
            done += len(batch)
            progress(done, total)
    return done


def _write(target: Connection, table: Table, names: Sequence[str], rows: Sequence[Row[Any]]) -> None:
    """Past SQLAlchemy, but for the values, and with PostgreSQL's own way for many rows: several times as fast."""
    quote = target.dialect.identifier_preparer.quote
    types = [table.columns[name].type.dialect_impl(target.dialect) for name in names]
    processors = [kind.bind_processor(target.dialect) for kind in types]
    values = [
        tuple([process(value) if process else value for process, value in zip(processors, row, strict=True)])
        for row in rows
    ]
    into = f"{quote(table.name)} ({', '.join(quote(name) for name in names)})"
    if target.dialect.name == "sqlite":
        # The names come from the code's own tables, and are quoted.
        target.exec_driver_sql(f"INSERT INTO {into} VALUES ({', '.join('?' * len(names))})", values)  # noqa: S608  # nosec B608
        return
    driver: Any = target.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY {into} FROM STDIN".encode()) as copy:
        for row in values:
            copy.write_row(row)


def count(connection: Connection, table: Table) -> int:
    """How many rows a table has."""
    return connection.scalar(select(func.count()).select_from(table)) or 0


def reflected(connection: Connection, names: Iterable[str]) -> list[Table]:
    """The tables of these names as the database describes them, with types that hold the same in each kind.

    A table comes after those that its rows refer to.
    """
    metadata = MetaData()
    event.listen(metadata, "column_reflect", _same_type)
    metadata.reflect(connection, only=sorted(names))
    return metadata.sorted_tables


def _same_type(_inspector: Any, _table: Table, column: ReflectedColumn) -> None:
    kind = column["type"]
    if isinstance(kind, JSON):
        column["type"] = Document
    elif isinstance(kind, String):
        column["type"] = AnyText(kind.length)
