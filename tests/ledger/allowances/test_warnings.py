"""Warnings of budgets: told once for each share, by whichever process, over restarts; and how the webhook is told."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from tests.ledger.allowances.conftest import DAY, Clock, Makers, account, post

from waypost.errors import BudgetExceeded
from waypost.ledger.account import Limits
from waypost.ledger.allowances.claims import Claims
from waypost.ledger.allowances.warnings import BudgetWarning, BudgetWarnings
from waypost.ledger.allowances.webhook import WAITS_S, Webhook
from waypost.store.address import sqlite_url
from waypost.store.database import Database


@dataclass
class Inbox:
    """Who is told."""

    told: list[BudgetWarning] = field(default_factory=list)

    async def __call__(self, warning: BudgetWarning) -> None:
        self.told.append(warning)

    @property
    def shares(self) -> list[float]:
        return [each.share for each in self.told]


async def arrived(warnings: BudgetWarnings) -> None:
    """Wait for those on their way."""
    await asyncio.gather(*warnings._tasks)


async def test_each_share_is_told_once_in_each_window(makers: Makers, clock: Clock) -> None:
    inbox = Inbox()
    warnings = BudgetWarnings(None, inbox)
    allowances = makers.sole(warnings)
    key = account(Limits(daily_budget_micro_usd=100, warn_at=(0.5, 0.8, 1.0)))
    for cost in (49, 1, 29, 0, 21):
        (await allowances.reserve(key, max(1, cost))).settle(cost)
    await arrived(warnings)
    assert inbox.shares == [0.5, 0.8, 1.0]
    clock.advance(24 * 3600)
    (await allowances.reserve(key, 60)).settle(60)
    await arrived(warnings)
    assert inbox.shares[3:] == [0.5]
    told = inbox.told[-1].fields()
    assert told["text"] == (
        'The daily budget of the key "web" has reached 50%: 0.00006 of 0.0001 USD are spent. '
        "It resets at 2026-11-28T00:00:00Z."
    )
    assert (told["window"], told["spent_micro_usd"], told["limit_micro_usd"]) == ("2026-11-27", 60, 100)


async def test_that_a_budget_begins_to_refuse_is_told_once_and_not_while_it_is_only_reserved(makers: Makers) -> None:
    inbox = Inbox()
    warnings = BudgetWarnings(None, inbox)
    allowances, key = makers.sole(warnings), account(Limits(monthly_budget_micro_usd=100))
    reservation = await allowances.reserve(key, 100)
    with pytest.raises(BudgetExceeded):
        await allowances.reserve(key, 50)
    reservation.settle(70)
    assert not inbox.told
    for _ in range(5):
        with pytest.raises(BudgetExceeded):
            await allowances.reserve(key, 50)
    await arrived(warnings)
    (warning,) = inbox.told
    assert warning.fields()["event"] == "budget_refuses"
    assert "refuses calls that may cost more than is left: 0.00007 of 0.0001 USD are spent" in warning.sentence


async def test_a_budget_without_shares_warns_of_nothing(makers: Makers) -> None:
    inbox = Inbox()
    warnings = BudgetWarnings(None, inbox)
    allowances, key = makers.sole(warnings), account(Limits(daily_budget_micro_usd=100, warn_at=()))
    (await allowances.reserve(key, 100)).settle(100)
    with pytest.raises(BudgetExceeded):
        await allowances.reserve(key, 1)
    await arrived(warnings)
    assert not inbox.told


async def test_of_several_processes_and_after_a_restart_one_tells(makers: Makers, database: Database) -> None:
    """Two holders cross the same share; a process that starts later finds it crossed."""
    inbox = Inbox()
    key = account(Limits(daily_budget_micro_usd=100, warn_at=(0.5,)))
    subject = f"key:{key.key_id}"
    crossing = []
    for name in ("a", "b"):
        warnings = BudgetWarnings(Claims(makers.threads()), inbox)
        crossing.append((makers.holder(name, warnings), warnings))
    post(database, "before", {(subject, DAY): 60})
    for holder, _ in crossing:
        (await holder.allowances.reserve(key, 1)).settle(1)
    for _, warnings in crossing:
        await arrived(warnings)
    assert inbox.shares == [0.5]
    late = BudgetWarnings(Claims(makers.threads()), inbox)
    (await makers.sole(late).reserve(key, 1)).settle(1)
    await arrived(late)
    assert inbox.shares == [0.5]


async def test_while_the_database_is_away_it_is_told_rather_twice_than_never(tmp_path: Any, clock: Clock) -> None:
    makers = Makers(Database(sqlite_url(tmp_path / "nowhere" / "waypost.db")), clock)
    inbox = Inbox()
    for _ in range(2):
        warnings = BudgetWarnings(Claims(makers.threads()), inbox)
        allowances = makers.sole(warnings)
        key = account(Limits(daily_budget_micro_usd=100, warn_at=(0.5,)), number=905)
        pool = allowances._pool(allowances._plans.of(key).budgets[0], clock())
        pool.others_spent = 0
        (await allowances.reserve(key, 50)).settle(50)
        await arrived(warnings)
    assert inbox.shares == [0.5, 0.5]
    await makers.close()


async def test_it_is_one_line_of_json_in_the_log_whatever_a_name_holds(
    makers: Makers, caplog: pytest.LogCaptureFixture
) -> None:
    warnings = BudgetWarnings()
    allowances = makers.sole(warnings)
    key = account(Limits(user_daily_budget_micro_usd=10, warn_at=(1.0,)))
    with caplog.at_level(logging.WARNING, "waypost.budget"):
        (await allowances.reserve(key, 10, "eve\nERROR all is lost")).settle(10)
        await arrived(warnings)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "waypost.budget"]
    assert "\n" not in line
    assert json.loads(line)["name"] == "eve\nERROR all is lost"


@dataclass
class Receiver:
    """An address that is told of warnings: answers with these statuses, then 204."""

    statuses: list[int] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    port: int = 0

    async def receive(self, request: web.Request) -> web.Response:
        self.bodies.append((request.path_qs, request.content_type, await request.json()))
        headers = {"location": "/elsewhere"} if self.statuses and self.statuses[0] == 302 else None
        return web.Response(status=self.statuses.pop(0) if self.statuses else 204, headers=headers)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", receiver.receive)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    yield receiver
    await runner.cleanup()


async def rests(_seconds: float) -> None:
    await asyncio.sleep(0)


async def told(receiver: Receiver, makers: Makers, sleep: Any = rests) -> Webhook:
    webhook = Webhook(f"http://127.0.0.1:{receiver.port}/hook?token=s3cret", sleep)
    warnings = BudgetWarnings(None, webhook)
    key = account(Limits(daily_budget_micro_usd=100))
    (await makers.sole(warnings).reserve(key, 80)).settle(80)
    await arrived(warnings)
    await webhook.close()
    return webhook


async def test_the_webhook_is_sent_the_warning_as_json(receiver: Receiver, makers: Makers) -> None:
    await told(receiver, makers)
    ((path, content_type, body),) = receiver.bodies
    assert (path, content_type) == ("/hook?token=s3cret", "application/json")
    assert (body["event"], body["share"]) == ("budget_reached", 0.8)
    assert (body["whose"], body["budget"]) == ("key", "daily_budget")


async def test_one_that_fails_is_tried_again_a_few_times(receiver: Receiver, makers: Makers) -> None:
    receiver.statuses = [500, 503]
    await told(receiver, makers)
    assert len(receiver.bodies) == 3


async def test_what_fails_to_the_end_is_logged_without_the_address(
    receiver: Receiver, makers: Makers, caplog: pytest.LogCaptureFixture
) -> None:
    """A redirect is a failure: it is not followed."""
    receiver.statuses = [302] * 10
    with caplog.at_level(logging.INFO):
        await told(receiver, makers)
    assert len(receiver.bodies) == 1 + len(WAITS_S)
    assert all(path.startswith("/hook") for path, _, _ in receiver.bodies)
    assert "the webhook was not told of a budget's warning: status 302" in caplog.text
    assert "s3cret" not in caplog.text


async def test_nobody_waits_for_a_webhook_that_does_not_answer(makers: Makers) -> None:
    held = asyncio.Event()

    async def never(_warning: BudgetWarning) -> None:
        await held.wait()

    warnings = BudgetWarnings(None, never)
    allowances, key = makers.sole(warnings), account(Limits(daily_budget_micro_usd=100))
    await asyncio.wait_for(spend(allowances, key), 5)
    await asyncio.wait_for(warnings.close(), 5)


async def spend(allowances: Any, key: Any) -> None:
    for _ in range(10):
        (await allowances.reserve(key, 10)).settle(10)
