"""Making, changing, rotating and revoking keys, each in a transaction that the audit log is part of.

The invariant: a key itself is in what `create_key` and `rotate_key` return, and nowhere else. A key has one secret, and
more only while rotated ones are still good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, or_, select, update

from waypost.errors import Conflict
from waypost.ledger.audit import Change, differing
from waypost.ledger.books import new_entry_id
from waypost.ledger.definitions import KeyChange, NewKey, UnusableField
from waypost.ledger.key_text import digest_of, new_key_text, shown_of
from waypost.ledger.keys import NO_PROJECT, Key, get_key
from waypost.ledger.named_rows import add_row, change_row, is_id, name_taken
from waypost.ledger.projects import unknown_project
from waypost.store.tables import key_secrets, keys, projects

GRACE_S: Final = 24 * 3600
"""How long a rotated key is still good, unless another time is asked for."""
LONGEST_GRACE_S: Final = 90 * GRACE_S


@dataclass(frozen=True, slots=True)
class MadeKey:
    """A key, and the text that its holder shows: this is the only time that anybody sees it."""

    key: Key
    text: str = field(repr=False)


def create_key(change: Change, new: NewKey) -> MadeKey:
    """Make it. Raises UnknownObject for its project, Conflict if the name is taken, UnusableField."""
    connection = change.connection
    project_id = _project_of(connection, new)
    columns = new.columns()
    _demand_future(columns, change.now_ms)
    _demand_free(connection, project_id, new.name)
    key_id = f"key_{new_entry_id()}"
    made = {
        "id": key_id,
        "project_id": project_id,
        "created_at_ms": change.now_ms,
        "updated_at_ms": change.now_ms,
    }
    add_row(connection, keys, {"is_admin": False, "require_pricing": False, **columns, **made})
    text = _add_secret(change, key_id, is_admin=new.is_admin)
    key = get_key(connection, key_id)
    change.note("key.create", "key", key_id, None, key.told())
    return MadeKey(key, text)


def change_key(change: Change, key_id: str, wanted: KeyChange) -> Key:
    """Change what `wanted` names. Raises UnknownObject; Conflict if it is revoked or the name taken; UnusableField."""
    connection, columns = change.connection, wanted.columns()
    before = _key_to_change(connection, key_id)
    _demand_future(columns, change.now_ms)
    if columns.get("name", before.name) != before.name:
        _demand_free(connection, before.project_id or NO_PROJECT, columns["name"])
    if columns:
        change_row(connection, keys, key_id, columns)
    return _noted(change, "key.update", before)


def rotate_key(change: Change, key_id: str, grace_s: float = GRACE_S) -> MadeKey:
    """Give it another secret; those it has are good for `grace_s` more. Raises UnknownObject, Conflict if revoked."""
    connection = change.connection
    before = _key_to_change(connection, key_id)
    ends_at_ms = change.now_ms + round(grace_s * 1000)
    own = key_secrets.c.key_id == key_id
    sooner = key_secrets.c.valid_until_ms <= ends_at_ms
    connection.execute(
        update(key_secrets)
        .where(own, or_(key_secrets.c.valid_until_ms.is_(None), ~sooner))
        .values(valid_until_ms=ends_at_ms)
    )
    connection.execute(delete(key_secrets).where(own, key_secrets.c.valid_until_ms <= change.now_ms))
    text = _add_secret(change, key_id, is_admin=before.is_admin)
    return MadeKey(_noted(change, "key.rotate", before), text)


def revoke_key(change: Change, key_id: str) -> Key:
    """No secret of it is good any more, for ever; its name stays in the log. Raises UnknownObject."""
    before = get_key(change.connection, key_id, to_change=True)
    if before.revoked_at_ms is not None:
        return before
    change.connection.execute(delete(key_secrets).where(key_secrets.c.key_id == key_id))
    change_row(change.connection, keys, key_id, {"revoked_at_ms": change.now_ms})
    return _noted(change, "key.revoke", before)


def _project_of(connection: Connection, new: NewKey) -> str:
    if new.is_admin and new.project_id is not None:
        raise UnusableField("An admin key belongs to no project.", hint="Leave project_id out.", param="project_id")
    if new.is_admin:
        return NO_PROJECT
    if new.project_id is None:
        raise UnusableField("project_id is missing.", hint="Name the project whose key it is.", param="project_id")
    # Nobody may remove the project while a key of it is made.
    query = select(projects.c.id).where(projects.c.id == new.project_id).with_for_update(read=True)
    if not is_id(new.project_id) or connection.execute(query).one_or_none() is None:
        raise unknown_project()
    return new.project_id


def _add_secret(change: Change, key_id: str, *, is_admin: bool) -> str:
    text = new_key_text(is_admin=is_admin)
    change.connection.execute(
        insert(key_secrets).values(
            sha256=digest_of(text.encode()), key_id=key_id, shown=shown_of(text), created_at_ms=change.now_ms
        )
    )
    return text


def _key_to_change(connection: Connection, key_id: str) -> Key:
    key = get_key(connection, key_id, to_change=True)
    if key.revoked_at_ms is not None:
        raise Conflict(f'The key "{key.name}" is revoked.', hint="Make another one: what is revoked stays so.")
    return key


def _noted(change: Change, action: str, before: Key) -> Key:
    """The key as it is now, written down if it differs from what it was."""
    was, is_now = differing(before.told(), get_key(change.connection, before.id).told())
    if not is_now:
        return before
    # Later than before, whatever this machine's clock says: by that others see that it has changed.
    change_row(change.connection, keys, before.id, {"updated_at_ms": max(change.now_ms, before.updated_at_ms + 1)})
    change.note(action, "key", before.id, was, is_now)
    return get_key(change.connection, before.id)


def _demand_free(connection: Connection, project_id: str, name: str) -> None:
    query = select(keys.c.id).where(keys.c.project_id == project_id, keys.c.name == name)
    if connection.execute(query).first() is not None:
        raise name_taken(name)


def _demand_future(columns: Mapping[str, Any], now_ms: int) -> None:
    expires_at_ms = columns.get("expires_at_ms")
    if expires_at_ms is not None and expires_at_ms <= now_ms:
        raise UnusableField("expires_at is in the past.", hint="To end a key now, revoke it.", param="expires_at")
