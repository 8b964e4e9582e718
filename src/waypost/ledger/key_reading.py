"""All that is good as a key, for servers to hold in memory: read whole, or what changed since an earlier reading.

A project or key that changes has a later `updated_at_ms` than before, however clocks run, so a reading asks for those
alone of all of them, and for the rest only of what differs. The invariant: a reading that goes on from an earlier one
holds what a whole one would; what it took over is the very same objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from sqlalchemy import Connection, RowMapping, select

from waypost.ledger.account import Account, Limits
from waypost.ledger.definitions import limits_in
from waypost.ledger.keys import is_active
from waypost.store.tables import key_secrets, keys, projects

AT_ONCE: Final = 500
"""Keys to a statement: databases bound how many values one may have."""
MOST_CHANGED: Final = 0.5
"""From this share of the keys on reading all of them is quicker."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a secret is good for, and until when (None: for ever)."""

    account: Account
    valid_until_ms: int | None


Credentials: TypeAlias = Mapping[bytes, Credential]
"""By the SHA-256 of what callers show."""


@dataclass(frozen=True, slots=True)
class Owner:
    """What the keys of a project have from it, made once for all of them."""

    id: str
    name: str
    limits: Limits
    tags: Mapping[str, str]
    store_bodies: bool
    updated_at_ms: int

    @classmethod
    def of(cls, row: RowMapping) -> Owner:
        """Of a project's row."""
        own = (row["id"], row["name"], limits_in(row), row["tags"] or {}, row["store_bodies"], row["updated_at_ms"])
        return cls(*own)


@dataclass(frozen=True, slots=True)
class KeyReading:
    """One reading. `updated_at_ms` is that of each key which is good, by its id."""

    credentials: Credentials = field(default_factory=dict)
    owners: Mapping[str, Owner] = field(default_factory=dict)
    updated_at_ms: Mapping[str, int] = field(default_factory=dict)


NOTHING: Final = KeyReading()


def read_keys(connection: Connection, now_ms: int, before: KeyReading = NOTHING) -> KeyReading:
    """All that is good now; of what has not changed since `before`, what that has."""
    of = keys.c
    stamps = connection.execute(select(of.id, of.project_id, of.updated_at_ms).where(is_active(now_ms))).all()
    # After the keys: a project that was made in between is there then.
    owners = _owners(connection, before)
    known = before.updated_at_ms
    changed = [
        key_id
        for key_id, project_id, updated_at_ms in stamps
        if known.get(key_id) != updated_at_ms or owners.get(project_id) is not before.owners.get(project_id)
    ]
    reads_all = len(changed) > MOST_CHANGED * len(stamps)
    rows = list(_rows(connection, now_ms, None if reads_all else changed))
    updated = {key_id: updated_at_ms for key_id, _, updated_at_ms in stamps}
    kept = set() if reads_all else updated.keys() - set(changed)
    credentials = {
        digest: each
        for digest, each in before.credentials.items()
        if each.account.key_id in kept and (each.valid_until_ms is None or each.valid_until_ms > now_ms)
    }
    for row in rows:
        # It may have changed again since it was asked whether it had.
        updated[row["id"]] = row["updated_at_ms"]
        account = _account(row, owners)
        if account is not None:
            times = [time for time in (row["valid_until_ms"], row["expires_at_ms"]) if time is not None]
            credentials[bytes(row["sha256"])] = Credential(account, min(times, default=None))
    return KeyReading(credentials, owners, updated)


def load_accounts(connection: Connection, now_ms: int) -> Credentials:
    """All that is good now, by the SHA-256 of what callers show.

    An admin key is a project of its own, and asks no model unless it was given routes.
    """
    return read_keys(connection, now_ms).credentials


def _rows(connection: Connection, now_ms: int, wanted: Sequence[str] | None) -> Iterator[RowMapping]:
    """A row for each secret of these keys that is good; None: of all."""
    of = key_secrets.c
    query = select(keys, of.sha256, of.valid_until_ms).join(key_secrets, of.key_id == keys.c.id)
    query = query.where(is_active(now_ms), of.valid_until_ms.is_(None) | (of.valid_until_ms > now_ms))
    if wanted is None:
        yield from connection.execute(query).mappings()
        return
    for start in range(0, len(wanted), AT_ONCE):
        some = keys.c.id.in_(wanted[start : start + AT_ONCE])
        yield from connection.execute(query.where(some)).mappings()


def _owners(connection: Connection, before: KeyReading) -> dict[str, Owner]:
    rows = connection.execute(select(projects)).mappings().all()
    found = {}
    for row in rows:
        owner = before.owners.get(row["id"])
        same = owner is not None and owner.updated_at_ms == row["updated_at_ms"]
        found[row["id"]] = owner if owner is not None and same else Owner.of(row)
    return found


def _account(row: RowMapping, owners: Mapping[str, Owner]) -> Account | None:
    if row["is_admin"]:
        return _admin(row)
    owner = owners.get(row["project_id"])
    if owner is None:
        return None
    return Account(
        row["id"],
        owner.id,
        row["name"],
        owner.name,
        key=limits_in(row),
        project=owner.limits,
        tags={**owner.tags, **(row["tags"] or {})},
        store_bodies=owner.store_bodies,
    )


def _admin(row: RowMapping) -> Account:
    limits = limits_in(row)
    if limits.routes is None:
        limits = replace(limits, routes=())
    own_id, name = row["id"], row["name"]
    return Account(own_id, own_id, name, name, is_admin=True, key=limits, tags=row["tags"] or {})
