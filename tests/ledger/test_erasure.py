"""A project that is deleted leaves nothing of its own, in any table there is or will be; others lose nothing."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import JSON, Boolean, Column, Integer, LargeBinary, Table, insert, select
from tests.ledger.administered import ACTOR, key, lines, project

from waypost.errors import UnknownObject
from waypost.ledger.books import now_ms
from waypost.ledger.erasure import ERASED, LEFTOVER_MS, delete_project, erase_leftovers
from waypost.ledger.key_reading import load_accounts
from waypost.ledger.keys import revision
from waypost.ledger.projects import Project, find_projects
from waypost.store.database import Database
from waypost.store.tables import audit, daily_totals, key_secrets, metadata, requests, spend

WHOSE = ("project_id", "key_id", "subject", "end_user")
"""Columns that say whose a row is."""
ADMINISTERED = ("keys", "key_secrets")
"""Made as an administrator makes them."""
SUMMED = ("spend", "grants")
"""One row a subject and time."""
FILLED = sorted(
    (table for table in metadata.sorted_tables if any(name in table.columns for name in WHOSE)),
    key=lambda table: table is not requests,
)
"""What others refer to comes first."""
numbers = itertools.count(1)


def test_every_table_that_says_whose_its_rows_are_is_erased() -> None:
    assert {table.name for table in FILLED} == {table.name for table in (*ERASED, key_secrets)}


def value_of(column: Column[Any], number: int) -> Any:
    if isinstance(column.type, Boolean):
        return True
    if isinstance(column.type, Integer):
        return number
    if isinstance(column.type, LargeBinary):
        return number.to_bytes(32, "big")
    if isinstance(column.type, JSON):
        return {"of": f"private-{number}"}
    return f"{column.name[:3]}{number}"


def row_of(table: Table, own: dict[str, str], **fields: Any) -> dict[str, Any]:
    """A row with something in every column, which is its owner's where a column says whose it is."""
    number = next(numbers)
    row = {column.name: value_of(column, number) for column in table.columns}
    return {**row, **{name: text for name, text in own.items() if name in row}, **fields}


def subjects(own: dict[str, str]) -> list[str]:
    return [f"project:{own['project_id']}", f"key:{own['key_id']}", f"user:{own['project_id']}:{own['end_user']}"]


def rows_of(table: Table, own: dict[str, str], there: Mapping[Table, str]) -> Iterator[dict[str, Any]]:
    """Rows of its owner's; `there` are ids that those of other tables may refer to."""
    referred = {key.parent.name: there[key.column.table] for key in table.foreign_keys}
    if "entry_id" in table.columns and "project_id" in table.columns:
        # Attempts and bodies hang on a request; some attempts hang on none.
        yield row_of(table, own, entry_id=there[requests])
    if "subject" in table.columns:
        yield from (row_of(table, own, subject=subject) for subject in subjects(own))
    else:
        yield from (row_of(table, own, **referred) for _ in range(3))


def fill(database: Database, own: dict[str, str], *, without: Collection[str] = ADMINISTERED) -> None:
    """Something of the owner's in every table but those."""
    there: dict[Table, str] = {}
    with database.write() as connection:
        for table in FILLED:
            if table.name not in without:
                rows = list(rows_of(table, own, there))
                connection.execute(insert(table), rows)
                there[table] = rows[0].get("id", "")


def dumped(database: Database, *, without: tuple[Table, ...] = (audit,)) -> dict[str, list[str]]:
    """Every row of every table as text."""
    with database.read() as connection:
        return {
            table.name: sorted(repr(tuple(row)) for row in connection.execute(select(table)))
            for table in metadata.sorted_tables
            if table not in without
        }


def owned(database: Database, name: str) -> tuple[Project, dict[str, str], str]:
    """A project with a key, and something of its in every table."""
    owner = project(database, name, tags={"own": f"tag-of-{name}"})
    made = key(database, owner, f"key-of-{name}")
    own = {"project_id": owner.id, "key_id": made.key.id, "end_user": f"user-of-{name}"}
    fill(database, own)
    return owner, own, made.text


