"""Claims about the metrics of several processes: one scrape tells all, and what was counted never seems to fall."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.jobs.servers import Server, servers
from tests.jobs.workers import Worker, ask, states, until, worker_settings, workers
from tests.telemetry.scraped import scrape

from waypost.simulator import Simulator
from waypost.store.database import Database

pytestmark = pytest.mark.process

SCRIPT = {"rules": [{"reply": {"text": "one two three"}}]}
REQUESTS = "waypost_requests_total"
CHAT = {"door": "openai_chat", "route": "default", "outcome": "answered"}
TARGET = {"provider": "simulated", "model": "gpt-5-mini"}
REQUEST = {"model": "default", "messages": [{"role": "user", "content": "hello"}]}
MANY = 60
SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)


def pids(url: str) -> list[int]:
    """Of the workers; 0: that one does not answer now."""
    told = httpx.get(f"{url}/api/admin/status").json()["workers"]
    return [each.get("pid", 0) for each in told]


def ask_server(url: str, times: int) -> None:
    """Each over a connection of its own, so that the workers share them."""
    for _ in range(times):
        assert httpx.post(f"{url}/v1/chat/completions", json=REQUEST, timeout=30).status_code == 200


async def away(call: Callable[[], Any]) -> Any:
    """In a thread, as the simulator runs in this test's loop."""
    return await asyncio.to_thread(call)


@SQLITE
async def test_a_scrape_of_any_of_two_workers_tells_the_sum(tmp_path: Path, database: Database) -> None:
    def work() -> None:
        settings = {**worker_settings(simulator, database, worker=False), "server": {"workers": 2}}
        server = Server(tmp_path, settings)
        with servers(server):
            ask_server(server.url, MANY)
            for _ in range(10):
                told = scrape(server.url)
                assert told.of("waypost_processes") == 2
                assert told.of(REQUESTS, **CHAT) == MANY
                assert told.of("waypost_attempts_total", **TARGET, outcome="answered") == MANY
                assert told.of("waypost_request_seconds_count", door="openai_chat", route="default") == MANY
                assert len(list(told.samples("waypost_jobs"))) == 2
                assert {labels["model"] for labels, _ in told.samples("waypost_breaker_open")} >= {"gpt-5-mini"}
            _kill_one_after_the_other(server, MANY)

    async with Simulator(SCRIPT) as simulator:
        await away(work)


def _kill_one_after_the_other(server: Server, counted: int) -> None:
    """However workers end, nothing that was told is taken back while they are away or afterwards."""
    for number in range(2):
        before = pids(server.url)
        os.kill(before[number], signal.SIGKILL)

        def is_back(before: list[int] = before, number: int = number) -> bool:
            try:
                told = scrape(server.url)
                assert told.of(REQUESTS, **CHAT) == counted
                now = pids(server.url)
            except httpx.TransportError:
                # Whoever had taken the connection is gone.
                return False
            return 0 not in now and now[number] != before[number]

        until(is_back, 20, lambda: server.log)
    told = scrape(server.url)
    assert told.of("waypost_processes") == 2
    assert told.of(REQUESTS, **CHAT) == counted
    ask_server(server.url, 10)
    assert scrape(server.url).of(REQUESTS, **CHAT) == counted + 10


@SQLITE
async def test_a_server_tells_what_the_jobs_beside_it_cost(tmp_path: Path, database: Database) -> None:
    def work() -> None:
        server = Server(tmp_path, worker_settings(simulator, database))
        with servers(server):
            ask(database, 3)
            until(lambda: Counter(states(database)) == {"succeeded": 3}, 30, lambda: server.log)
            told = scrape(server.url)
            assert told.of("waypost_processes") == 2
            assert told.of(REQUESTS, door="job", route="default", outcome="answered") == 3
            assert told.of("waypost_job_seconds_count", kind="generate", outcome="succeeded") == 3
            assert told.of("waypost_job_queue_seconds_count") == 3
            assert told.of("waypost_job_steps_total", kind="generate", outcome="done") == 3
            assert (told.of("waypost_cost_usd_total", **TARGET) or 0) > 0
            assert told.of("waypost_jobs", state="queued") == 0

    async with Simulator(SCRIPT) as simulator:
        await away(work)


async def test_a_worker_tells_its_jobs_at_a_port_of_its_own(tmp_path: Path, database: Database) -> None:
    def work() -> None:
        settings = {**worker_settings(simulator, database), "telemetry": {"worker_metrics_port": 0}}
        worker = Worker(tmp_path, settings)
        with workers(worker):
            ask(database, 3)
            until(lambda: Counter(states(database)) == {"succeeded": 3}, 30, lambda: worker.log)
            url = worker.log.partition("metrics are told at ")[2].partition("/metrics")[0]
            told = scrape(url)
            assert told.of("waypost_job_seconds_count", kind="generate", outcome="succeeded") == 3
            assert told.of("waypost_job_queue_seconds_count") == 3
            assert told.of(REQUESTS, door="job", route="default", outcome="answered") == 3
            assert told.of("waypost_attempts_total", **TARGET, outcome="answered") == 3
            assert (told.of("waypost_event_loop_lag_seconds_count") or 0) > 0
            assert httpx.get(f"{url}/metrics", headers={"host": "evil.example"}).status_code == 401

    async with Simulator(SCRIPT) as simulator:
        await away(work)


@SQLITE
async def test_a_worker_with_a_token_asks_for_it(tmp_path: Path, database: Database) -> None:
    def work() -> None:
        telemetry = {"worker_metrics_port": 0, "metrics_token": "a-token-for-scrapes"}
        worker = Worker(tmp_path, {**worker_settings(simulator, database), "telemetry": telemetry})
        with workers(worker):
            url = worker.log.partition("metrics are told at ")[2].partition("/metrics")[0]
            assert httpx.get(f"{url}/metrics").status_code == 401
            assert httpx.get(f"{url}/metrics", headers={"authorization": "Bearer other"}).status_code == 401
            assert scrape(url, authorization="Bearer a-token-for-scrapes").of("waypost_processes") == 1

    async with Simulator(SCRIPT) as simulator:
        await away(work)
