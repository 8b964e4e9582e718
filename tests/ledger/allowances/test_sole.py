"""Allowances of one process that holds everything: who is let in, what is told, and what was spent before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.ledger.allowances.conftest import DAY, MONTH, NOON, Clock, Makers, account, post

from waypost.errors import BudgetExceeded, DatabaseUnavailable, LimitExceeded, PriceUnknown, ServerBusy
from waypost.ledger.account import LOCAL, Limits
from waypost.ledger.allowances.held import UNLIMITED, UNRESERVED
from waypost.ledger.allowances.pace import Pace
from waypost.store.address import sqlite_url
from waypost.store.database import Database

USD = 1_000_000


# Limits per minute


async def test_a_minute_s_requests_are_all_let_in_and_not_one_more(makers: Makers, clock: Clock) -> None:
    allowances, key = makers.sole(), account(Limits(requests_per_minute=3))
    clock.advance(37)
    for _ in range(3):
        await allowances.admit(key, 10)
    with pytest.raises(LimitExceeded) as refused:
        await allowances.admit(key, 10)
    error = refused.value
    assert (error.code, error.http_status, error.retry_after_s) == ("rate_limit_exceeded", 429, 23)
    told = error.shortage
    assert (told.whose, told.name, told.what, told.limit, told.used) == ("key", "web", "requests_per_minute", 3, 3)
    assert told.resets_at_s == NOON + 60
    assert str(error) == (
        'The limit of 3 requests per minute of the key "web" is reached. '
        "Ask again in 23 s. It resets at 2026-11-26T12:01:00Z."
    )


async def test_the_next_minute_begins_with_everything(makers: Makers, clock: Clock) -> None:
    allowances, key = makers.sole(), account(Limits(requests_per_minute=1, tokens_per_minute=10))
    await allowances.admit(key, 10)
    clock.advance(59.9)
    with pytest.raises(LimitExceeded):
        await allowances.admit(key, 10)
    clock.advance(0.1)
    await allowances.admit(key, 10)


async def test_a_request_that_took_no_tokens_counts_as_a_request(makers: Makers) -> None:
    allowances, key = makers.sole(), account(Limits(requests_per_minute=2, tokens_per_minute=10))
    (await allowances.admit(key, 10)).release()
    await allowances.admit(key, 10)
    with pytest.raises(LimitExceeded) as refused:
        await allowances.admit(key, 1)
    assert refused.value.shortage.what == "requests_per_minute"


async def test_tokens_are_held_as_thought_and_counted_as_they_were(makers: Makers) -> None:
    """What was thought too much comes back, what was thought too little counts."""
    allowances, key = makers.sole(), account(Limits(tokens_per_minute=100))
    first = await allowances.admit(key, 90)
    with pytest.raises(LimitExceeded) as refused:
        await allowances.admit(key, 20)
    # Held, not used: it may come back soon.
    assert (refused.value.retry_after_s, refused.value.shortage.used, refused.value.shortage.reserved) == (2, 0, 90)
    first.settle(30)
    second = await allowances.admit(key, 70)
    second.settle(75)
    with pytest.raises(LimitExceeded) as refused:
        await allowances.admit(key, 1)
    assert (refused.value.retry_after_s, refused.value.shortage.used) == (60, 105)


async def test_a_request_larger_than_the_limit_is_told_that_waiting_is_vain(makers: Makers) -> None:
    allowances, key = makers.sole(), account(Limits(tokens_per_minute=100))
    with pytest.raises(LimitExceeded) as refused:
        await allowances.admit(key, 101)
    assert refused.value.retry_after_s is None
    assert "smaller max_tokens" in refused.value.hint


async def test_slots_come_back_however_a_request_ends(makers: Makers) -> None:
    allowances, key = makers.sole(), account(Limits(concurrent_requests=2))
    first, second = await allowances.admit(key, 1), await allowances.admit(key, 1)
    with pytest.raises(LimitExceeded) as refused:
        await allowances.admit(key, 1)
    told = refused.value.shortage
    assert (told.what, told.used, told.reserved, told.resets_at_s) == ("concurrent_requests", 2, 0, None)
    assert refused.value.retry_after_s == 1
    for _ in range(3):
        first.settle(5)
        first.release()
    third = await allowances.admit(key, 1)
    with pytest.raises(LimitExceeded):
        await allowances.admit(key, 1)
    with pytest.raises(RuntimeError), second:
        raise RuntimeError("the call broke")
    third.release()
    for _ in range(2):
        await allowances.admit(key, 1)


async def test_a_refusal_takes_nothing_of_anything(makers: Makers) -> None:
    """The project's slots are taken, so that neither the key's requests nor its tokens are touched."""
    allowances = makers.sole()
    key = account(Limits(requests_per_minute=5, tokens_per_minute=50), Limits(concurrent_requests=1))
    first = await allowances.admit(key, 10)
    for _ in range(20):
        with pytest.raises(LimitExceeded) as refused:
            await allowances.admit(key, 10)
        assert refused.value.shortage.whose == "project"
    first.settle(10)
    for _ in range(4):
        (await allowances.admit(key, 10)).settle(10)
    with pytest.raises(LimitExceeded):
        await allowances.admit(key, 10)


async def test_of_several_limits_that_refuse_the_longest_wait_is_told(makers: Makers, clock: Clock) -> None:
    allowances, key = makers.sole(), account(Limits(requests_per_minute=1, concurrent_requests=1))
    await allowances.admit(key, 1)
    with pytest.raises(LimitExceeded) as refused:
        await allowances.admit(key, 1)
    assert (refused.value.shortage.what, refused.value.retry_after_s) == ("requests_per_minute", 60)


async def test_keys_of_one_project_share_its_limit_and_not_each_other_s(makers: Makers) -> None:
    allowances, own, whole = makers.sole(), Limits(requests_per_minute=2), Limits(requests_per_minute=3)
    first, second = account(own, whole, number=901), account(own, whole, number=902)
    second = type(second)(second.key_id, first.project_id, "app", "shop", key=own, project=whole)
    for key in (first, first, second):
        await allowances.admit(key, 1)
    with pytest.raises(LimitExceeded) as refused:
        await allowances.admit(second, 1)
    assert (refused.value.shortage.whose, refused.value.shortage.name) == ("project", "shop")


async def test_what_replies_tell_is_as_it_stands_when_it_is_looked_at(makers: Makers) -> None:
    allowances = makers.sole()
    key = account(Limits(requests_per_minute=10, tokens_per_minute=100), Limits(requests_per_minute=4))
    told = allowances.rate_limits(key)
    admission = await allowances.admit(key, 60)
    assert told is not None
    assert admission.limits is not None
    for limits in (told, admission.limits):
        requests, tokens = limits.requests, limits.tokens
        assert requests is not None
        assert tokens is not None
        # The project's, of which less is left.
        assert (requests.limit, requests.left, requests.resets_at_s) == (4, 3, NOON + 60)
        assert (tokens.limit, tokens.left) == (100, 40)
    admission.settle(150)
    tokens = told.tokens
    assert tokens is not None
    assert tokens.left == 0


async def test_who_has_no_limits_costs_nothing(makers: Makers) -> None:
    allowances = makers.sole()
    assert await allowances.admit(LOCAL, 10**9) is UNLIMITED
    assert await allowances.reserve(LOCAL, None) is UNRESERVED
    assert allowances.rate_limits(LOCAL) is None
    assert not allowances.limits_money(LOCAL)
    UNLIMITED.settle(5)
    UNRESERVED.settle(None)


async def test_a_limit_that_changes_counts_what_was_used_before(makers: Makers) -> None:
    allowances = makers.sole()
    for _ in range(2):
        await allowances.admit(account(Limits(requests_per_minute=2), number=903), 1)
    await allowances.admit(account(Limits(requests_per_minute=3), number=903), 1)
    with pytest.raises(LimitExceeded):
        await allowances.admit(account(Limits(requests_per_minute=3), number=903), 1)


# Budgets


async def test_a_budget_is_what_is_spent_and_reserved_together(makers: Makers) -> None:
    allowances, key = makers.sole(), account(Limits(daily_budget_micro_usd=10 * USD))
    first = await allowances.reserve(key, 6 * USD)
    first.settle(5 * USD + 1)
    second = await allowances.reserve(key, 4 * USD)
    with pytest.raises(BudgetExceeded) as refused:
        await allowances.reserve(key, USD)
    error = refused.value
    assert (error.code, error.http_status, error.retry_after_s) == ("budget_exceeded", 429, 2)
    assert str(error) == (
        'The daily budget of the key "web" is 10.00 USD: 5.000001 are spent and 4.00 reserved, and this call may cost '
        "up to 1.00. Ask again in 2 s; what is reserved and not used comes back. It resets at 2026-11-27T00:00:00Z."
    )
    second.release()
    await allowances.reserve(key, 4 * USD + 999_999)
    with pytest.raises(BudgetExceeded):
        await allowances.reserve(key, 1)


async def test_what_is_really_spent_is_refused_until_the_window_ends(makers: Makers, clock: Clock) -> None:
    allowances, key = makers.sole(), account(Limits(daily_budget_micro_usd=100, monthly_budget_micro_usd=150))
    (await allowances.reserve(key, 100)).settle(100)
    with pytest.raises(BudgetExceeded) as refused:
        await allowances.reserve(key, 1)
    assert (refused.value.shortage.what, refused.value.retry_after_s) == ("daily_budget", 12 * 3600)
    clock.advance(12 * 3600)
    (await allowances.reserve(key, 50)).settle(50)
    with pytest.raises(BudgetExceeded) as refused:
        await allowances.reserve(key, 1)
    assert (refused.value.shortage.what, refused.value.retry_after_s) == ("monthly_budget", 4 * 24 * 3600)
    clock.advance(4 * 24 * 3600)
    await allowances.reserve(key, 100)


async def test_a_call_counts_in_the_day_in_which_it_began(makers: Makers, clock: Clock) -> None:
    allowances, key = makers.sole(), account(Limits(daily_budget_micro_usd=100))
    midnight = NOON + 12 * 3600
    clock.now_s = midnight + 0.5
    begun_ms = round((midnight - 0.001) * 1000)
    (await allowances.reserve(key, 100, at_ms=begun_ms)).settle(100)
    await allowances.reserve(key, 100)
    with pytest.raises(BudgetExceeded):
        await allowances.reserve(key, 1, at_ms=begun_ms)


async def test_a_cost_that_nobody_knows_counts_as_the_most_it_could_be(makers: Makers) -> None:
    allowances, key = makers.sole(), account(Limits(daily_budget_micro_usd=100))
    (await allowances.reserve(key, 60)).settle(None)
    with pytest.raises(BudgetExceeded) as refused:
        await allowances.reserve(key, 41)
    assert refused.value.shortage.used == 60


async def test_a_call_without_a_price_is_refused_where_money_counts(makers: Makers) -> None:
    allowances = makers.sole()
    for limits in (
        Limits(monthly_budget_micro_usd=1),
        Limits(require_pricing=True),
        Limits(user_daily_budget_micro_usd=1),
    ):
        for key in (account(limits), account(None, limits)):
            assert allowances.limits_money(key)
            with pytest.raises(PriceUnknown) as refused:
                await allowances.reserve(key, None, "alice")
            assert (refused.value.code, refused.value.http_status) == ("price_unknown", 403)
    assert await allowances.reserve(account(Limits(require_pricing=True)), 10**12) is UNRESERVED


async def test_a_free_call_needs_no_budget(makers: Makers) -> None:
    allowances, key = makers.sole(), account(Limits(daily_budget_micro_usd=0))
    assert await allowances.reserve(key, 0) is UNRESERVED
    with pytest.raises(BudgetExceeded):
        await allowances.reserve(key, 1)


async def test_each_end_user_has_a_budget_of_their_own_over_all_keys_of_a_project(makers: Makers) -> None:
    """Of two budgets for the same person the smaller one holds; who names nobody is not held by it."""
    allowances = makers.sole()
    whole = Limits(user_daily_budget_micro_usd=100)
    first = account(None, whole)
    second = type(first)(
        "other", first.project_id, "app", "shop", key=Limits(user_daily_budget_micro_usd=80), project=whole
    )
    (await allowances.reserve(first, 60, "alice")).settle(60)
    with pytest.raises(BudgetExceeded) as refused:
        await allowances.reserve(second, 21, "alice")
    assert (refused.value.shortage.whose, refused.value.shortage.name) == ("end_user", "alice")
    assert refused.value.shortage.limit == 80
    await allowances.reserve(first, 40, "alice")
    await allowances.reserve(second, 80, "bob")
    await allowances.reserve(second, 10**9)


async def test_what_was_spent_before_counts_and_is_read_once(makers: Makers, database: Database) -> None:
    allowances, key = makers.sole(), account(Limits(daily_budget_micro_usd=100, monthly_budget_micro_usd=1000))
    post(database, "before", {(f"key:{key.key_id}", DAY): 70, (f"key:{key.key_id}", MONTH): 700})
    (await allowances.reserve(key, 30)).settle(30)
    with pytest.raises(BudgetExceeded) as refused:
        await allowances.reserve(key, 1)
    assert (refused.value.shortage.used, refused.value.shortage.what) == (100, "daily_budget")


async def test_five_hundred_at_once_of_whom_a_hundred_can_be_paid(makers: Makers) -> None:
    """Also at the very first use, while what was spent is still being read."""
    allowances, key = makers.sole(), account(Limits(daily_budget_micro_usd=100 * 37))
    outcomes = await asyncio.gather(*(allowances.reserve(key, 37) for _ in range(500)), return_exceptions=True)
    assert sum(1 for each in outcomes if isinstance(each, BudgetExceeded)) == 400
    assert sum(1 for each in outcomes if not isinstance(each, Exception)) == 100


async def test_a_database_that_is_away_is_said_so_and_limits_without_money_hold(tmp_path: Any, clock: Clock) -> None:
    makers = Makers(Database(sqlite_url(tmp_path / "nowhere" / "waypost.db")), clock)
    allowances, key = makers.sole(), account(Limits(daily_budget_micro_usd=100, requests_per_minute=1))
    with pytest.raises(DatabaseUnavailable) as refused:
        await allowances.reserve(key, 1)
    assert (refused.value.http_status, refused.value.retry_after_s) == (503, 2)
    await allowances.admit(key, 1)
    with pytest.raises(LimitExceeded):
        await allowances.admit(key, 1)
    await makers.close()


async def test_no_budget_is_touched_before_what_earlier_processes_spent_is_known(makers: Makers) -> None:
    drained = False
    allowances, key = makers.sole(ready=lambda: drained), account(Limits(daily_budget_micro_usd=100))
    with pytest.raises(ServerBusy, match="on its way into the database"):
        await allowances.reserve(key, 1)
    drained = True
    await allowances.reserve(key, 1)


async def test_what_the_database_learns_of_others_counts_and_one_s_own_does_not_count_twice(
    makers: Makers, database: Database, clock: Clock
) -> None:
    allowances, key = makers.sole(), account(Limits(daily_budget_micro_usd=100))
    subject = f"key:{key.key_id}"
    (await allowances.reserve(key, 20)).settle(20)
    post(database, "own", {(subject, DAY): 20})
    post(database, "a journal found late", {(subject, DAY): 30})
    await allowances._source.tidy(allowances._windows)
    await allowances.reserve(key, 50)
    with pytest.raises(BudgetExceeded) as refused:
        await allowances.reserve(key, 1)
    assert (refused.value.shortage.used, refused.value.shortage.reserved) == (50, 50)


async def test_many_end_users_are_forgotten_once_the_database_knows_what_they_spent(
    makers: Makers, database: Database, clock: Clock
) -> None:
    pace = Pace(tidy_s=3600, most_pools=10, forget_s=60)
    allowances, key = makers.sole(pace=pace), account(Limits(user_daily_budget_micro_usd=10))
    for number in range(50):
        (await allowances.reserve(key, 5, f"u{number}")).settle(5)
    held = await allowances.reserve(key, 5, "u7")
    posted = [f"u{number}" for number in range(25)]
    post(database, "own", {(f"user:{key.project_id}:{name}", DAY): 5 for name in posted})
    clock.advance(61)
    await allowances._source.tidy(allowances._windows)
    (window,) = (window for window in allowances._windows if window.span == "day")
    left = {subject.rpartition(":")[2] for _unit, subject in window.pools}
    # u7 has money reserved, of the others nobody but we know what they spent.
    assert left == {"u7", *(f"u{number}" for number in range(25, 50))}
    held.settle(5)
    for name in ("u3", "u7", "u30"):
        with pytest.raises(BudgetExceeded):
            await allowances.reserve(key, 6, name)
