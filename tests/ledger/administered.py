"""Short ways to make projects and keys, for tests."""

from __future__ import annotations

from typing import Any

from waypost.ledger.audit import AuditFilter, AuditLine, changing, find_lines
from waypost.ledger.definitions import NewKey, NewProject
from waypost.ledger.key_changes import MadeKey, create_key
from waypost.ledger.projects import Project, create_project
from waypost.store.database import Database

ACTOR = "tests"


def project(database: Database, name: str = "shop", **fields: Any) -> Project:
    """A new project."""
    with changing(database, ACTOR) as change:
        return create_project(change, NewProject.model_validate({"name": name, **fields}))


def key(database: Database, owner: Project | None, name: str = "web", **fields: Any) -> MadeKey:
    """A new key; without an owner an admin key."""
    whose = {"is_admin": True} if owner is None else {"project_id": owner.id}
    with changing(database, ACTOR) as change:
        return create_key(change, NewKey.model_validate({"name": name, **whose, **fields}))


def lines(database: Database) -> list[AuditLine]:
    """The audit log, the oldest line first."""
    with database.read() as connection:
        return find_lines(connection, AuditFilter(), limit=1000)[::-1]
