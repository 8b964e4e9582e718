"""Claims about answers by idempotency key that all processes share, on both databases."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from sqlalchemy import delete, func, select, update
from tests.databases import PostgresServer

from waypost.errors import AnswerNotKept, AnswerUnderWay, DatabaseUnavailable, IdempotencyConflict
from waypost.ledger.durable_answers import Claim, DurableAnswers, Ending, KeptAnswer
from waypost.ledger.threads import DatabaseThreads
from waypost.store.database import Database
from waypost.store.migrate import upgrade
from waypost.store.tables import idempotency_answers

PATH, DIGEST, OTHER = "/v1/messages", b"d" * 32, b"o" * 32
ANSWER = KeptAnswer(200, ((b"content-type", b"application/json"), (b"x-odd", b"\xe4")), b"\x00\xff body")
MOST_BYTES = 1_000_000


@dataclass
class Process:
    """One process's part, as far as it is in memory."""

    threads: DatabaseThreads
    answers: DurableAnswers

    async def claim(self, key: str = "k", digest: bytes = DIGEST, project: str = "p") -> Claim | KeptAnswer:
        return await self.answers.claim(project, PATH, key, digest)

    async def claimed(self, key: str = "k") -> Claim:
        claim = await self.claim(key)
        assert isinstance(claim, Claim)
        return claim

    def close(self) -> None:
        self.answers.close()
        self.threads.close()


def process(database: Database, *, ttl_s: float = 60, lease_s: float = 30, most_bytes: int = MOST_BYTES) -> Process:
    threads = DatabaseThreads(lambda: database)
    return Process(threads, DurableAnswers(threads, ttl_s, most_bytes, lease_s=lease_s))


@pytest.fixture
async def here(database: Database) -> AsyncIterator[Process]:
    made = process(database)
    yield made
    made.close()


@pytest.fixture
async def there(database: Database) -> AsyncIterator[Process]:
    made = process(database)
    yield made
    made.close()


def rows(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(idempotency_answers)) or 0


async def becomes_claimed(process: Process, limit_s: float = 10.0) -> Claim | KeptAnswer:
    """What a caller gets who comes again for as long as somebody else is at work."""
    end = time.monotonic() + limit_s
    while True:
        try:
            return await process.claim()
        except AnswerUnderWay:
            assert time.monotonic() < end
            await asyncio.sleep(0.02)


async def test_the_second_request_gets_the_first_one_s_answer_anywhere(here: Process, there: Process) -> None:
    """To the byte, headers that are no ASCII too."""
    claim = await here.claimed()
    await claim.settle(Ending("kept", ANSWER))
    assert await there.claim() == ANSWER
    assert await here.claim() == ANSWER
    assert await there.answers.find("p", PATH, "k", DIGEST) == ANSWER


async def test_of_many_at_once_one_works(here: Process, there: Process) -> None:
    async def ask(process: Process) -> Claim | KeptAnswer | AnswerUnderWay:
        try:
            return await process.claim()
        except AnswerUnderWay as error:
            return error

    found = await asyncio.gather(*(ask(process) for process in (here, there) * 20))
    assert sum(isinstance(each, Claim) for each in found) == 1
    assert sum(isinstance(each, AnswerUnderWay) for each in found) == 39


async def test_a_request_under_way_is_told_with_a_wait(here: Process, there: Process) -> None:
    await here.claimed()
    with pytest.raises(AnswerUnderWay) as caught:
        await there.claim()
    assert (caught.value.http_status, caught.value.retry_after_s) == (409, 1.0)
    with pytest.raises(AnswerUnderWay):
        await there.answers.find("p", PATH, "k", DIGEST)


@pytest.mark.parametrize("ended", [False, True])
async def test_another_body_is_a_conflict(here: Process, there: Process, ended: bool) -> None:
    claim = await here.claimed()
    if ended:
        await claim.settle(Ending("kept", ANSWER))
    with pytest.raises(IdempotencyConflict):
        await there.claim(digest=OTHER)
    with pytest.raises(IdempotencyConflict):
        await there.answers.find("p", PATH, "k", OTHER)


async def test_keys_of_another_project_path_or_name_are_others(here: Process, there: Process) -> None:
    await here.claimed()
    assert isinstance(await there.claim(project="q", digest=OTHER), Claim)
    assert isinstance(await there.answers.claim("p", "/v1/embeddings", "k", OTHER), Claim)
    assert isinstance(await there.claim("k2", OTHER), Claim)


async def test_no_key_is_written_down(here: Process, database: Database) -> None:
    await here.claimed("a-secret-of-the-caller-s")
    with database.read() as connection:
        row = connection.execute(select(idempotency_answers)).one()
    assert "a-secret" not in repr(tuple(row))


async def test_a_key_that_was_freed_can_be_had_again(here: Process, there: Process, database: Database) -> None:
    claim = await here.claimed()
    await claim.settle(Ending("free"))
    assert rows(database) == 0
    await there.claimed()


async def test_a_key_whose_answer_is_too_large_stays_without_it(here: Process, there: Process) -> None:
    claim = await here.claimed()
    await claim.settle(Ending("bare"))
    for ask in (there.claim(), there.answers.find("p", PATH, "k", DIGEST)):
        with pytest.raises(AnswerNotKept):
            await ask


async def test_only_the_first_end_counts(here: Process, there: Process) -> None:
    claim = await here.claimed()
    await claim.settle(Ending("kept", ANSWER))
    await claim.settle(Ending("free"))
    assert await there.claim() == ANSWER


async def test_nothing_is_known_of_a_key_that_never_came(here: Process) -> None:
    assert await here.answers.find("p", PATH, "k", DIGEST) is None


