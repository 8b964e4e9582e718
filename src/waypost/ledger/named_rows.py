"""What the queries on projects and on keys have in common: rows with an id that sorts by time, a name and tags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, Table, insert, update
from sqlalchemy.exc import IntegrityError

from waypost.errors import Conflict

_ID: Final = re.compile(r"[a-z]{1,20}_[0-9a-f]{32}")


def is_id(text: str) -> bool:
    """Could it be an id of ours? Only those are looked for: no database is handed what it may choke on."""
    return _ID.fullmatch(text) is not None


def add_row(connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
    """Insert it. Raises Conflict if another one has its name."""
    try:
        connection.execute(insert(table).values(row))
    except IntegrityError as error:
        raise name_taken(row["name"]) from error


def change_row(connection: Connection, table: Table, row_id: str, columns: Mapping[str, Any]) -> None:
    """Update it. Raises Conflict if another one has its name."""
    try:
        connection.execute(update(table).where(table.c.id == row_id).values(columns))
    except IntegrityError as error:
        raise name_taken(columns.get("name", "")) from error


def name_taken(name: str) -> Conflict:
    """Names lead to one thing only, also to one that is revoked: the request log shows them."""
    return Conflict(f'The name "{name}" is taken.', hint="Choose another name.", param="name")


def page(
    query: Select[Any],
    table: Table,
    *,
    name: str | None,
    tag: tuple[str, str] | None,
    also: Sequence[ColumnElement[bool]] = (),
    limit: int,
    after: str | None,
) -> Select[Any]:
    """The newest rows first. `name` is a part of the name, in small or large letters; `after` the last id before."""
    query = query.where(*also).order_by(table.c.id.desc()).limit(limit)
    if name is not None:
        query = query.where(table.c.name.icontains(name, autoescape=True))
    if tag is not None:
        query = query.where(table.c.tags[tag[0]].as_string() == tag[1])
    return query if after is None else query.where(table.c.id < after)
