"""Couriers at work: real receivers, both databases, several couriers at one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from tests.transport.raw_server import RawConnection
from tests.webhooks.receivers import SECRET, receiving, reply, serving

from waypost.ledger.threads import DatabaseThreads
from waypost.settings import WebhookSettings
from waypost.store.database import Database
from waypost.store.webhook_tables import webhook_deliveries
from waypost.webhooks import AddressRules, Limits, Sender, WebhookEvent, WebhookSecrets, verify
from waypost.webhooks.courier import Courier, Pace
from waypost.webhooks.log import Delivery, enqueue, get, take
from waypost.webhooks.schedule import BACKOFF_S, MOST_ATTEMPTS
from waypost.webhooks.senders import Senders
from waypost.webhooks.signing import derived_secret

NOW = 1_764_158_400_000
"""Gone by: what is queued then is due."""
QUICK = Pace(look_s=0.05, away_s=0.05, end_s=5.0)
SETTINGS = WebhookSettings.model_validate({"secret": SECRET})


class Clock:
    """Unix ms, that go on when the test says so."""

    def __init__(self) -> None:
        self.now_ms = NOW

    def __call__(self) -> int:
        return self.now_ms


@asynccontextmanager
async def working(database: Database, folder: Path, **options: Any) -> AsyncIterator[Courier]:
    """A courier at work, for the block."""
    threads = options.pop("threads", None) or DatabaseThreads(lambda: database)
    configured, settings = options.pop("configured", None), options.pop("settings", SETTINGS)
    limits = options.pop("limits", Limits(total_s=10))
    trusting = None if configured is None else (configured, Sender(AddressRules.trusting(), limits=limits))
    senders = Senders(Sender(AddressRules(["127.0.0.1"]), limits=limits), trusting)
    secrets = WebhookSecrets(settings, folder)
    courier = Courier(threads, senders, secrets, **{"pace": QUICK, "jitter": lambda: 1.0, **options})
    task = asyncio.create_task(courier.run())
    try:
        yield courier
    finally:
        await courier.close()
        await asyncio.wait_for(task, 10)
        threads.close()


def queue(database: Database, url: str | None, number: int = 1, **more: Any) -> list[str]:
    with database.write() as connection:
        event = WebhookEvent("job.succeeded", {"job_id": "job_1"}, NOW)
        told = {"project_id": "project_1", "now_ms": NOW, **more}
        return [enqueue(connection, event, url=url, **told) for _ in range(number)]


def stored(database: Database, message_id: str) -> Delivery:
    with database.read() as connection:
        return get(connection, message_id)


def was_tried(database: Database, message_id: str, times: int) -> bool:
    """So often, and what came of it is written."""
    found = stored(database, message_id)
    return found.attempts == times and found.holder is None


def count(database: Database, state: str) -> int:
    with database.read() as connection:
        query = select(func.count()).where(webhook_deliveries.c.state == state)
        return int(connection.scalar(query) or 0)


async def until(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not await asyncio.to_thread(holds):
            await a_moment()


async def a_moment() -> None:
    await asyncio.sleep(0.01)


async def test_a_message_arrives_signed_for_its_project(database: Database, tmp_path: Path) -> None:
    async with receiving() as receiver:
        (message_id,) = queue(database, receiver.url)
        async with working(database, tmp_path):
            await until(lambda: count(database, "delivered") == 1)
    (got,) = receiver.got
    assert verify(got.headers, got.body, derived_secret(SECRET, "project_1")) == message_id
    found = stored(database, message_id)
    assert (found.status, found.attempts, found.error_code, found.holder) == (204, 1, None, None)


async def test_the_address_in_the_settings_is_signed_for_by_the_installation(
    database: Database, tmp_path: Path
) -> None:
    """It is called whatever it is; callers' addresses are not, just because it is."""
    async with receiving() as receiver:
        address = receiver.url.replace("127.0.0.1", "localhost")
        (message_id,) = queue(database, None)
        (refused,) = queue(database, address)
        async with working(database, tmp_path, configured=address):
            await until(lambda: count(database, "delivered") == 1 and stored(database, refused).error_code is not None)
    (got,) = receiver.got
    assert verify(got.headers, got.body, derived_secret(SECRET, None)) == message_id
    assert stored(database, refused).error_code == "address_refused"


