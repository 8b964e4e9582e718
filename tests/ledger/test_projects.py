"""Projects in both databases: made, changed, found; every change in the audit log."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select
from tests.ledger.administered import ACTOR, lines, project

from waypost.errors import Conflict, UnknownObject
from waypost.ledger.audit import changing
from waypost.ledger.definitions import NewProject, ProjectChange
from waypost.ledger.keys import revision
from waypost.ledger.projects import (
    change_project,
    create_project,
    find_projects,
    get_project,
    project_named,
)
from waypost.store.database import Database
from waypost.store.tables import projects

ALL: dict[str, Any] = {
    "tags": {"team": "søk"},
    "routes": ["default", "cheap-*"],
    "requests_per_minute": 10,
    "tokens_per_minute": 20,
    "concurrent_requests": 30,
    "daily_budget_usd": 1.5,
    "monthly_budget_usd": 30.25,
    "user_daily_budget_usd": 0.000001,
    "user_monthly_budget_usd": 999999999.99,
    "warn_at": [0.5, 0.9],
    "require_pricing": True,
    "store_bodies": True,
}


def numbered(database: Database) -> int:
    with database.read() as connection:
        return revision(connection)


def changed(database: Database, project_id: str, **fields: Any) -> dict[str, Any]:
    with changing(database, ACTOR) as change:
        return change_project(change, project_id, ProjectChange.model_validate(fields)).told()


def test_a_project_is_what_it_was_defined_as(database: Database) -> None:
    made = project(database, "shop", **ALL)
    with database.read() as connection:
        told = get_project(connection, made.id).told()
    assert {name: told[name] for name in ALL} == ALL
    assert told["name"] == "shop"
    assert told["created_at"] == told["updated_at"]


def test_a_project_without_limits_has_none(database: Database) -> None:
    told = project(database).told()
    limits = {name: told[name] for name in ALL}
    assert limits == dict.fromkeys(ALL) | {
        "tags": {},
        "warn_at": [0.8, 1.0],
        "require_pricing": False,
        "store_bodies": False,
    }


def test_a_change_changes_what_it_names_and_null_takes_a_limit_away(database: Database) -> None:
    made = project(database, **ALL)
    told = changed(database, made.id, requests_per_minute=None, daily_budget_usd=2, name="store")
    assert (told["requests_per_minute"], told["daily_budget_usd"], told["name"]) == (None, 2, "store")
    kept = set(ALL) - {"requests_per_minute", "daily_budget_usd"}
    assert {name: told[name] for name in kept} == {name: ALL[name] for name in kept}


def test_the_audit_log_says_what_differs_and_the_revision_rises(database: Database) -> None:
    assert numbered(database) == 0
    made = project(database, requests_per_minute=10)
    changed(database, made.id, requests_per_minute=20, require_pricing=False)
    assert numbered(database) == 2
    created, updated = lines(database)
    assert (created.actor, created.action, created.object_id, created.before) == (
        ACTOR,
        "project.create",
        made.id,
        None,
    )
    assert created.after == made.told()
    assert (updated.action, updated.before, updated.after) == (
        "project.update",
        {"requests_per_minute": 10},
        {"requests_per_minute": 20},
    )


def test_what_changes_nothing_is_no_change(database: Database) -> None:
    made = project(database, requests_per_minute=10)
    assert changed(database, made.id, requests_per_minute=10) == made.told()
    assert changed(database, made.id) == made.told()
    assert (numbered(database), len(lines(database))) == (1, 1)


def test_a_change_that_is_broken_off_leaves_nothing(database: Database) -> None:
    """Neither the project, nor its line in the audit log, nor a new revision."""
    with pytest.raises(RuntimeError), changing(database, ACTOR) as change:
        create_project(change, NewProject(name="shop"))
        raise RuntimeError
    with database.read() as connection:
        assert find_projects(connection) == []
    assert (numbered(database), lines(database)) == (0, [])


def test_no_two_projects_have_one_name(database: Database) -> None:
    project(database, "shop")
    other = project(database, "store")
    with pytest.raises(Conflict, match="shop"):
        project(database, "shop")
    with pytest.raises(Conflict, match="shop"):
        changed(database, other.id, name="shop")
    assert changed(database, other.id, name="store") == other.told()
    assert len(lines(database)) == 2


def test_of_many_who_make_one_name_at_once_one_succeeds(database: Database) -> None:
    outcomes: list[str] = []
    start = threading.Barrier(8)

    def make() -> None:
        start.wait()
        try:
            project(database, "shop")
            outcomes.append("made")
        except Conflict:
            outcomes.append("taken")

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made", *["taken"] * 7]
    assert (numbered(database), len(lines(database))) == (1, 1)


def test_changes_at_once_are_each_counted_and_written_down(database: Database) -> None:
    """None overwrites another's field: each changes a field of its own of one project."""
    made = project(database)
    fields: list[dict[str, Any]] = [{name: ALL[name]} for name in ALL]
    threads = [threading.Thread(target=changed, args=(database, made.id), kwargs=one) for one in fields]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        told = get_project(connection, made.id).told()
    assert {name: told[name] for name in ALL} == ALL
    assert (numbered(database), len(lines(database))) == (1 + len(ALL), 1 + len(ALL))


@pytest.mark.parametrize(
    "project_id", ["", "x", "project_" + "0" * 32, "project_\x00", "'; DROP TABLE projects; --", "\ud800"]
)
def test_an_id_that_leads_to_nothing_is_unknown(database: Database, project_id: str) -> None:
    with database.read() as connection, pytest.raises(UnknownObject):
        get_project(connection, project_id)
    with pytest.raises(UnknownObject):
        changed(database, project_id, name="other")


def test_projects_are_found_in_pages_the_newest_first(database: Database) -> None:
    ids = [project(database, f"p{number}").id for number in range(7)]
    found: list[str] = []
    with database.read() as connection:
        while page := find_projects(connection, limit=3, after=found[-1] if found else None):
            found += [each.id for each in page]
    assert sorted(found) == sorted(ids)
    assert found == sorted(ids, reverse=True)


def test_projects_are_found_by_a_part_of_the_name_and_by_a_tag(database: Database) -> None:
    for name, tags in (("Shop 100%", {"team": "a"}), ("workshop", {"team": "b"}), ("other_one", None)):
        project(database, name, tags=tags)

    def found(**wanted: Any) -> set[str]:
        with database.read() as connection:
            return {each.name for each in find_projects(connection, **wanted)}

    assert found(name="SHOP") == {"Shop 100%", "workshop"}
    assert found(name="0%") == {"Shop 100%"}
    assert found(name="r_o") == {"other_one"}
    assert found(name="' OR 1=1 --") == set()
    assert found(tag=("team", "b")) == {"workshop"}
    assert found(tag=("team", "' OR 1=1 --")) == set()
    assert found(tag=("absent", "b")) == set()


@pytest.mark.parametrize("text", ["'; DROP TABLE projects; --", '"; DELETE FROM projects; --', "%", "${jndi:x}", "{0}"])
def test_no_text_of_a_name_is_anything_but_a_name(database: Database, text: str) -> None:
    made = project(database, text, tags={"t": text}, routes=[text])
    with database.read() as connection:
        assert project_named(connection, text) == made
        assert [row.name for row in connection.execute(select(projects))] == [text]
    assert (made.tags, made.limits.routes) == ({"t": text}, (text,))
