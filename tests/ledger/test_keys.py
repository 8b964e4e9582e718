"""Keys in both databases: made, changed, rotated, revoked, found, and loaded as accounts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import delete, select
from tests.ledger.administered import ACTOR, key, lines, project

from waypost.errors import Conflict, InvalidRequest, UnknownObject
from waypost.ledger.audit import changing
from waypost.ledger.books import now_ms
from waypost.ledger.definitions import KeyChange, told_time
from waypost.ledger.key_changes import MadeKey, change_key, revoke_key, rotate_key
from waypost.ledger.key_reading import Credential, load_accounts
from waypost.ledger.key_text import DIGITS, LENGTH, RANDOM_BYTES, new_key_text, shown_of
from waypost.ledger.keys import Key, KeyFilter, find_keys, get_key, has_keys, revision
from waypost.store.database import Database
from waypost.store.tables import key_secrets, metadata, projects

HOUR_MS = 3600 * 1000


def digest(text: str) -> bytes:
    return sha256(text.encode()).digest()


def loaded(database: Database, at_ms: int | None = None) -> Mapping[bytes, Credential]:
    with database.read() as connection:
        return load_accounts(connection, now_ms() if at_ms is None else at_ms)


def changed(database: Database, key_id: str, **fields: Any) -> Key:
    with changing(database, ACTOR) as change:
        return change_key(change, key_id, KeyChange.model_validate(fields))


def rotated(database: Database, key_id: str, grace_s: float = 3600) -> MadeKey:
    with changing(database, ACTOR) as change:
        return rotate_key(change, key_id, grace_s)


def revoked(database: Database, key_id: str) -> Key:
    with changing(database, ACTOR) as change:
        return revoke_key(change, key_id)


def test_a_key_is_a_word_of_letters_and_digits_with_32_random_bytes() -> None:
    assert len(DIGITS) ** LENGTH >= 256**RANDOM_BYTES
    texts = {new_key_text(is_admin=False) for _ in range(1000)}
    assert len(texts) == 1000
    assert all(re.fullmatch(r"wp_[0-9A-Za-z]{43}", text) for text in texts)
    assert re.fullmatch(r"wpa_[0-9A-Za-z]{43}", new_key_text(is_admin=True))
    # Every digit at every place but the first, which holds what is left of 256 bits.
    assert all({text[place] for text in texts} == set(DIGITS) for place in range(3, 45))


def test_what_is_shown_of_a_key_is_eight_of_its_characters() -> None:
    assert shown_of("wp_abcd" + "x" * 35 + "wxyz") == "wp_abcd…wxyz"
    assert shown_of("wpa_abcd" + "x" * 35 + "wxyz") == "wpa_abcd…wxyz"


def test_the_database_has_the_hash_and_nothing_of_the_key_but_what_is_shown(database: Database) -> None:
    made = key(database, project(database))
    with database.read() as connection:
        rows = [row for table in metadata.sorted_tables for row in connection.execute(select(table))]
        stored = connection.execute(select(key_secrets)).one()
    assert bytes(stored.sha256) == digest(made.text)
    assert made.text not in repr(rows)
    assert made.text[7:-4] not in repr(rows)
    assert made.text not in repr(made)
    assert [secret.shown for secret in made.key.secrets] == [shown_of(made.text)]
    assert all(digest(made.text).hex() not in repr(line) and made.text not in repr(line) for line in lines(database))


def test_an_account_has_the_limits_of_the_key_and_those_of_its_project(database: Database) -> None:
    owner = project(
        database, "shop", routes=["*"], monthly_budget_usd=5, tags={"team": "a", "where": "b"}, store_bodies=True
    )
    made = key(database, owner, "web", routes=["default"], requests_per_minute=7, tags={"team": "c"})
    account = loaded(database)[digest(made.text)].account
    assert (account.key_id, account.key_name) == (made.key.id, "web")
    assert (account.project_id, account.project_name) == (owner.id, "shop")
    assert (account.key.requests_per_minute, account.project.monthly_budget_micro_usd) == (7, 5_000_000)
    assert (account.tags, account.store_bodies, account.is_admin) == ({"team": "c", "where": "b"}, True, False)
    assert (account.allows("default"), account.allows("other")) == (True, False)


def test_an_admin_key_has_no_project_and_asks_no_model_unless_it_is_given_routes(database: Database) -> None:
    plain, also = key(database, None, "ops"), key(database, None, "both", routes=["*"])
    assert (plain.key.project_id, plain.key.is_admin, plain.text[:4]) == (None, True, "wpa_")
    accounts = loaded(database)
    account = accounts[digest(plain.text)].account
    assert (account.is_admin, account.project_id) == (True, plain.key.id)
    assert not account.allows("default")
    assert accounts[digest(also.text)].account.allows("default")


def test_a_key_needs_a_project_and_an_admin_key_may_have_none(database: Database) -> None:
    owner = project(database)
    with pytest.raises(InvalidRequest) as missing:
        key(database, None, is_admin=False)
    with pytest.raises(InvalidRequest) as spare:
        key(database, owner, is_admin=True)
    assert (missing.value.param, spare.value.param) == ("project_id", "project_id")
    for unknown in ("project_" + "0" * 32, "x", "'; --"):
        with pytest.raises(UnknownObject):
            key(database, None, is_admin=False, project_id=unknown)


def test_no_two_keys_of_a_project_have_one_name_and_those_of_two_projects_may(database: Database) -> None:
    first, second = project(database, "first"), project(database, "second")
    made = key(database, first, "web")
    key(database, second, "web")
    other = key(database, first, "app")
    key(database, None, "web")
    for owner in (first, None):
        with pytest.raises(Conflict):
            key(database, owner, "web")
    with pytest.raises(Conflict):
        changed(database, other.key.id, name="web")
    revoked(database, made.key.id)
    with pytest.raises(Conflict):
        key(database, first, "web")


def test_a_rotated_key_has_two_secrets_until_its_grace_is_over(database: Database) -> None:
    before = key(database, project(database))
    after = rotated(database, before.key.id, grace_s=3600)
    assert after.key.id == before.key.id
    first, second = loaded(database)[digest(before.text)], loaded(database)[digest(after.text)]
    assert first.account == second.account
    assert second.valid_until_ms is None
    assert first.valid_until_ms is not None
    assert HOUR_MS - 60_000 < first.valid_until_ms - now_ms() <= HOUR_MS
    assert set(loaded(database, now_ms() + HOUR_MS)) == {digest(after.text)}
    assert [secret.valid_until_ms for secret in after.key.secrets] == [None, first.valid_until_ms]


def test_without_a_grace_the_old_secret_ends_at_once(database: Database) -> None:
    before = key(database, project(database))
    after = rotated(database, before.key.id, grace_s=0)
    assert set(loaded(database)) == {digest(after.text)}
    assert len(after.key.secrets) == 1


def test_a_second_rotation_never_lengthens_the_life_of_the_first_secret(database: Database) -> None:
    first = key(database, project(database))
    second = rotated(database, first.key.id, grace_s=60)
    ends_at_ms = loaded(database)[digest(first.text)].valid_until_ms
    third = rotated(database, first.key.id, grace_s=3600)
    known = loaded(database)
    assert known[digest(first.text)].valid_until_ms == ends_at_ms
    assert known[digest(second.text)].valid_until_ms is not None
    assert known[digest(third.text)].valid_until_ms is None
    fourth = rotated(database, first.key.id, grace_s=0)
    assert set(loaded(database)) == {digest(fourth.text)}


def test_a_revoked_key_is_gone_for_ever_and_its_name_stays(database: Database) -> None:
    made = key(database, project(database))
    rotated(database, made.key.id)
    gone = revoked(database, made.key.id)
    assert (gone.state(now_ms()), gone.secrets, loaded(database)) == ("revoked", (), {})
    for attempt in (
        lambda: changed(database, made.key.id, requests_per_minute=1),
        lambda: rotated(database, made.key.id),
    ):
        with pytest.raises(Conflict, match="revoked"):
            attempt()
    assert revoked(database, made.key.id) == gone
    assert [line.action for line in lines(database)][-2:] == ["key.rotate", "key.revoke"]
    with database.read() as connection:
        assert has_keys(connection)


def test_a_key_that_expires_is_not_good_from_that_moment_on(database: Database) -> None:
    ends_at_ms = now_ms() + HOUR_MS
    made = key(database, project(database), expires_at=told_time(ends_at_ms))
    assert loaded(database)[digest(made.text)].valid_until_ms == ends_at_ms
    assert loaded(database, ends_at_ms - 1)
    assert loaded(database, ends_at_ms) == {}
    assert (made.key.state(ends_at_ms - 1), made.key.state(ends_at_ms)) == ("active", "expired")
    later = rotated(database, made.key.id, grace_s=7200)
    assert {each.valid_until_ms for each in loaded(database).values()} == {ends_at_ms}
    changed(database, made.key.id, expires_at=None)
    assert loaded(database)[digest(later.text)].valid_until_ms is None


def test_a_key_may_not_expire_in_the_past(database: Database) -> None:
    owner, past = project(database), told_time(now_ms() - 1000)
    with pytest.raises(InvalidRequest) as made:
        key(database, owner, expires_at=past)
    good = key(database, owner)
    with pytest.raises(InvalidRequest) as later:
        changed(database, good.key.id, expires_at=past)
    assert (made.value.param, later.value.param) == ("expires_at", "expires_at")


def test_each_change_of_a_key_is_in_the_audit_log_and_counted(database: Database) -> None:
    made = key(database, project(database), requests_per_minute=5)
    changed(database, made.key.id, requests_per_minute=None, name="app")
    after = rotated(database, made.key.id)
    revoked(database, made.key.id)
    created, updated, rotation, end = lines(database)[1:]
    assert [line.action for line in (created, updated, rotation, end)] == [
        "key.create",
        "key.update",
        "key.rotate",
        "key.revoke",
    ]
    assert {line.object_id for line in (created, updated, rotation, end)} == {made.key.id}
    assert created.after == made.key.told()
    assert (updated.before, updated.after) == (
        {"name": "web", "requests_per_minute": 5},
        {"name": "app", "requests_per_minute": None},
    )
    assert rotation.after is not None
    assert [each["shown"] for each in rotation.after["secrets"]] == [shown_of(after.text), shown_of(made.text)]
    assert end.after is not None
    assert (end.after["secrets"], end.after["revoked_at"]) == ([], told_time(end.at_ms))
    with database.read() as connection:
        assert revision(connection) == 5


def test_without_a_project_no_key_of_it_is_good(database: Database) -> None:
    """However it came to be gone."""
    owner = project(database)
    key(database, owner)
    with database.write() as connection:
        connection.execute(delete(projects))
    assert loaded(database) == {}


def test_keys_are_found_by_project_state_kind_name_and_tag(database: Database) -> None:
    first, second = project(database, "first"), project(database, "second")
    web = key(database, first, "web", tags={"team": "a"}).key
    old = key(database, first, "old web").key
    short = key(database, second, "short", expires_at=told_time(now_ms() + HOUR_MS)).key
    admin = key(database, None, "ops").key
    revoked(database, old.id)

    def found(at_ms: int, **wanted: Any) -> set[str]:
        with database.read() as connection:
            return {each.name for each in find_keys(connection, KeyFilter(**wanted), now_ms=at_ms)}

    now, later = now_ms(), now_ms() + HOUR_MS
    assert found(now) == {web.name, old.name, short.name, admin.name}
    assert found(now, project_id=first.id) == {web.name, old.name}
    assert found(now, state="active") == {web.name, short.name, admin.name}
    assert found(later, state="active") == {web.name, admin.name}
    assert (found(now, state="expired"), found(later, state="expired")) == (set(), {short.name})
    assert found(later, state="revoked") == {old.name}
    assert found(now, is_admin=True) == {admin.name}
    assert found(now, name="WEB", is_admin=False) == {web.name, old.name}
    assert found(now, tag=("team", "a")) == {web.name}


def test_keys_are_found_in_pages_the_newest_first(database: Database) -> None:
    owner = project(database)
    ids = [key(database, owner, f"k{number}").key.id for number in range(5)]
    found: list[Key] = []
    with database.read() as connection:
        while page := find_keys(connection, now_ms=now_ms(), limit=2, after=found[-1].id if found else None):
            found += page
        assert found[0] == get_key(connection, found[0].id)
    assert [each.id for each in found] == sorted(ids, reverse=True)
    assert all(len(each.secrets) == 1 for each in found)


@pytest.mark.parametrize("key_id", ["", "key_" + "0" * 32, "key_\x00", "' OR 1=1 --", "\ud800"])
def test_an_id_that_leads_to_nothing_is_unknown(database: Database, key_id: str) -> None:
    key(database, project(database))
    for attempt in (
        lambda: changed(database, key_id, name="x"),
        lambda: rotated(database, key_id),
        lambda: revoked(database, key_id),
    ):
        with pytest.raises(UnknownObject):
            attempt()
