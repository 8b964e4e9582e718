"""jobs/pace.py: who waits, who goes first, and what is told to other workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from waypost.jobs import pace_rows
from waypost.jobs.pace import Pace, Paced
from waypost.jobs.pace_line import Line
from waypost.jobs.pace_rows import PERIOD_MS, PaceLimit
from waypost.jobs.pace_settings import paced
from waypost.settings import Settings
from waypost.store.database import Database
from waypost.store.job_tables import provider_paces as paces

FAST = Paced(PaceLimit(requests_per_minute=60_000), ("#1",))
SLOW = Paced(PaceLimit(requests_per_minute=6), ("#1",))


@pytest.fixture
async def made(database: Database) -> AsyncIterator[list[Pace]]:
    paces_made: list[Pace] = []
    yield paces_made
    for each in paces_made:
        await each.close()


def pace(database: Database, made: list[Pace], **providers: Paced) -> Pace:
    each = Pace(lambda: database, providers)
    made.append(each)
    return each


def fill(database: Database, name: str, limit: PaceLimit) -> None:
    with database.write() as connection:
        pace_rows.take(connection, database, name, limit, 1, 0)
        past = paces.c.refilled_at_ms - PERIOD_MS
        connection.execute(update(paces).where(paces.c.name == name).values(refilled_at_ms=past))


async def blocked(waiting: asyncio.Future[Any]) -> bool:
    """Is it still waiting after everybody had a turn, and the database too?"""
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    return not done


async def test_the_first_request_of_a_turn_was_waited_for_and_a_retry_waits(
    database: Database, made: list[Pace]
) -> None:
    fill(database, "p#1", SLOW.limit)
    turn = await pace(database, made, p=SLOW).take("p")
    assert turn.preferred_key("p") == "#1"
    await turn.enter("p", "#1", 100)
    again = asyncio.ensure_future(turn.enter("p", "#1", 100))
    assert await blocked(again)
    again.cancel()


async def test_a_provider_without_a_limit_keeps_nobody(database: Database, made: list[Pace]) -> None:
    turn = await pace(database, made).take("p", 10**9)
    for _ in range(3):
        await turn.enter("p", "", 10**9)
    with database.read() as connection:
        assert connection.execute(select(paces)).all() == [], "nothing was written"


async def test_a_pause_that_one_worker_is_told_keeps_all(database: Database, made: list[Pace]) -> None:
    one, other = pace(database, made), pace(database, made)
    turn = await one.take("p")
    turn.limited("p", "", 60)
    await one.close()
    waiting = asyncio.ensure_future(other.take("p"))
    assert await blocked(waiting)
    waiting.cancel()
    await asyncio.wait_for(other.take("q"), 5)


async def test_a_pause_ends(database: Database, made: list[Pace]) -> None:
    one = pace(database, made)
    one.limited("p", "", 0.05)
    await asyncio.wait_for(one.take("p"), 10)


async def test_the_key_is_taken_for_which_fewest_wait_and_which_is_not_paused(
    database: Database, made: list[Pace]
) -> None:
    both = replace(SLOW, keys=("#1", "#2"))
    each = pace(database, made, p=both)
    first = asyncio.ensure_future(each.take("p"))
    async with asyncio.timeout(10):
        while each.best_key("p") != "#2":  # noqa: ASYNC110 - the line has no event for it
            await asyncio.sleep(0.01)
    each.limited("p", "#2", 60)
    assert each.best_key("p") == "#1"
    first.cancel()


async def test_who_is_urgent_goes_first(database: Database) -> None:
    fill(database, "p#1", SLOW.limit)
    line = Line("p#1", SLOW.limit, lambda: database)
    normal = asyncio.ensure_future(line.wait(0))
    urgent = asyncio.ensure_future(line.wait(0, urgent=True))
    await asyncio.wait({normal, urgent}, return_when=asyncio.FIRST_COMPLETED)
    assert urgent.done()
    assert not normal.done()
    assert line.waiting == 1
    normal.cancel()
    line.close()


async def test_those_who_wait_together_are_granted_in_few_transactions(database: Database) -> None:
    fill(database, "p#1", FAST.limit)
    asked: list[int] = []

    class Counted(Line):
        def _take(self, requests: int, tokens: int) -> pace_rows.Taken:
            asked.append(requests)
            return super()._take(requests, tokens)

    line = Counted("p#1", FAST.limit, lambda: database)
    await asyncio.wait_for(asyncio.gather(*(line.wait(0) for _ in range(200))), 30)
    assert sum(asked) >= 200
    assert len(asked) <= 20


async def test_tokens_that_were_used_beyond_those_taken_are_taken_later(database: Database) -> None:
    limit = PaceLimit(tokens_per_minute=10_000)
    fill(database, "p#1", limit)
    line = Line("p#1", limit, lambda: database)
    await line.wait(100)
    line.owe(800)
    await asyncio.wait_for(line.wait(50), 10)
    with database.read() as connection:
        left = connection.scalar(select(paces.c.tokens_left)) or 0
    assert left < 100 * PERIOD_MS
    line.close()


def test_the_limits_and_the_keys_are_those_of_the_settings() -> None:
    settings = Settings.model_validate(
        {
            "providers": {
                "one": {"kind": "openai", "api_key": "k1", "requests_per_minute": 60},
                "two": {"kind": "anthropic", "api_keys": ["k1", "k2", "k1"], "tokens_per_minute": 1000},
                "none": {"kind": "openai_compatible", "base_url": "http://127.0.0.1:1"},
                "local": {"kind": "llama_cpp"},
            }
        }
    )
    assert paced(settings) == {
        "one": Paced(PaceLimit(60), ("#1",)),
        "two": Paced(PaceLimit(None, 1000), ("#1", "#2")),
        "none": Paced(PaceLimit(), ("",)),
    }
