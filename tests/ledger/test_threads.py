"""Claims about transactions that a request waits for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, func, insert, select
from tests.databases import PostgresServer

from waypost.errors import DatabaseUnavailable, InvalidRequest
from waypost.ledger import threads as module
from waypost.ledger.threads import DatabaseThreads
from waypost.store.database import Database
from waypost.store.migrate import upgrade
from waypost.store.tables import revisions


@pytest.fixture
def threads(database: Database) -> Iterator[DatabaseThreads]:
    made = DatabaseThreads(lambda: database)
    yield made
    made.close()


def add(connection: Connection, _: Database) -> str:
    connection.execute(insert(revisions).values(name="keys", number=1))
    return threading.current_thread().name


def rows(database: Database) -> int:
    with database.read() as connection:
        return connection.scalar(select(func.count()).select_from(revisions)) or 0


async def test_what_was_written_is_committed_by_another_thread(threads: DatabaseThreads, database: Database) -> None:
    assert (await threads.write(add)).startswith("database-")
    assert rows(database) == 1
    count = await threads.read(lambda connection, _: connection.scalar(select(func.count()).select_from(revisions)))
    assert count == 1


async def test_what_the_work_refuses_is_raised_and_rolled_back(threads: DatabaseThreads, database: Database) -> None:
    def refuse(connection: Connection, whole: Database) -> None:
        add(connection, whole)
        raise InvalidRequest("no")

    with pytest.raises(InvalidRequest):
        await threads.write(refuse)
    assert rows(database) == 0


async def test_the_event_loop_goes_on_meanwhile(threads: DatabaseThreads) -> None:
    let_go = threading.Event()

    def wait(_: Connection, __: Database) -> bool:
        return let_go.wait(10)

    waiting = asyncio.create_task(threads.read(wait))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    let_go.set()
    assert await waiting


@pytest.mark.parametrize("cancelled", [False, True])
async def test_what_was_given_up_is_rolled_back(database: Database, cancelled: bool) -> None:
    """Nobody who was told that nothing was written finds it written later."""
    threads = DatabaseThreads(lambda: database, within_s=0.3)
    let_go, has_ended = threading.Event(), threading.Event()

    def slow(connection: Connection, whole: Database) -> None:
        add(connection, whole)
        let_go.wait(10)
        has_ended.set()

    work = asyncio.create_task(threads.write(slow))
    await asyncio.sleep(0.1)
    if cancelled:
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
    else:
        with pytest.raises(DatabaseUnavailable):
            await work
    let_go.set()
    assert await asyncio.to_thread(has_ended.wait, 10)
    await asyncio.sleep(0.3)
    assert rows(database) == 0
    threads.close()


async def test_after_no_answer_nobody_waits_for_a_while(database: Database) -> None:
    now = [100.0]
    threads = DatabaseThreads(lambda: database, within_s=0.2, clock=lambda: now[0])
    hanging = threading.Event()
    with pytest.raises(DatabaseUnavailable):
        await threads.read(lambda *_: hanging.wait(10))
    began = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        await threads.write(add)
    assert time.monotonic() - began < 0.1
    assert threads.was_away(0)
    hanging.set()
    now[0] += module.REST_S + 1
    assert not threads.was_away(0.5)
    assert threads.was_away(5)
    await threads.write(add)
    threads.close()


async def test_a_statement_that_fails_is_no_fault_of_the_caller_s_and_no_outage(
    threads: DatabaseThreads, caplog: pytest.LogCaptureFixture
) -> None:
    await threads.write(add)
    with pytest.raises(DatabaseUnavailable) as caught:
        await threads.write(add)
    assert "keys" not in str(caught.value)
    assert "IntegrityError" in caplog.text
    assert not threads.was_away(60)


async def test_too_many_at_once_are_refused(threads: DatabaseThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 6)
    let_go = threading.Event()
    waiting = [asyncio.create_task(threads.read(lambda *_: let_go.wait(10))) for _ in range(6)]
    await asyncio.sleep(0.05)
    with pytest.raises(DatabaseUnavailable):
        await threads.write(add)
    let_go.set()
    assert all(await asyncio.gather(*waiting))
    await threads.write(add)


async def test_a_database_that_cannot_be_opened_is_away_until_it_can(database: Database) -> None:
    can_open = False

    def opened() -> Database:
        if not can_open:
            raise OSError("no such place")
        return database

    threads = DatabaseThreads(opened)
    with pytest.raises(DatabaseUnavailable):
        await threads.write(add)
    can_open = True
    await threads.write(add)
    threads.close()
    with pytest.raises(DatabaseUnavailable):
        await threads.write(add)


async def test_a_frozen_database_holds_a_request_up_for_the_bound_only(postgres: PostgresServer) -> None:
    database = Database(postgres.url)
    upgrade(database)
    threads = DatabaseThreads(lambda: database, within_s=0.5)
    await threads.read(lambda connection, _: connection.scalar(select(1)))
    postgres.freeze()
    began = time.monotonic()
    found: list[Any] = await asyncio.gather(*(threads.write(add) for _ in range(20)), return_exceptions=True)
    assert time.monotonic() - began < 5
    assert all(isinstance(each, DatabaseUnavailable) for each in found)
    postgres.thaw()
    await asyncio.sleep(module.REST_S + 0.5)
    assert await threads.read(lambda connection, _: connection.scalar(select(1))) == 1
    assert rows(database) == 0
    threads.close()
    database.close()
