"""Projects: what keys, budgets and the request log belong to. Queries only; `erasure` removes one with all it has.

What changes something takes a `Change`, so that the audit log has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from waypost.errors import UnknownObject
from waypost.ledger.account import Limits
from waypost.ledger.audit import Change, differing
from waypost.ledger.books import new_entry_id
from waypost.ledger.definitions import NewProject, ProjectChange, limits_in, told_limits, told_time
from waypost.ledger.named_rows import add_row, change_row, is_id, name_taken, page
from waypost.store.tables import projects


@dataclass(frozen=True, slots=True)
class Project:
    """A project as it is stored."""

    id: str
    name: str
    limits: Limits
    tags: Mapping[str, str]
    store_bodies: bool
    created_at_ms: int
    updated_at_ms: int

    def told(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "id": self.id,
            "name": self.name,
            "store_bodies": self.store_bodies,
            **told_limits(self.limits, self.tags),
            "created_at": told_time(self.created_at_ms),
            "updated_at": told_time(self.updated_at_ms),
        }


def create_project(change: Change, new: NewProject) -> Project:
    """Make it. Raises Conflict if the name is taken."""
    _demand_free(change.connection, new.name)
    project_id = f"project_{new_entry_id()}"
    made = {"id": project_id, "created_at_ms": change.now_ms, "updated_at_ms": change.now_ms}
    add_row(change.connection, projects, {"store_bodies": False, "require_pricing": False, **new.columns(), **made})
    project = get_project(change.connection, project_id)
    change.note("project.create", "project", project_id, None, project.told())
    return project


def change_project(change: Change, project_id: str, wanted: ProjectChange) -> Project:
    """Change what `wanted` names. Raises UnknownObject, and Conflict if the name is taken."""
    before, columns = get_project(change.connection, project_id, to_change=True), wanted.columns()
    if columns.get("name", before.name) != before.name:
        _demand_free(change.connection, columns["name"])
    if columns:
        change_row(change.connection, projects, project_id, columns)
    was, is_now = differing(before.told(), get_project(change.connection, project_id).told())
    if is_now:
        # Later than before, whatever this machine's clock says: by that others see that it has changed.
        later_ms = max(change.now_ms, before.updated_at_ms + 1)
        change_row(change.connection, projects, project_id, {"updated_at_ms": later_ms})
        change.note("project.update", "project", project_id, was, is_now)
    return get_project(change.connection, project_id)


def get_project(connection: Connection, project_id: str, *, to_change: bool = False) -> Project:
    """The project; `to_change` keeps others from changing it until the transaction ends. Raises UnknownObject."""
    query = select(projects).where(projects.c.id == project_id)
    rows = connection.execute(query.with_for_update() if to_change else query) if is_id(project_id) else None
    row = None if rows is None else rows.mappings().one_or_none()
    if row is None:
        raise unknown_project()
    return _project(row)


def find_projects(
    connection: Connection,
    *,
    name: str | None = None,
    tag: tuple[str, str] | None = None,
    limit: int = 50,
    after: str | None = None,
) -> list[Project]:
    """The newest first; see `named_rows.page`."""
    query = page(select(projects), projects, name=name, tag=tag, limit=limit, after=after)
    return [_project(row) for row in connection.execute(query).mappings()]


def project_named(connection: Connection, name: str) -> Project | None:
    """The project of that name."""
    row = connection.execute(select(projects).where(projects.c.name == name)).mappings().one_or_none()
    return None if row is None else _project(row)


def unknown_project() -> UnknownObject:
    """What is raised where an id leads to none."""
    return UnknownObject(
        "There is no project of that id.", hint="GET /api/admin/projects lists them.", param="project_id"
    )


def _demand_free(connection: Connection, name: str) -> None:
    if project_named(connection, name) is not None:
        raise name_taken(name)


def _project(row: RowMapping) -> Project:
    return Project(
        row["id"],
        row["name"],
        limits_in(row),
        row["tags"] or {},
        row["store_bodies"],
        row["created_at_ms"],
        row["updated_at_ms"],
    )
