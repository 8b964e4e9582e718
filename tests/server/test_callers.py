"""Who is let in: keys of the settings and of the database, looked up by their hash, good until a moment, or unknown."""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pytest
from starlette.types import Scope

from waypost.errors import AuthenticationRequired, DatabaseUnavailable, NotAllowed, TooManyFailedKeys
from waypost.ledger.account import Account, Limits
from waypost.server import callers as callers_module
from waypost.server.callers import ANYBODY, MOST_FAILURES, Caller, Callers, UnknownKey
from waypost.server.key_watch import KeyWatch, KnownKeys
from waypost.settings import KeySettings, Settings
from waypost.store.lazy import LazyDatabase

CONFIGURED, STORED = "a-configured-key-01", "wp_" + "x" * 43


def showing(key: str, **more: Any) -> Scope:
    headers = [(b"authorization", f"Bearer {key}".encode("latin-1"))] if key else []
    return {"type": "http", "path": "/v1/models", "query_string": b"", "headers": headers, "client": ("a", 1), **more}


def watch(*stored: Caller, revision: int | None = 1, any_made: bool = True) -> KeyWatch:
    """One that has read these keys, the first of which is STORED."""
    made = KeyWatch(LazyDatabase(Settings()))
    by_digest = {sha256(STORED.encode()).digest(): caller for caller in stored}
    made.known = KnownKeys(revision, any_made, by_digest, {caller.name: caller for caller in stored})
    return made


def configured(**keys: Any) -> Mapping[str, KeySettings]:
    return {name: KeySettings.model_validate(key) for name, key in keys.items()}


def stored(valid_until_ms: int | None = None, **account: Any) -> Caller:
    return Caller("key_1", Account("key_1", "project_1", "web", "shop", **account), valid_until_ms)


def test_a_key_of_the_settings_and_one_of_the_database_are_both_known() -> None:
    callers = Callers(configured(own={"key": CONFIGURED, "admin": True, "routes": ["a"]}), watch(stored()))
    own, other = callers.identify(showing(CONFIGURED)), callers.identify(showing(STORED))
    assert (own.name, own.is_admin, own.account.project_id) == ("own", True, "config:own")
    assert (own.may_ask("a"), own.may_ask("b")) == (True, False)
    assert (other.name, other.account.project_id, other.is_admin) == ("key_1", "project_1", False)
    assert (callers.named("own"), callers.named("key_1"), callers.named("web")) == (own, other, None)


def test_a_key_is_found_in_a_table_by_its_hash_and_by_nothing_else() -> None:
    """What takes time is the hash of what was shown, and one look into a table: neither depends on any key there is."""
    tables = [Callers(configured(own={"key": CONFIGURED}))._configured, watch(stored()).known.by_digest]
    assert all(type(table) is dict for table in tables)
    assert {digest for table in tables for digest in table} == {
        sha256(key.encode()).digest() for key in (CONFIGURED, STORED)
    }
    source = inspect.getsource(Callers._find)
    assert "sha256(key).digest()" in source
    assert not any(word in source for word in ("for ", " in ", "==", "startswith"))


def test_no_key_is_in_any_text_form_of_what_holds_them() -> None:
    callers = Callers(configured(own={"key": CONFIGURED}), watch(stored()))
    for thing in (callers, vars(callers), callers.watch, callers.identify(showing(CONFIGURED))):
        assert CONFIGURED not in repr(thing)
    for caller in (callers.identify(showing(STORED)), callers.named("key_1")):
        assert STORED not in repr(caller)


@pytest.mark.parametrize(("lives_ms", "is_good"), [(60_000, True), (-1, False)])
def test_a_key_is_good_until_its_moment_whenever_it_was_read(lives_ms: int, is_good: bool) -> None:
    callers = Callers({}, watch(stored(round(time.time() * 1000) + lives_ms)))
    if is_good:
        assert callers.identify(showing(STORED)).name == "key_1"
    else:
        with pytest.raises(AuthenticationRequired):
            callers.identify(showing(STORED))


def test_an_admin_key_of_the_database_asks_no_model_and_says_so() -> None:
    callers = Callers({}, watch(stored(is_admin=True, key=Limits(routes=()))))
    caller = callers.identify(showing(STORED))
    caller.demand_admin()
    for model in ("", "default", "anything"):
        with pytest.raises(NotAllowed, match='The key "web" may not ask') as refused:
            caller.demand(model)
        assert "for administration only" in refused.value.hint


def test_an_inference_key_never_administers() -> None:
    with pytest.raises(NotAllowed, match='The key "web" may not administer'):
        Callers({}, watch(stored())).identify(showing(STORED)).demand_admin()


def test_without_any_key_everybody_is_let_in_on_loopback_only() -> None:
    for without in (Callers({}), Callers({}, watch(any_made=False))):
        assert without.open_to_all
        assert without.identify(showing("")) is ANYBODY
        assert without.named("local") is ANYBODY
    exposed = Callers({}, watch(any_made=False), may_open=False)
    assert not exposed.open_to_all
    assert exposed.named("local") is None
    with pytest.raises(AuthenticationRequired):
        exposed.identify(showing(""))


def test_once_a_key_was_made_the_server_asks_for_one_though_it_be_revoked_since() -> None:
    callers = Callers({}, watch(any_made=True))
    assert not callers.open_to_all
    with pytest.raises(AuthenticationRequired):
        callers.identify(showing(""))


def test_before_the_database_was_read_nobody_is_let_in_but_by_the_settings() -> None:
    """Nor is anybody told that a key is wrong, and no failure is counted: it may be good."""
    unread = watch(revision=None)
    callers = Callers({}, unread)
    assert not callers.open_to_all
    for key in ("", STORED, "anything"):
        for _ in range(MOST_FAILURES + 2):
            with pytest.raises(DatabaseUnavailable):
                callers.identify(showing(key))
    with_own = Callers(configured(own={"key": CONFIGURED}), unread)
    assert with_own.identify(showing(CONFIGURED)).name == "own"
    with pytest.raises(DatabaseUnavailable):
        with_own.identify(showing(STORED))
    with pytest.raises(AuthenticationRequired):
        with_own.identify(showing(""))


def test_only_a_key_that_may_have_been_made_just_now_is_worth_another_look() -> None:
    callers = Callers({}, watch(stored()))
    for key, kind in (
        ("wp_" + "y" * 43, UnknownKey),
        ("wpa_" + "y" * 43, UnknownKey),
        ("other", AuthenticationRequired),
    ):
        with pytest.raises(AuthenticationRequired) as refused:
            callers.identify(showing(key))
        assert type(refused.value) is kind
        assert (refused.value.code, key in str(refused.value)) == ("authentication_required", False)


def test_wrong_keys_in_a_row_are_throttled_by_address_and_right_ones_are_not() -> None:
    callers = Callers({}, watch(stored()))
    for _ in range(MOST_FAILURES):
        with pytest.raises(AuthenticationRequired):
            callers.identify(showing("wp_wrong"))
    with pytest.raises(TooManyFailedKeys):
        callers.identify(showing("wp_wrong"))
    with pytest.raises(AuthenticationRequired):
        callers.identify(showing("wp_wrong", client=("b", 1)))
    assert callers.identify(showing(STORED)).name == "key_1"


def test_the_prefixes_that_callers_know_are_those_that_keys_are_made_with() -> None:
    from waypost.ledger.key_text import ADMIN_PREFIX, PREFIX

    assert (PREFIX.encode(), ADMIN_PREFIX.encode()) == callers_module.MADE_HERE
