"""The request log: what was asked, by whom, how it ended and what it cost, page by page or one request whole.

It is read here, in threads; what it holds is written by the journal's drainer. The invariant: a page is answered in a
tenth of a second on a log of a million requests, whatever it is filtered by, if need be with less than was asked for.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Connection, Table, select, text

from waypost.ledger.definitions import UnusableField
from waypost.ledger.log_filters import Filters
from waypost.ledger.log_search import BUDGET_S, Found, Order, Place, Row, Search
from waypost.store.database import Database
from waypost.store.tables import attempts, bodies, keys, projects, requests

MOST_ROWS: Final = 1_000
"""On one page."""
COLUMNS: Final[Sequence[Column[Any]]] = tuple(requests.c)
"""What a request is told as: a row's fields, to which the names `project` and `key` are added."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some requests in order. `cursor` leads to those after them; None: these were the last.

    `searched_to_ms` is set where the time was over before the page was full: all up to there has been looked at.
    """

    rows: list[Row]
    cursor: str | None
    searched_to_ms: int | None = None


@dataclass(frozen=True, slots=True)
class WholeRequest:
    """One request with its calls to providers in their order, and what was asked and answered, if that is stored."""

    row: Row
    attempts: list[Row]
    body: Row | None


def page(
    database: Database,
    filters: Filters,
    *,
    limit: int = 50,
    cursor: str | None = None,
    newest_first: bool = True,
    budget_s: float | None = BUDGET_S,
) -> Page:
    """At most `limit` requests after the cursor. `budget_s` None: looks until the page is full, however long it takes.

    Raises UnusableField for a cursor that is none of this order's, and DatabaseError.
    """
    order, after = Order(newest_first), None if cursor is None else _place(cursor, newest_first=newest_first)
    with database.read() as connection:
        _plan_each_time(connection, database)
        found = Search(connection, filters, order, select(*COLUMNS)).run(limit, after, budget_s)
        add_names(connection, found.rows)
    searched_to_ms = found.place.started_at_ms if found.place is not None and not found.is_full else None
    return Page(found.rows, _cursor(found, newest_first=newest_first), searched_to_ms)


def every(database: Database, filters: Filters, *, newest_first: bool = False, rows: int = MOST_ROWS) -> Iterator[Page]:
    """All pages, each of them a transaction of its own: nothing is held between them, however long the reader takes."""
    cursor: str | None = None
    while True:
        found = page(database, filters, limit=rows, cursor=cursor, newest_first=newest_first, budget_s=None)
        yield found
        cursor = found.cursor
        if cursor is None:
            return


def count(database: Database, filters: Filters) -> int:
    """How many requests there are. On a large log this may take seconds."""
    with database.read() as connection:
        _plan_each_time(connection, database)
        return Search(connection, filters, Order(), select(*COLUMNS)).count()


def find(database: Database, an_id: str, *, with_body: bool = False) -> WholeRequest | None:
    """The request with this id in the log or, the newest one, with this `request_id`. None: there is none."""
    if not an_id.isprintable():
        return None
    with database.read() as connection:
        by_id = select(*COLUMNS).where(requests.c.id == an_id)
        by_name = select(*COLUMNS).where(requests.c.request_id == an_id).order_by(requests.c.started_at_ms.desc())
        row = connection.execute(by_id).mappings().first() or connection.execute(by_name).mappings().first()
        if row is None:
            return None
        told = dict(row)
        calls = select(attempts).where(attempts.c.entry_id == row["id"]).order_by(attempts.c.number, attempts.c.id)
        made = [dict(each) for each in connection.execute(calls).mappings()]
        stored = select(bodies).where(bodies.c.entry_id == row["id"])
        body = connection.execute(stored).mappings().first() if with_body else None
        add_names(connection, [told])
    return WholeRequest(told, made, None if body is None else dict(body))


def add_names(connection: Connection, rows: Sequence[Row]) -> None:
    """Add `project` and `key`, what people call them; None where they are in the settings or gone."""
    of_projects = names_of(connection, projects, {row["project_id"] for row in rows})
    of_keys = names_of(connection, keys, {row["key_id"] for row in rows})
    for row in rows:
        row["project"], row["key"] = of_projects.get(row["project_id"]), of_keys.get(row["key_id"])


def names_of(connection: Connection, table: Table, ids: Iterable[str | None]) -> dict[str, str]:
    """The names of projects or keys by their ids."""
    known, found = [each for each in ids if each is not None], {}
    # Databases have a limit on the values of one statement.
    for at in range(0, len(known), MOST_ROWS):
        query = select(table.c.id, table.c.name).where(table.c.id.in_(known[at : at + MOST_ROWS]))
        found.update({row.id: row.name for row in connection.execute(query)})
    return found


def _plan_each_time(connection: Connection, database: Database) -> None:
    """PostgreSQL would else plan once for any value, and walk through a million rows for one that is rare."""
    if not database.is_sqlite:
        connection.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))


def _cursor(found: Found, *, newest_first: bool) -> str | None:
    if found.place is None:
        return None
    plain = f"{'n' if newest_first else 'o'}.{found.place.started_at_ms}.{found.place.id}"
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def _place(cursor: str, *, newest_first: bool) -> Place:
    try:
        plain = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
        order, at_ms, row_id = plain.split(".", 2)
        place = Place(int(at_ms), row_id)
    except (binascii.Error, UnicodeError, ValueError):
        place, order = Place(-1), ""
    if place.started_at_ms < 0 or place.started_at_ms > 2**53 or not place.id.isprintable() or order not in ("n", "o"):
        raise UnusableField("This is no place in the log.", hint="Begin without it.", param="after")
    if (order == "n") is not newest_first:
        raise UnusableField(
            "That place was given for the other order.", hint="Keep the order from page to page.", param="after"
        )
    return place
