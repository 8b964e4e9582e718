"""Claims about the worker that a server runs beside it: there when there is something to do, gone with its server."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.jobs.workers import ask, states, until
from tests.ledger.fleet import Server

from waypost.server.worker_keeper import MODULE
from waypost.simulator import Simulator
from waypost.store.database import Database
from waypost.store.migrate import upgrade

pytestmark = [pytest.mark.fault, pytest.mark.timeout(150)]
SCRIPT = {"rules": [{"reply": {"text": "one two three"}}]}
THERE_S = 30.0


def settings(simulator: Simulator, **told: Any) -> dict[str, Any]:
    return {
        "providers": {"simulated": {"kind": "openai", "api_key": "any", "base_url": simulator.openai_url}},
        "routes": {"default": {"targets": ["simulated/gpt-5-mini"]}},
        **told,
    }


@contextmanager
def running(server: Server) -> Iterator[psutil.Process]:
    """The server's process, which is gone after the block."""
    server.start()
    assert server.process is not None
    try:
        yield psutil.Process(server.process.pid)
    finally:
        if server.process.poll() is None:
            server.kill()


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """The worker processes beside it."""
    return [child for child in process.children() if _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and MODULE in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def call(server: Server) -> None:
    body = {"model": "default", "messages": [{"role": "user", "content": "hello"}]}
    assert httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=20).status_code == 200


async def played(scenario: Callable[[Simulator], None]) -> None:
    async with Simulator(SCRIPT) as simulator:
        await asyncio.to_thread(scenario, simulator)


@pytest.mark.parametrize("count", [1, 2])
async def test_a_worker_comes_with_the_first_request_and_is_started_anew(tmp_path: Path, count: int) -> None:
    """It ends with its server, in good order and out of order."""

    def scenario(simulator: Simulator) -> None:
        server = Server(tmp_path, settings(simulator, server={"workers": count}))
        with running(server) as process:
            assert workers_of(process) == []
            call(server)
            until(lambda: len(workers_of(process)) == 1, THERE_S, lambda: server.log)
            [first] = workers_of(process)
            first.kill()
            until(lambda: [each.pid for each in workers_of(process)] not in ([], [first.pid]), THERE_S)
            [second] = workers_of(process)
            server.stop()
            assert not second.is_running(), server.log
        with running(server) as process:
            until(lambda: len(workers_of(process)) == 1, THERE_S, lambda: server.log)
            [third] = workers_of(process)
            server.kill()
            until(lambda: not third.is_running(), THERE_S, lambda: server.log)

    await played(scenario)


@pytest.mark.parametrize("told", [{"worker": False}, {"enabled": False}])
async def test_no_worker_is_there_where_none_is_wanted(tmp_path: Path, told: Mapping[str, bool]) -> None:
    def scenario(simulator: Simulator) -> None:
        server = Server(tmp_path, settings(simulator, jobs=told))
        with running(server) as process:
            call(server)
            with pytest.raises(AssertionError):
                until(lambda: bool(workers_of(process)), 4.0)

    await played(scenario)


async def test_the_worker_reads_the_settings_anew_with_its_server(tmp_path: Path) -> None:
    """As another process: jobs under way are handed over, as at every end."""

    def scenario(simulator: Simulator) -> None:
        server = Server(tmp_path, settings(simulator))
        with running(server) as process:
            call(server)
            until(lambda: len(workers_of(process)) == 1, THERE_S, lambda: server.log)
            [first] = workers_of(process)
            server.send(signal.SIGHUP)
            until(lambda: [each.pid for each in workers_of(process)] not in ([], [first.pid]), THERE_S)
            assert "is started anew" not in server.log
            server.stop()

    await played(scenario)


async def test_a_job_is_done_by_the_worker_beside_the_server(tmp_path: Path, database: Database) -> None:
    def scenario(simulator: Simulator) -> None:
        upgrade(database)
        url = database.url.render_as_string(hide_password=False)
        server = Server(tmp_path, settings(simulator, database_url=url))
        with running(server):
            ask(database)
            until(lambda: states(database) == ["succeeded"], THERE_S, lambda: server.log)
            server.stop()

    await played(scenario)