async def test_an_answer_is_kept_for_its_time(database: Database) -> None:
    first = process(database, ttl_s=0.3, lease_s=0.2)
    claim = await first.claimed()
    await claim.settle(Ending("kept", ANSWER))
    assert await first.claim() == ANSWER
    await asyncio.sleep(0.35)
    assert await first.answers.find("p", PATH, "k", DIGEST) is None
    assert isinstance(await first.claim(digest=OTHER), Claim)
    first.close()


async def test_a_long_answer_keeps_its_key_beyond_the_lease(database: Database) -> None:
    """Also beyond the time that answers are kept."""
    slow, other = process(database, ttl_s=0.2, lease_s=0.3), process(database)
    claim = await slow.claimed()
    for _ in range(6):
        await asyncio.sleep(0.2)
        with pytest.raises(AnswerUnderWay):
            await other.claim()
    await claim.settle(Ending("kept", ANSWER))
    assert await other.claim() == ANSWER
    slow.close()
    other.close()


CHILD = """
import asyncio, sys
from sqlalchemy.engine import make_url
from waypost.ledger.durable_answers import DurableAnswers
from waypost.ledger.threads import DatabaseThreads
from waypost.store.database import Database

async def main():
    database = Database(make_url(sys.argv[1]))
    answers = DurableAnswers(DatabaseThreads(lambda: database), 60, 1000, lease_s=1.0)
    claim = await answers.claim("p", "/v1/messages", "k", b"d" * 32)
    if sys.argv[2] == "billed":
        claim.note_billed()
        await asyncio.sleep(0.3)
    print("claimed", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("billed", [False, True], ids=["unbilled", "billed"])
async def test_the_key_of_a_process_that_was_killed_is_free_unless_it_may_have_cost(
    here: Process, database: Database, billed: bool
) -> None:
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", CHILD, url, "billed" if billed else "unbilled"]
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert await child.stdout.readline() == b"claimed\n"
        # It is renewed for as long as the process lives.
        await asyncio.sleep(1.3)
        with pytest.raises(AnswerUnderWay):
            await here.claim()
    finally:
        child.kill()
        await child.wait()
    if billed:
        with pytest.raises(AnswerNotKept):
            await becomes_claimed(here)
    else:
        assert isinstance(await becomes_claimed(here), Claim)


async def test_a_process_that_stood_still_does_not_overwrite_another_s_answer(
    here: Process, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    frozen = process(database)
    claim = await frozen.claimed()
    with database.write() as connection:
        connection.execute(update(idempotency_answers).values(lease_until_ms=1))
    second = await here.claimed()
    await second.settle(Ending("kept", ANSWER))
    await claim.settle(Ending("kept", KeptAnswer(200, (), b"late")))
    assert "had gone to another process" in caplog.text
    assert await here.claim() == ANSWER
    frozen.close()


async def test_an_answer_that_begins_is_noted_and_a_quick_one_needs_no_note(here: Process, database: Database) -> None:
    def billed() -> bool:
        with database.read() as connection:
            return bool(connection.scalar(select(idempotency_answers.c.billed)))

    slow = await here.claimed()
    slow.note_billed()
    slow.note_billed()
    end = time.monotonic() + 5
    while not billed():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    await slow.settle(Ending("free"))
    quick = await here.claimed()
    quick.note_billed()
    await quick.settle(Ending("free"))
    await asyncio.sleep(0.1)
    assert rows(database) == 0


async def test_rows_that_retention_took_are_free(here: Process, there: Process, database: Database) -> None:
    claim = await here.claimed()
    await claim.settle(Ending("kept", ANSWER))
    with database.write() as connection:
        connection.execute(delete(idempotency_answers))
    await there.claimed()


async def test_while_the_database_is_away_a_new_key_is_refused_and_an_answer_waits_for_it(
    postgres: PostgresServer,
) -> None:
    database, again = Database(postgres.url), Database(postgres.url)
    upgrade(database)
    here, there = process(database, lease_s=0.6), process(again)
    claim = await here.claimed()
    # Not killed: this server confirms before it has written, and would forget the claims.
    postgres.stop()
    await claim.settle(Ending("kept", ANSWER))
    with pytest.raises(DatabaseUnavailable):
        await here.claim("k2")
    with pytest.raises(DatabaseUnavailable):
        await there.claim()
    postgres.start()
    end = time.monotonic() + 20
    found: Claim | KeptAnswer | None = None
    while found is None:
        assert time.monotonic() < end
        try:
            found = await there.answers.find("p", PATH, "k", DIGEST)
        except (DatabaseUnavailable, AnswerUnderWay):
            found = None
        await asyncio.sleep(0.05)
    assert found == ANSWER
    for each in (here, there):
        each.close()
    database.close()
    again.close()


async def test_what_waits_for_the_database_is_bounded(postgres: PostgresServer) -> None:
    """Beyond the bound the key is kept without its answer."""
    database = Database(postgres.url)
    upgrade(database)
    here = process(database, lease_s=5.0, most_bytes=100)
    claims = [await here.claimed(key) for key in ("small", "large")]
    # Not killed: this server confirms before it has written, and would forget the claims.
    postgres.stop()
    for claim, size in zip(claims, (50, 90), strict=True):
        await claim.settle(Ending("kept", KeptAnswer(200, (), b"x" * size)))
    postgres.start()
    end = time.monotonic() + 20
    while True:
        assert time.monotonic() < end
        try:
            small = await here.claim("small")
            break
        except (DatabaseUnavailable, AnswerUnderWay):
            await asyncio.sleep(0.05)
    assert small == KeptAnswer(200, (), b"x" * 50)
    while True:
        assert time.monotonic() < end
        try:
            await here.claim("large")
        except AnswerNotKept:
            break
        except (DatabaseUnavailable, AnswerUnderWay):
            await asyncio.sleep(0.05)
    here.close()
    database.close()