def test_nothing_of_a_deleted_project_is_left_but_sums_that_are_nobody_s(database: Database) -> None:
    gone, own, text = owned(database, "gone")
    before = dumped(database)
    assert all(
        any(own["project_id"] in row for row in before[table.name]) for table in FILLED if table is not key_secrets
    )
    delete_project(database, ACTOR, gone.id)
    left = dumped(database)
    everything = repr(left)
    for mark in (*own.values(), text, "key-of-gone", "tag-of-gone", gone.name):
        assert mark not in everything, mark
    assert {name for name, rows in left.items() if rows} == {"daily_totals", "revisions", "schema_version"}
    with database.read() as connection:
        assert set(connection.execute(select(daily_totals.c.project_id, daily_totals.c.key_id))) == {("", "")}


def test_others_lose_nothing(database: Database) -> None:
    _, own, _ = owned(database, "kept")
    before = dumped(database, without=(audit, metadata.tables["revisions"]))
    gone, _, _ = owned(database, "gone")
    delete_project(database, ACTOR, gone.id)
    after = dumped(database, without=(audit, metadata.tables["revisions"]))
    assert set(before.pop("daily_totals")) < set(after.pop("daily_totals"))
    assert after == before
    assert own["project_id"] in repr(after)


def test_sums_are_added_up_and_none_is_lost(database: Database) -> None:
    """Also with sums that were nobody's before, and of two projects that used the same model on the same day."""
    deleted = [project(database, name) for name in ("first", "second")]
    shared = {"day": "2026-11-26", "route": "r", "provider": "p", "model": "m"}
    whose = [("", ""), *((each.id, f"key_{number}") for each in deleted for number in range(2))]
    rows = [row_of(daily_totals, {}, **shared, project_id=project_id, key_id=key_id) for project_id, key_id in whose]
    with database.write() as connection:
        connection.execute(insert(daily_totals), rows)
    for each in deleted:
        delete_project(database, ACTOR, each.id)
    sums = [column for column in daily_totals.columns if not column.primary_key]
    with database.read() as connection:
        (left,) = connection.execute(select(daily_totals)).mappings().all()
    assert {column.name: left[column.name] for column in sums} == {
        column.name: sum(row[column.name] for row in rows) for column in sums
    }
    assert (left["project_id"], left["key_id"]) == ("", "")


def test_the_keys_of_a_deleted_project_end_in_the_transaction_that_is_written_down(database: Database) -> None:
    gone, _, _ = owned(database, "gone")
    with database.read() as connection:
        number = revision(connection)
    delete_project(database, ACTOR, gone.id)
    with database.read() as connection:
        assert load_accounts(connection, now_ms()) == {}
        assert revision(connection) == number + 1
        assert find_projects(connection) == []
    last = lines(database)[-1]
    assert (last.action, last.object_id, last.before, last.after) == ("project.delete", gone.id, gone.told(), None)


def test_a_project_is_deleted_once(database: Database) -> None:
    gone = project(database)
    delete_project(database, ACTOR, gone.id)
    for project_id in (gone.id, "project_" + "0" * 32, "nonsense"):
        with pytest.raises(UnknownObject):
            delete_project(database, ACTOR, project_id)
    assert project(database, gone.name).id != gone.id


def test_more_rows_than_one_transaction_takes_go_too(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost.ledger.erasure.BATCH", 2)
    gone, own, _ = owned(database, "gone")
    for _ in range(3):
        fill(database, own, without=(*ADMINISTERED, *SUMMED))
    delete_project(database, ACTOR, gone.id)
    assert own["project_id"] not in repr(dumped(database))


def test_what_came_in_after_the_end_goes_with_the_leftovers(database: Database) -> None:
    """As the journal of a process that was away brings it, or a process that died while it deleted left it."""
    _, kept, _ = owned(database, "kept")
    gone, own, _ = owned(database, "gone")
    delete_project(database, ACTOR, gone.id)
    erase_leftovers(database)
    before = dumped(database)
    fill(database, own, without=(*ADMINISTERED, *SUMMED))
    with database.write() as connection:
        connection.execute(insert(spend), row_of(spend, own, subject=subjects(own)[2]))
    assert own["end_user"] in repr(dumped(database))
    erase_leftovers(database, now_ms() + LEFTOVER_MS + 60_000)
    assert own["end_user"] in repr(dumped(database))
    erase_leftovers(database)
    after = dumped(database)
    assert own["project_id"] not in repr(after)
    assert own["end_user"] not in repr(after)
    del before["daily_totals"], after["daily_totals"]
    assert after == before
    assert kept["project_id"] in repr(after)
