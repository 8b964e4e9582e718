"""Each alert, once for real: servers in trouble, Prometheus with the shipped rules, Alertmanager, and who is told.

What is made quicker, tests/ops/scaled.py says. Every expression of the dashboards is asked of the same Prometheus.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

import pytest
import yaml
from tests.databases import PostgresServer
from tests.ops.scaled import RULES
from tests.ops.troubles import METRICS_TOKEN, Troubles, troubles
from tests.ops.watching import Receiver, Watch, receiving, watching
from tests.test_alerts import DASHBOARDS, expressions

pytestmark = [pytest.mark.ops, pytest.mark.timeout(480)]

HOOK_TOKEN: Final = "hook-token-0123456789"
RATE: Final = "10s"
"""As Grafana chooses it: a little over four times the interval of scrapes."""
WAIT_S: Final = 150.0
AT_ONCE: Final = (
    "WaypostProviderErrorBudgetFast",
    "WaypostProviderErrorBudgetSlow",
    "WaypostProviderErrorBudgetTrickle",
    "WaypostBreakerOpen",
    "WaypostNothingAnswered",
    "WaypostRouteAnswersNothing",
    "WaypostFirstTokenSlow",
    "WaypostBudgetWillRunOut",
    "WaypostBudgetNearlySpent",
    "WaypostNoWorker",
    "WaypostQueueOld",
    "WaypostDeadLetters",
    "WaypostEventLoopLag",
)


def all_alerts() -> set[str]:
    """Their names, as shipped."""
    groups = [group for path in RULES.glob("*.yml") for group in yaml.safe_load(path.read_text())["groups"]]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


async def test_each_alert_is_told_once_there_is_such_trouble(tmp_path: Path, postgres: PostgresServer) -> None:
    """And it is told that the trouble is over; Alertmanager shows the token of its file."""
    async with receiving(HOOK_TOKEN) as (receiver, url), troubles(tmp_path, postgres) as troubled:
        targets = {
            "waypost-server": [
                _target(troubled.production.port, "production"),
                _target(troubled.staging.port, "staging"),
            ],
            "waypost-worker": [
                _target(troubled.worker.settings["telemetry"]["worker_metrics_port"], "production"),
            ],
        }
        asking = troubled.begin()
        with watching(tmp_path / "watch", targets, url, METRICS_TOKEN, HOOK_TOKEN) as watch:
            try:
                await receiver.until_told(*AT_ONCE, within_s=WAIT_S, told=watch.states)
                await _dashboards_have_data(troubled, watch)
                await _the_database_is_away(troubled, receiver, watch)
                await _servers_are_gone(troubled, receiver, watch)
            finally:
                troubled.ending.set()
                await asyncio.gather(*asking)
        assert receiver.names() == all_alerts()
        assert receiver.strangers == 0
        for each in receiver.alerts:
            said = each["annotations"]["summary"] + each["annotations"]["description"]
            assert "<no value>" not in said, said


def _target(port: int, environment: str) -> dict[str, object]:
    return {"targets": [f"127.0.0.1:{port}"], "labels": {"environment": environment}}


async def _dashboards_have_data(troubled: Troubles, watch: Watch) -> None:
    """Whatever they ask for, the servers have told it."""
    asked = {text for path in DASHBOARDS for text in expressions(path)}
    empty = {text.replace("$__rate_interval", RATE).replace("$environment", ".*") for text in asked}
    assert len(empty) > 30
    end = time.monotonic() + WAIT_S
    while empty:
        assert time.monotonic() < end, (empty, watch.states(), troubled.worker.log)
        empty = {text for text in empty if not await asyncio.to_thread(watch.ask, text)}
        await troubled.pause(0.2)


async def _the_database_is_away(troubled: Troubles, receiver: Receiver, watch: Watch) -> None:
    """The journal grows old, then large, then calls are refused; once the database is back, that is told too."""
    bulk = "many words " * 6_000
    await asyncio.to_thread(troubled.postgres.freeze)
    await receiver.until_told("WaypostJournalBacklogOld", within_s=WAIT_S, told=watch.states)
    # What is asked all the while fills it too, but slowly: a backlog that is large is not also told to be old.
    for _ in range(2):
        await troubled.chat(troubled.production, "bulky", prompt=bulk)
    await receiver.until_told("WaypostJournalBacklogLarge", within_s=WAIT_S, told=watch.states)
    for _ in range(40):
        if await troubled.chat(troubled.production, "bulky", prompt=bulk) == 503:
            break
    else:
        raise AssertionError("the journal takes more than it should")
    await receiver.until_told("WaypostLedgerRefusing", within_s=WAIT_S, told=watch.states)
    await asyncio.to_thread(troubled.postgres.thaw)
    await receiver.until(
        lambda: "WaypostLedgerRefusing" in receiver.names("resolved"), WAIT_S, lambda: "it is not told that it is over"
    )


async def _servers_are_gone(troubled: Troubles, receiver: Receiver, watch: Watch) -> None:
    """One of them, then all."""
    troubled.ending.set()
    troubled.staging.kill()
    await receiver.until_told("WaypostTargetDown", within_s=WAIT_S, told=watch.states)
    troubled.production.kill()
    troubled.worker.kill()
    await receiver.until_told("WaypostAbsent", within_s=WAIT_S, told=watch.states)
