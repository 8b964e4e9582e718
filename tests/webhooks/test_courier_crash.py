"""Couriers in processes of their own that are killed while they send: nothing is lost, and little comes twice."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.transport.raw_server import RawConnection
from tests.webhooks.receivers import SECRET, Got, reply, serving
from tests.webhooks.test_courier import count, queue, until

from waypost.store.database import Database
from waypost.webhooks import verify
from waypost.webhooks.signing import derived_secret

LEASE_MS = 6_000
PER_HOST = 4
MESSAGES = 60
ROOT = Path(__file__).parents[2]


class Gate:
    """A receiver that answers so many messages, and then none until it is opened."""

    def __init__(self, before: int) -> None:
        self.before = before
        self.got: list[Got] = []
        self.unanswered: list[str] = []
        self.opened = asyncio.Event()

    async def answer(self, connection: RawConnection) -> None:
        while True:
            got = Got.of(await connection.request())
            self.got.append(got)
            if len(self.got) > self.before and not self.opened.is_set():
                self.unanswered.append(got.headers["webhook-id"])
                await self.opened.wait()
            await connection.send(reply(204))

    @property
    def ids(self) -> list[str]:
        return [got.headers["webhook-id"] for got in self.got]


@contextmanager
def couriers(database: Database, number: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many, for the block."""
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.webhooks.courier_process", url, SECRET, str(LEASE_MS)]
    with ExitStack() as stack:
        processes = [stack.enter_context(subprocess.Popen(command, cwd=ROOT)) for _ in range(number)]
        try:
            yield processes
        finally:
            for process in processes:
                process.kill()


@pytest.mark.fault
@pytest.mark.timeout(240)
async def test_a_courier_that_is_killed_in_the_middle_loses_nothing(database: Database) -> None:
    """Its messages are sent by the other one when its lease is over; only what nobody had noted comes twice."""
    gate = Gate(before=20)
    async with serving(gate.answer) as server:
        ids = queue(database, f"{server.url}/x", MESSAGES)
        with couriers(database, 1) as first:
            await until(lambda: len(gate.unanswered) == PER_HOST, 60)
            first[0].kill()
            first[0].wait()
            with couriers(database, 1):
                gate.opened.set()
                await until(lambda: count(database, "delivered") == MESSAGES, 60)
    assert set(gate.ids) == set(ids)
    times = Counter(gate.ids)
    twice = {message_id for message_id, number in times.items() if number > 1}
    assert max(times.values()) == 2
    assert twice >= set(gate.unanswered)
    # Besides those that were on their way, at most as many whose answer had just come.
    assert len(twice) <= 2 * PER_HOST
    for got in gate.got:
        verify(got.headers, got.body, derived_secret(SECRET, "project_1"))


@pytest.mark.fault
@pytest.mark.timeout(240)
async def test_couriers_that_are_killed_again_and_again_get_it_all_delivered(database: Database) -> None:
    gate = Gate(before=MESSAGES * 100)
    async with serving(gate.answer) as server:
        ids = queue(database, f"{server.url}/x", MESSAGES)
        for share in (10, 25, 40):
            with couriers(database, 2):
                await until(lambda: len(set(gate.ids)) >= share, 60)  # noqa: B023
        with couriers(database, 2):
            await until(lambda: count(database, "delivered") == MESSAGES, 60)
    assert set(gate.ids) == set(ids)
    # Of each of six that died, no more than it had on its way.
    assert len(gate.ids) - MESSAGES <= 6 * 2 * PER_HOST
