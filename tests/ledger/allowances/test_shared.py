"""Slices of one budget or limit, held by several processes: what each may use, and what a dead one leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import OperationalError
from tests.databases import PostgresServer
from tests.ledger.allowances.conftest import DAY, MONTH, Clock, Holder, Makers, account, bury, committed, post

from waypost.errors import BudgetExceeded, DatabaseUnavailable, LimitExceeded
from waypost.ledger.account import Account, Limits
from waypost.ledger.allowances import Allowances
from waypost.ledger.allowances.grants import Place, Wish, grant
from waypost.ledger.allowances.pace import Pace
from waypost.store.database import Database
from waypost.store.migrate import upgrade
from waypost.store.tables import grants

LEASE_S = Pace().lease_s
NOON_MS = 1_795_694_400_000


async def used_up(allowances: Allowances, key: Account, micro_usd: int) -> int:
    """How many such calls can be paid until one is refused."""
    count = 0
    while True:
        try:
            (await allowances.reserve(key, micro_usd)).settle(micro_usd)
        except BudgetExceeded:
            return count
        count += 1


async def later(clock: Clock, *holders: Holder, seconds: float = 4.0) -> None:
    """Time passes without requests: what is not used is seen, then given back."""
    for _ in range(2):
        clock.advance(seconds)
        for holder in holders:
            await holder.tidy()


def rows(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(grants)) or 0


async def test_two_holders_use_up_a_budget_to_the_last_call(makers: Makers, clock: Clock) -> None:
    """Nothing of it is spent twice, and what the first did not want is there for the second."""
    first, second = makers.holder("a"), makers.holder("b")
    key = account(Limits(daily_budget_micro_usd=100))
    await first.allowances.reserve(key, 3)
    paid = await used_up(second.allowances, key, 1)
    assert 80 <= paid < 97
    with pytest.raises(BudgetExceeded) as refused:
        await second.allowances.reserve(key, 1)
    assert refused.value.retry_after_s == 2, "the first may give it back"
    await later(clock, first)
    assert paid + await used_up(second.allowances, key, 1) == 97


async def test_a_slice_is_asked_for_before_it_is_used_up(makers: Makers) -> None:
    """A thousand calls wait for the database a few times only."""
    holder, key = makers.holder("a"), account(Limits(daily_budget_micro_usd=1_000_000))
    waited = 0
    for _ in range(1_000):
        waiting = asyncio.ensure_future(holder.allowances.reserve(key, 10))
        await asyncio.sleep(0)
        waited += not waiting.done()
        (await waiting).settle(10)
    assert waited < 20


async def test_holders_share_a_minute_and_a_new_one_begins_for_both(makers: Makers, clock: Clock) -> None:
    first, second = makers.holder("a"), makers.holder("b")
    key = account(Limits(requests_per_minute=20))
    for _minute in range(2):
        counts = []
        for holder in (first, second, first, second):
            counts.append(0)
            with pytest.raises(LimitExceeded):
                while True:
                    await holder.allowances.admit(key, 1)
                    counts[-1] += 1
            clock.advance(0.3)
        assert sum(counts) == 20
        clock.now_s = clock.now_s // 60 * 60 + 60


async def test_slots_of_all_holders_together_are_never_more_than_allowed(makers: Makers, clock: Clock) -> None:
    first, second = makers.holder("a"), makers.holder("b")
    key = account(Limits(concurrent_requests=3))
    held = [await first.allowances.admit(key, 1), await first.allowances.admit(key, 1)]
    held.append(await second.allowances.admit(key, 1))
    for holder in (first, second):
        with pytest.raises(LimitExceeded) as refused:
            await holder.allowances.admit(key, 1)
        assert refused.value.retry_after_s == 1
    held[0].release()
    await first.allowances.admit(key, 1)
    held[1].release()
    # One that the first does not use goes to the second.
    await later(clock, first)
    clock.advance(1)
    await second.allowances.admit(key, 1)


async def test_a_holder_without_a_sign_of_life_loses_its_slots_and_sees_it_when_it_wakes(
    makers: Makers, clock: Clock
) -> None:
    asleep, awake = makers.holder("a"), makers.holder("b")
    key = account(Limits(concurrent_requests=2))
    first = await asleep.allowances.admit(key, 1)
    await asleep.allowances.admit(key, 1)
    clock.advance(LEASE_S - 1)
    with pytest.raises(LimitExceeded):
        await awake.allowances.admit(key, 1)
    clock.advance(1.1)
    for _ in range(2):
        await awake.allowances.admit(key, 1)
    # Its two calls go on; a third is not let in on the strength of what it held once.
    first.release()
    with pytest.raises(LimitExceeded):
        await asleep.allowances.admit(key, 1)


async def test_a_holder_that_lives_keeps_its_slots(makers: Makers, clock: Clock) -> None:
    busy, other = makers.holder("a"), makers.holder("b")
    key = account(Limits(concurrent_requests=2))
    await busy.allowances.admit(key, 1)
    await busy.allowances.admit(key, 1)
    for _ in range(20):
        clock.advance(6)
        await busy.tidy()
    with pytest.raises(LimitExceeded):
        await other.allowances.admit(key, 1)


async def test_a_dead_holder_s_money_comes_back_when_its_journal_is_drained_and_not_before(
    makers: Makers, database: Database, clock: Clock
) -> None:
    dead, alive = makers.holder("dead"), makers.holder("alive")
    key = account(Limits(daily_budget_micro_usd=100))
    (await dead.allowances.reserve(key, 30)).settle(30)
    before = await used_up(alive.allowances, key, 1)
    assert before < 70
    clock.advance(10 * LEASE_S)
    assert await used_up(alive.allowances, key, 1) == 0
    post(database, "dead", {(f"key:{key.key_id}", DAY): 30})
    clock.advance(1)
    assert await used_up(alive.allowances, key, 1) == 0
    bury(database, "dead")
    clock.advance(1)
    assert before + await used_up(alive.allowances, key, 1) == 70


async def test_a_holder_that_ends_in_order_leaves_only_what_it_spent(makers: Makers, database: Database) -> None:
    holder = makers.holder("a")
    key = account(Limits(daily_budget_micro_usd=100, concurrent_requests=5, requests_per_minute=60))
    await holder.allowances.admit(key, 1)
    (await holder.allowances.reserve(key, 20)).settle(7)
    await holder.allowances.close()
    await holder.allowances.close()
    assert committed(database, f"key:{key.key_id}", DAY) == 7
    assert rows(database) == 1


async def test_a_call_that_costs_more_than_it_could_is_nobody_else_s_to_spend(
    makers: Makers, database: Database, clock: Clock
) -> None:
    """What one has overspent is taken from what is left, once."""
    first, second = makers.holder("a"), makers.holder("b")
    key = account(Limits(daily_budget_micro_usd=100))
    subject = f"key:{key.key_id}"
    (await first.allowances.reserve(key, 10)).settle(60)
    post(database, "a", {(subject, DAY): 60})
    assert committed(database, subject, DAY) == 60
    await later(clock, first)
    paid = await used_up(second.allowances, key, 1)
    assert paid == 40
    post(database, "b", {(subject, DAY): 40})
    assert await used_up(first.allowances, key, 1) == 0


async def test_an_end_user_s_two_limits_hold_each_for_the_key_that_has_it(makers: Makers, database: Database) -> None:
    """A slice that one key was granted under the project's larger limit is not another key's to use."""
    holder = makers.holder("a")
    whole = Limits(user_daily_budget_micro_usd=100)
    large = account(None, whole)
    small = Account("other", large.project_id, "app", "shop", key=Limits(user_daily_budget_micro_usd=10), project=whole)
    (await holder.allowances.reserve(large, 9, "alice")).settle(9)
    await holder.allowances.reserve(small, 1, "alice")
    with pytest.raises(BudgetExceeded):
        await holder.allowances.reserve(small, 1, "alice")
    await holder.allowances.reserve(large, 50, "alice")


class Forgetful(Database):
    """Commits, and loses the answer."""

    loses = False

    @contextmanager
    def write(self, *, patient: bool = False) -> Iterator[Connection]:
        with super().write(patient=patient) as connection:
            yield connection
        if self.loses:
            raise OperationalError("COMMIT", {}, ConnectionError("the answer did not come"))


async def test_a_commit_of_which_nobody_knows_loses_nothing_and_doubles_nothing(
    makers: Makers, database: Database, clock: Clock
) -> None:
    """Slices that were granted, or given back, without the holder's knowledge."""
    forgetful = Forgetful(database.url)
    first, second = makers.holder("a", threads=makers.threads(forgetful)), makers.holder("b")
    key = account(Limits(daily_budget_micro_usd=100))
    subject = f"key:{key.key_id}"
    forgetful.loses = True
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable):
            await first.allowances.reserve(key, 10)
        await asyncio.sleep(1.05)  # so long nobody asks a database that was away
    assert committed(database, subject, DAY) > 0
    forgetful.loses = False
    (await first.allowances.reserve(key, 10)).settle(10)
    await later(clock, first)
    forgetful.loses = True
    await later(clock, first)
    await asyncio.sleep(1.05)
    forgetful.loses = False
    await later(clock, first)
    assert committed(database, subject, DAY) == 10
    assert await used_up(second.allowances, key, 1) == 90
    post(database, "a", {(subject, DAY): 10})
    post(database, "b", {(subject, DAY): 90})
    assert committed(database, subject, DAY) == 100
    await makers.close()
    forgetful.close()


