"""Keys as they are stored, to be shown. Reads only; as accounts `key_reading` has them.

The invariant: nothing here holds a key. The database has its SHA-256, and a few characters of it to know it again by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, or_, select

from waypost.errors import UnknownObject
from waypost.ledger.account import Limits
from waypost.ledger.audit import REVISION
from waypost.ledger.definitions import limits_in, told_limits, told_time
from waypost.ledger.named_rows import is_id, page
from waypost.store.tables import key_secrets, keys, revisions

NO_PROJECT: Final = ""
"""The project of admin keys."""
State: TypeAlias = Literal["active", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class Secret:
    """What is shown of one secret of a key. `valid_until_ms` None: as long as the key."""

    shown: str
    created_at_ms: int
    valid_until_ms: int | None

    def told(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "shown": self.shown,
            "created_at": told_time(self.created_at_ms),
            "valid_until": told_time(self.valid_until_ms),
        }


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is stored. `project_id` None: an admin key's; `secrets`: the newest first, none if it is revoked."""

    id: str
    project_id: str | None
    name: str
    is_admin: bool
    limits: Limits
    tags: Mapping[str, str]
    expires_at_ms: int | None
    revoked_at_ms: int | None
    created_at_ms: int
    updated_at_ms: int
    secrets: tuple[Secret, ...]

    def state(self, now_ms: int) -> State:
        """Is it good?"""
        if self.revoked_at_ms is not None:
            return "revoked"
        return "expired" if self.expires_at_ms is not None and self.expires_at_ms <= now_ms else "active"

    def told(self) -> dict[str, Any]:
        """As JSON data: all but its state, which changes by itself."""
        return {
            "id": self.id,
            "project_id": self.project_id,
            "name": self.name,
            "is_admin": self.is_admin,
            **told_limits(self.limits, self.tags),
            "expires_at": told_time(self.expires_at_ms),
            "revoked_at": told_time(self.revoked_at_ms),
            "created_at": told_time(self.created_at_ms),
            "updated_at": told_time(self.updated_at_ms),
            "secrets": [secret.told() for secret in self.secrets],
        }


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """Which keys; None: any. `name` is a part of it, in small or large letters; `tag` a name and its value."""

    project_id: str | None = None
    state: State | None = None
    is_admin: bool | None = None
    name: str | None = None
    tag: tuple[str, str] | None = None

    def conditions(self, now_ms: int) -> Iterable[ColumnElement[bool]]:
        """Its part of a query."""
        if self.project_id is not None:
            yield keys.c.project_id == self.project_id
        if self.is_admin is not None:
            yield keys.c.is_admin == self.is_admin
        if self.state is not None:
            yield _in_state(self.state, now_ms)


def get_key(connection: Connection, key_id: str, *, to_change: bool = False) -> Key:
    """The key; `to_change` keeps others from changing it until the transaction ends. Raises UnknownObject."""
    query = select(keys).where(keys.c.id == key_id)
    rows = connection.execute(query.with_for_update() if to_change else query) if is_id(key_id) else None
    row = None if rows is None else rows.mappings().one_or_none()
    if row is None:
        raise UnknownObject("There is no key of that id.", hint="GET /api/admin/keys lists them.", param="key_id")
    return _keys(connection, [row])[0]


def find_keys(
    connection: Connection,
    wanted: KeyFilter = KeyFilter(),
    *,
    now_ms: int,
    limit: int = 50,
    after: str | None = None,
) -> list[Key]:
    """The newest first; see `named_rows.page`."""
    also = tuple(wanted.conditions(now_ms))
    query = page(select(keys), keys, name=wanted.name, tag=wanted.tag, also=also, limit=limit, after=after)
    return _keys(connection, connection.execute(query).mappings().all())


def keys_named(connection: Connection, name: str, project_id: str | None = None) -> list[Key]:
    """The keys of that name, in one project or in any."""
    query = select(keys).where(keys.c.name == name).order_by(keys.c.id)
    if project_id is not None:
        query = query.where(keys.c.project_id == project_id)
    return _keys(connection, connection.execute(query).mappings().all())


def is_active(now_ms: int) -> ColumnElement[bool]:
    """The condition that a key is neither revoked nor expired."""
    return _in_state("active", now_ms)


def _in_state(state: State, now_ms: int) -> ColumnElement[bool]:
    if state == "revoked":
        return keys.c.revoked_at_ms.is_not(None)
    if state == "expired":
        return and_(keys.c.revoked_at_ms.is_(None), keys.c.expires_at_ms <= now_ms)
    return and_(keys.c.revoked_at_ms.is_(None), or_(keys.c.expires_at_ms.is_(None), keys.c.expires_at_ms > now_ms))


def _keys(connection: Connection, rows: Iterable[RowMapping]) -> list[Key]:
    ids = [row["id"] for row in rows]
    of = key_secrets.c
    query = select(of.key_id, of.shown, of.created_at_ms, of.valid_until_ms).where(of.key_id.in_(ids))
    query = query.order_by(of.created_at_ms.desc(), of.valid_until_ms.desc().nulls_first())
    secrets: dict[str, list[Secret]] = {}
    for key_id, *secret in connection.execute(query):
        secrets.setdefault(key_id, []).append(Secret(*secret))
    return [
        Key(
            row["id"],
            row["project_id"] or None,
            row["name"],
            row["is_admin"],
            limits_in(row),
            row["tags"] or {},
            row["expires_at_ms"],
            row["revoked_at_ms"],
            row["created_at_ms"],
            row["updated_at_ms"],
            tuple(secrets.get(row["id"], ())),
        )
        for row in rows
    ]


def revision(connection: Connection) -> int:
    """Rises with each change of projects and keys. To be read before them: what is read then is at least as new."""
    number = connection.execute(select(revisions.c.number).where(revisions.c.name == REVISION)).scalar()
    return number or 0


def has_keys(connection: Connection) -> bool:
    """Has any key been made, be it revoked by now?"""
    return connection.execute(select(keys.c.id).limit(1)).first() is not None