async def test_one_that_fails_is_tried_again_by_the_table_with_the_same_id_and_body(
    database: Database, tmp_path: Path
) -> None:
    clock = Clock()
    async with receiving(reply(500, b"oops"), reply(302), reply(200)) as receiver:
        (message_id,) = queue(database, receiver.url)
        async with working(database, tmp_path, clock_ms=clock) as courier:
            for number in (1, 2):
                await until(partial(was_tried, database, message_id, number))
                found = stored(database, message_id)
                assert found.next_attempt_at_ms == clock() + BACKOFF_S[number - 1] * 1000
                clock.now_ms = found.next_attempt_at_ms
                courier.wake()
            await until(lambda: count(database, "delivered") == 1)
    assert receiver.ids == [message_id] * 3
    assert len({got.body for got in receiver.got}) == 1
    assert stored(database, message_id).attempts == 3


async def test_a_receiver_that_is_gone_is_left_in_peace_and_one_that_never_takes_it_fails(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    async with receiving(reply(410)) as gone, receiving(reply(500, b"no, never")) as never:
        (first,), (second,) = queue(database, gone.url), queue(database, never.url)
        with caplog.at_level(logging.INFO):
            async with working(database, tmp_path, clock_ms=clock) as courier:
                for number in range(1, MOST_ATTEMPTS):
                    await until(partial(was_tried, database, second, number))
                    await until(partial(was_tried, database, first, 1))
                    clock.now_ms += 43_200_000
                    courier.wake()
                await until(lambda: count(database, "failed") == 1)
    assert (stored(database, first).state, len(gone.got)) == ("gone", 1)
    found = stored(database, second)
    assert (found.attempts, len(never.got), found.reply) == (MOST_ATTEMPTS, MOST_ATTEMPTS, "no, never")
    assert f"({second}) is failed after try {MOST_ATTEMPTS}: status_500" in caplog.text
    assert "s3cret" not in caplog.text
    assert "127.0.0.1" not in caplog.text


async def test_a_receiver_that_asks_for_a_longer_wait_gets_it(database: Database, tmp_path: Path) -> None:
    clock = Clock()
    async with receiving(reply(503, headers="Retry-After: 90\r\n")) as receiver:
        (message_id,) = queue(database, receiver.url)
        async with working(database, tmp_path, clock_ms=clock):
            await until(lambda: stored(database, message_id).status == 503)
    assert stored(database, message_id).next_attempt_at_ms == NOW + 90_000


async def test_a_host_that_hangs_keeps_nobody_else_waiting_and_is_asked_by_few_at_once(
    database: Database, tmp_path: Path
) -> None:
    at_once, most = 0, 0
    release = asyncio.Event()

    async def slow(connection: RawConnection) -> None:
        nonlocal at_once, most
        await connection.request()
        at_once += 1
        most = max(most, at_once)
        await release.wait()
        at_once -= 1
        await connection.send(reply(204, headers="Connection: close\r\n"))

    async with serving(slow) as hanging, receiving() as receiver:
        queue(database, f"{hanging.url}/x", 12)
        queue(database, receiver.url, 40)
        pace = Pace(most_at_once=8, per_host=3, look_s=0.05)
        async with working(database, tmp_path, pace=pace):
            await until(lambda: count(database, "delivered") == 40)
            assert len(set(receiver.ids)) == 40
            release.set()
            await until(lambda: count(database, "delivered") == 52)
    assert most == 3


async def test_two_couriers_at_one_database_send_each_message_once(database: Database, tmp_path: Path) -> None:
    async with receiving() as one, receiving() as another:
        ids = [*queue(database, one.url, 40), *queue(database, another.url, 40)]
        async with working(database, tmp_path), working(database, tmp_path):
            await until(lambda: count(database, "delivered") == 80)
    assert sorted([*one.ids, *another.ids]) == sorted(ids)


async def test_what_another_process_left_is_sent_when_its_lease_is_over(database: Database, tmp_path: Path) -> None:
    clock = Clock()
    async with receiving() as receiver:
        (message_id,) = queue(database, receiver.url)
        with database.write() as connection:
            assert take(connection, [message_id], NOW, holder="dead", lease_ms=1000)
        async with working(database, tmp_path, clock_ms=clock) as courier:
            (other,) = queue(database, receiver.url)
            courier.wake()
            await until(lambda: count(database, "delivered") == 1)
            assert receiver.ids == [other]
            clock.now_ms += 1000
            courier.wake()
            await until(lambda: count(database, "delivered") == 2)
    assert receiver.ids == [other, message_id]
    assert stored(database, message_id).attempts == 2


async def test_one_that_is_told_to_end_lets_others_have_what_it_could_not_finish(
    database: Database, tmp_path: Path
) -> None:
    begun = asyncio.Event()

    async def hang(connection: RawConnection) -> None:
        await connection.request()
        begun.set()
        await connection.until_client_leaves()

    async with serving(hang) as server:
        (message_id,) = queue(database, f"{server.url}/x")
        async with working(database, tmp_path, pace=Pace(look_s=0.05, end_s=0.05)):
            await asyncio.wait_for(begun.wait(), 10)
    found = stored(database, message_id)
    assert (found.state, found.holder, found.attempts) == ("pending", None, 0)


class Hesitant(DatabaseThreads):
    """Tells of what is committed when it is allowed to."""

    def __init__(self, database: Database) -> None:
        super().__init__(lambda: database)
        self.committed, self.tell = asyncio.Event(), asyncio.Event()

    async def write(self, work: Any) -> Any:
        result = await super().write(work)
        self.committed.set()
        await self.tell.wait()
        return result


async def test_one_that_is_told_to_end_while_it_takes_something_lets_others_have_that(
    database: Database, tmp_path: Path
) -> None:
    async def hang(connection: RawConnection) -> None:
        await connection.request()
        await connection.until_client_leaves()

    threads = Hesitant(database)
    async with serving(hang) as server:
        (message_id,) = queue(database, f"{server.url}/x")
        pace = Pace(look_s=0.05, end_s=0.05)
        async with working(database, tmp_path, pace=pace, threads=threads) as courier:
            await asyncio.wait_for(threads.committed.wait(), 10)
            ending = asyncio.create_task(courier.close())
            await asyncio.sleep(0)
            threads.tell.set()
            await asyncio.wait_for(ending, 10)
            found = stored(database, message_id)
            assert (found.state, found.holder, found.attempts) == ("pending", None, 0)


async def test_a_secret_that_cannot_be_read_is_told_and_nothing_goes_out_unsigned(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = WebhookSettings(secret_file=tmp_path / "missing")
    async with receiving() as receiver:
        (message_id,) = queue(database, receiver.url)
        async with working(database, tmp_path, settings=settings):
            await until(lambda: stored(database, message_id).error_code is not None)
        assert receiver.got == []
    assert stored(database, message_id).error_code == "secret_unusable"
    assert str(tmp_path / "missing") in caplog.text


async def test_a_secret_of_one_machine_beside_a_server_is_warned_of(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with receiving() as receiver:
        queue(database, receiver.url)
        async with working(database, tmp_path, settings=WebhookSettings()):
            await until(lambda: count(database, "delivered") == 1)
    assert ("Set webhooks.secret" in caplog.text) is not database.is_sqlite


async def test_messages_wait_for_a_database_that_is_away_and_are_not_sent_twice_for_it(
    postgres: Any, tmp_path: Path
) -> None:
    """It goes away while a receiver is answering: what came of that is written when it is back."""
    from waypost.store.migrate import upgrade

    database = Database(postgres.create())
    upgrade(database)
    asked, answer = asyncio.Event(), asyncio.Event()
    got: list[bytes] = []

    async def slow(connection: RawConnection) -> None:
        got.append(await connection.request())
        asked.set()
        await answer.wait()
        await connection.send(reply(204, headers="Connection: close\r\n"))

    async with serving(slow) as server:
        (message_id,) = queue(database, f"{server.url}/x")
        threads = DatabaseThreads(lambda: database)
        async with working(database, tmp_path, threads=threads):
            await asyncio.wait_for(asked.wait(), 10)
            await asyncio.to_thread(postgres.stop)
            answer.set()
            await until(lambda: threads.was_away(60))
            await asyncio.to_thread(postgres.start)
            await until(lambda: count(database, "delivered") == 1, 60)
    assert len(got) == 1
    assert stored(database, message_id).attempts == 1
    database.close()