async def test_what_is_posted_while_a_slice_is_granted_is_taken_from_it_all_the_same(database: Database) -> None:
    """Neither transaction undoes the other's part of the row: all that is not spent can still be held."""
    place: Place = ("key:k", DAY, "micro_usd")
    times, wish = 150, Wish(("key:k", DAY, "micro_usd"), 10_000, 0, 0, 0, 0, NOON_MS, NOON_MS)

    def grant_again_and_again() -> None:
        for number in range(times):
            asked = replace(wish, granted=1_000 + number, least=1, whole=1)
            with database.write() as connection:
                assert grant(connection, database, "a", [asked], 0)[asked].granted == 1_001 + number

    def post_again_and_again() -> None:
        for _ in range(times):
            post(database, "a", {place[:2]: 1})

    with database.write() as connection:
        grant(connection, database, "a", [replace(wish, whole=1_000)], 0)
    await asyncio.gather(asyncio.to_thread(grant_again_and_again), asyncio.to_thread(post_again_and_again))
    with database.read() as connection:
        amount, granted = connection.execute(select(grants.c.amount, grants.c.granted)).one()
    assert (granted, amount) == (1_000 + times, 1_000)


async def test_many_end_users_are_forgotten_with_their_rows_once_all_is_posted(
    makers: Makers, database: Database, clock: Clock
) -> None:
    pace = Pace(tidy_s=3600, most_pools=5, forget_s=60)
    holder, key = makers.holder("a", pace=pace), account(Limits(user_daily_budget_micro_usd=10))
    for number in range(20):
        (await holder.allowances.reserve(key, 5, f"u{number}")).settle(5)
    post(database, "a", {(f"user:{key.project_id}:u{number}", DAY): 5 for number in range(10)})
    for _ in range(2):
        await later(clock, holder, seconds=61)
    (window,) = (window for window in holder.allowances._windows if window.span == "day")
    assert len(window.pools) == 10
    assert rows(database) == 10
    for name in ("u3", "u13"):
        with pytest.raises(BudgetExceeded):
            await holder.allowances.reserve(key, 6, name)
        await holder.allowances.reserve(key, 5, name)


