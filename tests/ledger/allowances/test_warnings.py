"""Warnings of budgets: told once for each share, by whichever process, over restarts; and how the webhook is told."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.ledger.allowances.conftest import DAY, Clock, Makers, account, post

from waypost.errors import BudgetExceeded
from waypost.ledger.account import Limits
from waypost.ledger.allowances.claims import Claims
from waypost.ledger.allowances.warnings import BudgetWarning, BudgetWarnings
from waypost.ledger.allowances.webhook import WAITS_S, WarningWebhook
from waypost.ledger.threads import DatabaseThreads
from waypost.settings import Settings
from waypost.store.address import sqlite_url
from waypost.store.database import Database
from waypost.webhooks import WebhookSecrets, verify
from waypost.webhooks.log import find
from waypost.webhooks.senders import senders_of
from waypost.webhooks.signing import derived_secret


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
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def receive(self, request: web.Request) -> web.Response:
        self.bodies.append(
            (request.path_qs, {name.lower(): text for name, text in request.headers.items()}, await request.read())
        )
        self.asked.set()
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


SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"


def webhook_to(receiver: Receiver, threads: DatabaseThreads, folder: Path, sleep: Any = rests) -> WarningWebhook:
    address = f"http://127.0.0.1:{receiver.port}/hook?token=s3cret"
    fields = {"ledger": {"warning_webhook": address}, "webhooks": {"secret": SECRET}, "data_dir": str(folder)}
    settings = Settings.model_validate(fields)
    secrets = WebhookSecrets(settings.webhooks, settings.data_dir)
    return WarningWebhook(senders_of(settings), secrets, threads, sleep)


@pytest.fixture
def away(tmp_path: Path) -> Database:
    """A database that is not there."""
    return Database(sqlite_url(tmp_path / "nowhere" / "waypost.db"))


async def told(receiver: Receiver, makers: Makers, threads: DatabaseThreads, folder: Path) -> None:
    """A warning, sent from memory if the threads' database is away."""
    webhook = webhook_to(receiver, threads, folder)
    warnings = BudgetWarnings(Claims(threads, webhook), webhook)
    key = account(Limits(daily_budget_micro_usd=100))
    (await makers.sole(warnings).reserve(key, 80)).settle(80)
    await arrived(warnings)
    await webhook.close()


async def test_the_webhook_is_sent_the_warning_as_signed_json(
    receiver: Receiver, makers: Makers, tmp_path: Path, database: Database
) -> None:
    """By way of the queue: it is written down with its claim, and is the project's."""
    threads = makers.threads()
    webhook = webhook_to(receiver, threads, tmp_path)
    warnings = BudgetWarnings(Claims(threads, webhook), webhook)
    key = account(Limits(daily_budget_micro_usd=100))
    (await makers.sole(warnings).reserve(key, 80)).settle(80)
    await arrived(warnings)
    with database.read() as connection:
        (queued,) = find(connection)
    assert (queued.state, queued.url, queued.project_id) == ("pending", None, key.project_id)
    assert queued.about == f"key:{key.key_id}"
    webhook.start()
    await asyncio.wait_for(receiver.asked.wait(), 10)
    await webhook.close()
    ((path, headers, body),) = receiver.bodies
    assert (path, headers["content-type"]) == ("/hook?token=s3cret", "application/json")
    assert verify(headers, body, derived_secret(SECRET, None)) == queued.id
    event = json.loads(body)
    assert (event["type"], event["data"]["event"], event["data"]["share"]) == ("budget.warning", "budget_reached", 0.8)
    assert event["text"].startswith('The daily budget of the key "web" has reached 80%')
    assert (event["data"]["whose"], event["data"]["budget"]) == ("key", "daily_budget")


async def test_a_warning_that_was_told_before_is_not_queued_again(
    receiver: Receiver, makers: Makers, tmp_path: Path, database: Database
) -> None:
    key = account(Limits(daily_budget_micro_usd=100))
    for _ in range(2):
        threads = makers.threads()
        webhook = webhook_to(receiver, threads, tmp_path)
        warnings = BudgetWarnings(Claims(threads, webhook), webhook)
        (await makers.sole(warnings).reserve(key, 80)).settle(80)
        await arrived(warnings)
        await webhook.close()
    with database.read() as connection:
        assert len(find(connection)) == 1


async def test_without_a_database_one_that_fails_is_tried_again_a_few_times(
    receiver: Receiver, makers: Makers, away: Database, tmp_path: Path
) -> None:
    receiver.statuses = [500, 503]
    await told(receiver, makers, makers.threads(away), tmp_path)
    assert len(receiver.bodies) == 3
    ids = {verify(headers, body, derived_secret(SECRET, None)) for _, headers, body in receiver.bodies}
    assert len(ids) == 1


async def test_what_fails_to_the_end_is_logged_without_the_address(
    receiver: Receiver, makers: Makers, away: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A redirect is a failure: it is not followed."""
    receiver.statuses = [302] * 10
    with caplog.at_level(logging.INFO):
        await told(receiver, makers, makers.threads(away), tmp_path)
    assert len(receiver.bodies) == 1 + len(WAITS_S)
    assert all(path.startswith("/hook") for path, _, _ in receiver.bodies)
    assert "the webhook was not told of a budget's warning: redirect" in caplog.text
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
