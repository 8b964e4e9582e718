"""jobs/pace_rows.py: a minute's limit holds for every minute, whoever asks, and nothing of it is lost."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from waypost.jobs import pace_rows
from waypost.jobs.pace_rows import PERIOD_MS, Bucket, PaceLimit, Taken
from waypost.store.database import Database
from waypost.store.job_tables import provider_paces as paces

NAME = "openai#1"
LIMIT = PaceLimit(requests_per_minute=600)
"""Its bucket holds 10, and 591 flow in within a little over a minute."""
FROZEN_MS = 40_000
"""A bucket that was filled so far in the future lets nothing in until then: as if its clock had been set back."""


@given(st.integers(1, 10**9), st.sampled_from([pace_rows.REQUESTS_BURST, pace_rows.TOKENS_BURST]))
def test_no_minute_has_more_than_its_limit_even_if_requests_are_two_seconds_under_way(limit: int, burst: int) -> None:
    bucket = Bucket.of(limit, burst)
    assert bucket.holds >= 1
    assert bucket.flow >= 1
    assert bucket.holds + bucket.flow * 62_000 // PERIOD_MS <= limit


def take(database: Database, requests: int = 1, tokens: int = 0, limit: PaceLimit = LIMIT) -> Taken:
    with database.write() as connection:
        return pace_rows.take(connection, database, NAME, limit, requests, tokens)


def set_back(database: Database, ms: int) -> None:
    """As if so long had passed."""
    with database.write() as connection:
        connection.execute(update(paces).values(refilled_at_ms=paces.c.refilled_at_ms - ms))


def put(database: Database, **values: int | None) -> None:
    with database.write() as connection:
        connection.execute(update(paces).values(**values))


def full(database: Database, limit: PaceLimit = LIMIT) -> None:
    """A full bucket, into which nothing flows for a while, however slow this machine is."""
    take(database, limit=limit)
    left = {"requests_left": limit.requests, "tokens_left": limit.tokens}
    put(database, **{name: None if bucket is None else bucket.holds * PERIOD_MS for name, bucket in left.items()})
    set_back(database, -FROZEN_MS)


def test_it_begins_empty_and_fills_as_time_goes_by(database: Database) -> None:
    """What was sent before the first worker came nobody knows."""
    assert not take(database).granted
    set_back(database, -FROZEN_MS)
    assert take(database) == Taken(granted=False, wait_ms=PERIOD_MS // 591 + 1, requests=1)
    set_back(database, FROZEN_MS + PERIOD_MS // 591 + 1)
    assert take(database).granted


def test_a_full_bucket_gives_what_it_holds_and_no_more(database: Database) -> None:
    full(database)
    assert take(database, 9).granted
    assert not take(database, 2).granted
    assert take(database, 1).granted
    assert not take(database, 1).granted


def test_what_is_refused_says_how_many_may_be_had_and_takes_nothing(database: Database) -> None:
    full(database)
    assert take(database, 7).granted
    assert take(database, 10) == Taken(granted=False, wait_ms=0, requests=3)
    assert take(database, 3).granted


def test_nothing_is_lost_by_asking_often(database: Database) -> None:
    """What flowed in is what time brought, to the last share, however it was cut into pieces."""
    take(database)
    for piece_ms in (107, 113, 131) * 5:
        left, refilled_ms = _row(database)
        set_back(database, piece_ms)
        assert take(database).granted
        after, at_ms = _row(database)
        brought = 591 * (at_ms - refilled_ms + piece_ms)
        assert after == min(left + brought, 10 * PERIOD_MS) - PERIOD_MS


def test_tokens_and_requests_are_taken_together_or_not_at_all(database: Database) -> None:
    limit = PaceLimit(requests_per_minute=600, tokens_per_minute=10_000)
    full(database, limit)
    assert take(database, 1, 900, limit).granted
    refused = take(database, 1, 200, limit)
    assert not refused.granted
    assert refused.wait_ms == 100 * PERIOD_MS // 9_001 + 1
    assert take(database, 9, 90, limit).granted


def test_a_request_of_more_tokens_than_the_bucket_holds_waits_for_a_full_one_and_owes_the_rest(
    database: Database,
) -> None:
    limit = PaceLimit(tokens_per_minute=10_000)
    full(database, limit)
    assert take(database, 1, 3_000, limit).granted
    refused = take(database, 1, 1, limit)
    assert not refused.granted
    assert refused.wait_ms > 2_000 * PERIOD_MS // 9_001 - 1_000


def test_numbers_of_a_large_account_fit(database: Database) -> None:
    limit = PaceLimit(requests_per_minute=10**9, tokens_per_minute=10**9)
    full(database, limit)
    assert take(database, 10**6, 10**8, limit).granted
    assert not take(database, 1, 10**6, limit).granted


def test_a_clock_that_was_set_back_lets_nothing_in_and_does_not_stop_the_bucket(database: Database) -> None:
    full(database)
    assert take(database, 10).granted
    assert not take(database).granted
    set_back(database, FROZEN_MS - 10 * PERIOD_MS)
    put(database, requests_left=PERIOD_MS)
    assert take(database).granted
    set_back(database, PERIOD_MS)
    assert take(database, 10).granted


def test_a_pause_holds_for_all_and_the_longer_one_stays(database: Database) -> None:
    full(database)
    for for_ms in (60_000, 5_000):
        with database.write() as connection:
            pace_rows.pause(connection, database, NAME, for_ms)
    refused = take(database)
    assert not refused.granted
    assert 50_000 < refused.wait_ms <= 60_000
    with database.read() as connection:
        assert [name for name, left_ms in pace_rows.pauses(connection, database).items() if left_ms > 50_000] == [NAME]
    put(database, paused_until_ms=1)
    assert take(database).granted
    with database.read() as connection:
        assert pace_rows.pauses(connection, database) == {}


def test_a_provider_without_a_limit_is_paused_too(database: Database) -> None:
    with database.write() as connection:
        pace_rows.pause(connection, database, "other#1", 1_000)
        pace_rows.pause(connection, database, "for ever", 10**15)
    with database.read() as connection:
        told = pace_rows.pauses(connection, database)
        assert 0 < told["other#1"] <= 1_000
        assert told["for ever"] <= pace_rows.LONGEST_PAUSE_MS


@pytest.mark.parametrize("threads", [8])
def test_many_who_ask_at_once_get_no_more_than_there_is(database: Database, threads: int) -> None:
    full(database)
    set_back(database, FROZEN_MS)
    granted: list[bool] = []
    together = threading.Barrier(threads, timeout=30)

    def work() -> None:
        together.wait()
        granted.extend(take(database).granted for _ in range(5))

    began = _now_ms(database)
    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    passed_ms = _now_ms(database) - began
    assert 10 <= sum(granted) <= 10 + 591 * passed_ms // PERIOD_MS + 1


def _now_ms(database: Database) -> int:
    with database.read() as connection:
        return int(connection.scalar(select(pace_rows._now(database))) or 0)


def _row(database: Database) -> tuple[int, int]:
    with database.read() as connection:
        row = connection.execute(select(paces.c.requests_left, paces.c.refilled_at_ms)).one()
    return row[0], row[1]