async def test_rows_that_say_nothing_any_more_are_removed(makers: Makers, database: Database, clock: Clock) -> None:
    holder = makers.holder("a")
    key = account(Limits(monthly_budget_micro_usd=100, requests_per_minute=6, concurrent_requests=2))
    (await holder.allowances.admit(key, 1)).release()
    (await holder.allowances.reserve(key, 5)).settle(5)
    assert rows(database) == 3
    await later(clock, holder, seconds=61)
    await later(clock, holder, seconds=61)
    assert rows(database) == 1
    # The month and two days.
    clock.advance(7 * 24 * 3600)
    await later(clock, holder, seconds=61)
    assert rows(database) == 0


async def test_what_is_not_used_of_last_month_is_not_missed(makers: Makers, database: Database, clock: Clock) -> None:
    """A reservation of last month is settled in it, and takes nothing from the new one."""
    holder, key = makers.holder("a"), account(Limits(monthly_budget_micro_usd=100))
    late = await holder.allowances.reserve(key, 60)
    clock.advance(5 * 24 * 3600)
    await holder.allowances.reserve(key, 100)
    late.settle(50)
    await later(clock, holder)
    assert committed(database, f"key:{key.key_id}", MONTH) == 50
    assert committed(database, f"key:{key.key_id}", "2026-12") == 100


@pytest.fixture
async def away(postgres: PostgresServer) -> AsyncIterator[Database]:
    database = Database(postgres.url)
    upgrade(database)
    yield database
    database.close()


async def test_while_the_database_is_away_what_is_held_is_spent_and_then_refused_clearly(
    away: Database, postgres: PostgresServer, clock: Clock
) -> None:
    makers = Makers(away, clock)
    holder, key = makers.holder("a"), account(Limits(daily_budget_micro_usd=1_000, concurrent_requests=50))
    (await holder.allowances.admit(key, 1)).release()
    (await holder.allowances.reserve(key, 1)).settle(1)
    postgres.stop()
    paid = 0
    with pytest.raises(DatabaseUnavailable) as refused:
        for _ in range(1_000):
            (await holder.allowances.reserve(key, 1)).settle(1)
            paid += 1
    assert paid >= 3
    assert (refused.value.code, refused.value.http_status, refused.value.retry_after_s) == (
        "database_unavailable",
        503,
        2,
    )
    assert "the database does not answer" in refused.value.message
    # A slot that it holds still lets in.
    (await holder.allowances.admit(key, 1)).release()
    # Nothing else is asked for a second, then the database again.
    postgres.start()
    await asyncio.sleep(1.05)
    await holder.allowances.reserve(key, 1)
    await makers.close()


async def test_a_database_that_hangs_holds_up_nobody_for_long(
    away: Database, postgres: PostgresServer, clock: Clock
) -> None:
    makers = Makers(away, clock)
    holder = makers.holder("a", threads=makers.threads(within_s=0.3))
    key = account(Limits(daily_budget_micro_usd=1_000))
    await holder.allowances.reserve(key, 1)
    postgres.freeze()
    try:
        with pytest.raises(DatabaseUnavailable):
            await asyncio.wait_for(holder.allowances.reserve(key, 900), 5)
    finally:
        postgres.thaw()
    await asyncio.sleep(1.5)
    await holder.allowances.reserve(key, 900)
    await makers.close()
