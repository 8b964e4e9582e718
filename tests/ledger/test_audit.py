"""The audit log's filters and pages, in both databases."""

from __future__ import annotations

from typing import Any

from tests.ledger.administered import project

from waypost.ledger.audit import AuditFilter, changing, find_lines
from waypost.ledger.definitions import ProjectChange
from waypost.ledger.projects import change_project
from waypost.store.database import Database


def found(database: Database, **wanted: Any) -> list[str]:
    with database.read() as connection:
        return [line.id for line in find_lines(connection, AuditFilter(**wanted))]


def test_lines_are_found_by_who_what_and_when_the_newest_first(database: Database) -> None:
    first, second = project(database, "first"), project(database, "second")
    with changing(database, "somebody else") as change:
        change_project(change, first.id, ProjectChange.model_validate({"name": "other"}))
    newest, middle, oldest = found(database)
    assert newest > middle > oldest
    assert found(database, actor="somebody else") == [newest]
    assert found(database, action="project.create") == [middle, oldest]
    assert found(database, object_id=second.id) == [middle]
    assert found(database, actor="' OR 1=1 --") == []
    with database.read() as connection:
        lines = find_lines(connection)
    assert found(database, since_ms=lines[0].at_ms + 1) == []
    assert found(database, until_ms=lines[2].at_ms) == []
    assert len(found(database, since_ms=lines[2].at_ms, until_ms=lines[0].at_ms + 1)) == 3


def test_pages_follow_each_other_without_a_gap(database: Database) -> None:
    for number in range(5):
        project(database, f"p{number}")
    seen: list[str] = []
    with database.read() as connection:
        while page := find_lines(connection, limit=2, after=seen[-1] if seen else None):
            seen += [line.id for line in page]
    assert seen == sorted(found(database), reverse=True)
    assert len(seen) == 5
