"""A reading of the keys that goes on from an earlier one holds what a whole one would, and reads only what changed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.ledger.administered import ACTOR, key, project

from waypost.ledger.audit import Change, changing
from waypost.ledger.books import now_ms
from waypost.ledger.definitions import KeyChange, ProjectChange
from waypost.ledger.erasure import delete_project
from waypost.ledger.key_changes import change_key, revoke_key, rotate_key
from waypost.ledger.key_reading import NOTHING, KeyReading, read_keys
from waypost.ledger.projects import change_project
from waypost.store.database import Database

HOUR_MS = 3600 * 1000


def read(database: Database, before: KeyReading = NOTHING, at_ms: int | None = None) -> KeyReading:
    with database.read() as connection:
        return read_keys(connection, now_ms() if at_ms is None else at_ms, before)


@contextmanager
def clock_at(database: Database, at_ms: int) -> Iterator[Change]:
    """A change on a machine whose clock says this."""
    with changing(database, ACTOR) as change:
        change.now_ms = at_ms
        yield change


def test_whatever_is_changed_in_whatever_order_both_readings_are_the_same(database: Database) -> None:
    """By two machines whose clocks are an hour apart, of which one stands still."""
    source = random.Random(11)  # noqa: S311 - no secret
    owners = [project(database, f"p{number}").id for number in range(3)]
    made = [key(database, None, "admin").key.id]
    reading, still_ms = read(database), now_ms()

    def clock() -> int:
        return source.choice([still_ms, now_ms() - HOUR_MS])

    def create() -> None:
        owner = source.choice(owners)
        fields = {"project_id": owner, "is_admin": False}
        made.append(key(database, None, f"k{source.randrange(10**9)}", **fields).key.id)

    def change() -> None:
        with clock_at(database, clock()) as one:
            wanted = {"requests_per_minute": source.randrange(1, 9), "name": f"n{source.randrange(10**9)}"}
            change_key(one, source.choice(made), KeyChange.model_validate(wanted))

    def rotate() -> None:
        with clock_at(database, clock()) as one:
            rotate_key(one, source.choice(made), source.choice([0, 3600]))

    def change_owner() -> None:
        with clock_at(database, clock()) as one:
            change_project(one, source.choice(owners), ProjectChange(name=f"o{source.randrange(10**9)}"))

    def revoke() -> None:
        if len(made) > 3:
            with clock_at(database, clock()) as one:
                revoke_key(one, made.pop(source.randrange(len(made))))

    steps: list[Callable[[], None]] = [create, create, create, change, change, rotate, change_owner, revoke]
    for _ in range(60):
        for _ in range(source.randrange(1, 4)):
            source.choice(steps)()
        reading = read(database, reading)
        whole = read(database)
        assert reading.credentials == whole.credentials
        assert reading.owners == whole.owners
    assert len(reading.credentials) > 5


def test_a_project_that_is_deleted_takes_its_keys_along(database: Database) -> None:
    first, second = project(database, "first"), project(database, "second")
    gone, left = key(database, first), key(database, second)
    before = read(database)
    delete_project(database, ACTOR, first.id)
    after = read(database, before)
    assert {each.account.key_id for each in before.credentials.values()} == {gone.key.id, left.key.id}
    assert {each.account.key_id for each in after.credentials.values()} == {left.key.id}


def test_what_expires_is_gone_from_the_next_reading(database: Database) -> None:
    made = key(database, project(database))
    with changing(database, ACTOR) as change:
        rotate_key(change, made.key.id, 60)
    before = read(database)
    assert len(before.credentials) == 2
    assert len(read(database, before, now_ms() + HOUR_MS).credentials) == 1


def test_of_what_has_not_changed_nothing_is_read(database: Database) -> None:
    """One of many keys changes: the others are the same objects as before."""
    owner = project(database)
    made = [key(database, owner, f"k{number}").key.id for number in range(20)]
    before = read(database)
    with changing(database, ACTOR) as change:
        change_key(change, made[7], KeyChange(requests_per_minute=3))
    after = read(database, before)
    same = {each.account.key_id for digest, each in after.credentials.items() if before.credentials[digest] is each}
    assert same == set(made) - {made[7]}
    unchanged = read(database, after)
    assert all(unchanged.credentials[digest] is each for digest, each in after.credentials.items())
