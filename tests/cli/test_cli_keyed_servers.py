"""Several real servers on one database: what a command changes, each of their processes heeds within two seconds."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from waypost.codecs.sse import SseDecoder
from waypost.store.database import Database

SLOW = """
rules:
  - match: {contains: slowly}
    reply: {text: "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"}
    pacing: {token_interval_s: 0.6, tokens_per_chunk: 1}
"""
WHOLE = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
MODELS, GENERATE = "/v1/models", "/api/ai/generate"
SOON_S = 2.0
"""In what time a change is in force everywhere."""


@pytest.fixture(scope="module")
def slow_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    script = tmp_path_factory.mktemp("simulator") / "slow.yaml"
    script.write_text(SLOW)
    command = [sys.executable, "-m", "waypost.cli.main", "simulate", "--port", "0", "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[3]
        finally:
            process.kill()


class House:
    """A settings file that leads to the database, commands that use it, and servers."""

    def __init__(self, environment: Mapping[str, str], temporary: Path, log: Path) -> None:
        self._environment = {**environment, "TMPDIR": str(temporary)}
        self._log = log
        self._stack = ExitStack()

    def run(self, *arguments: str) -> str:
        """A command's standard output."""
        return str(subprocess.run(self._command(*arguments), **self._options(), check=True).stdout).strip()

    def serve(self, *arguments: str) -> str:
        """A server's address, once it answers."""
        return self._stack.enter_context(self._serving(*arguments))

    def logged(self) -> str:
        return self._log.read_text()

    def close(self) -> None:
        self._stack.close()

    @contextmanager
    def _serving(self, *arguments: str) -> Iterator[str]:
        command = self._command("serve", "--port", "0", *arguments)
        with (
            self._log.open("a") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=self._environment) as process,
        ):
            children: list[psutil.Process] = []
            try:
                assert process.stdout is not None
                url = process.stdout.readline().split()[3]
                children = psutil.Process(process.pid).children()
                yield url.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - what it listens on
            finally:
                process.kill()
                for child in children:
                    if child.is_running():
                        child.kill()

    @staticmethod
    def _command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "waypost.cli.main", *arguments]

    def _options(self) -> dict[str, Any]:
        return {"env": self._environment, "stdout": subprocess.PIPE, "text": True, "timeout": 60}


@pytest.fixture
def house(database: Database, environment: Mapping[str, str], slow_simulator: str, tmp_path: Path) -> Iterator[House]:
    url = database.url.render_as_string(hide_password=False)
    Path("waypost.yaml").write_text(
        f"database_url: '{url}'\n"
        "providers:\n"
        f"  first: {{kind: anthropic, api_key: a-long-key, base_url: '{slow_simulator}', default_model: one}}\n"
        "ledger: {store_responses: never}\n"
    )
    with tempfile.TemporaryDirectory(prefix="test-") as temporary:
        house = House(environment, Path(temporary), tmp_path / "server.log")
        yield house
        house.close()


def status(url: str, key: str = "") -> int:
    """Over a connection of its own, so that any worker may get it."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    # To read all certificates anew takes longer than to ask.
    return httpx.get(url + MODELS, headers=headers, timeout=20, verify=False).status_code  # noqa: S501 - plain HTTP


def seconds_until(condition: Callable[[], bool], limit_s: float = 10.0) -> float:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s
        time.sleep(0.02)
    return time.monotonic() - began


def statuses(urls: list[str], key: str) -> set[int]:
    """Over some connections to each server, so that each of its workers gets one."""
    return {status(url, key) for url in urls for _ in range(6)}


def test_what_a_command_changes_holds_at_every_server_and_worker_within_two_seconds(house: House) -> None:
    urls = [house.serve("--workers", "2"), house.serve()]
    assert statuses(urls, "") == {200}
    first = house.run("keys", "create", "web")
    # A key that was made just now is good at once, also where one worker hands a request on to another.
    assert statuses(urls, first) == {200}
    another = house.run("keys", "create", "app")
    headers = [{"authorization": f"Bearer {another}", "idempotency-key": str(number)} for number in range(8)]
    asked = [httpx.post(urls[0] + GENERATE, json={"prompt": "p"}, headers=each, timeout=20) for each in headers]
    assert {reply.status_code for reply in asked} == {200}, asked[0].text
    time.sleep(SOON_S)
    assert statuses(urls, "") == {401}
    second = house.run("keys", "rotate", "web", "--grace", "1h")
    assert statuses(urls, second) == statuses(urls, first) == {200}
    house.run("keys", "revoke", "web")
    time.sleep(SOON_S)
    assert statuses(urls, second) == statuses(urls, first) == {401}
    assert not any(key in house.logged() for key in (first, second))


def test_an_answer_that_has_begun_goes_on_after_its_key_is_revoked_and_the_next_is_refused(house: House) -> None:
    url, key = house.serve(), house.run("keys", "create", "web")
    begun, events = threading.Event(), list[tuple[str, Any]]()
    headers = {"authorization": f"Bearer {key}"}

    def read() -> None:
        decoder = SseDecoder()
        body = {"prompt": "slowly", "stream": True}
        with httpx.stream("POST", url + GENERATE, json=body, headers=headers, timeout=30) as reply:
            for chunk in reply.iter_bytes():
                events.extend((event.event or "", json.loads(event.data)) for event in decoder.feed(chunk))
                begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(15)
    house.run("keys", "revoke", "web")
    seconds_until(lambda: status(url, key) == 401)
    assert reader.is_alive()
    assert httpx.post(url + GENERATE, json={"prompt": "p"}, headers=headers).status_code == 401
    reader.join(30)
    assert events[-1][0] == "done"
    assert "".join(data["text"] for name, data in events if name == "delta") == WHOLE
    # To come back to the stream is a new request.
    stream_id = events[0][1]["id"]
    assert httpx.get(f"{url}/api/ai/responses/{stream_id}/events", headers=headers).status_code == 401


def test_a_key_in_the_database_lets_the_server_listen_beyond_loopback(house: House) -> None:
    for workers in ("1", "2"):
        refused = subprocess.run(
            house._command("serve", "--host", "0.0.0.0", "--port", "0", "--workers", workers),  # noqa: S104
            **{**house._options(), "stderr": subprocess.PIPE},
            check=False,
        )
        assert (refused.returncode, refused.stdout) == (3, "")
        assert "Without keys Waypost only listens on loopback" in refused.stderr
    key = house.run("keys", "create", "web")
    urls = [house.serve("--host", "0.0.0.0", "--workers", workers) for workers in ("1", "2")]  # noqa: S104
    assert (statuses(urls, key), statuses(urls, "")) == ({200}, {401})
    # The last key's end does not open it, nor does the end of its project.
    house.run("keys", "revoke", "web")
    house.run("projects", "delete", "default", "--yes")
    time.sleep(SOON_S)
    assert statuses(urls, key) == statuses(urls, "") == {401}


def test_limits_and_routes_that_change_hold_for_the_next_request(house: House) -> None:
    url, key = house.serve(), house.run("keys", "create", "web")

    def ask() -> int:
        return httpx.post(url + GENERATE, json={"prompt": "p"}, headers={"x-api-key": key}).status_code

    assert ask() == 200
    house.run("keys", "update", "web", "--route", "another")
    assert seconds_until(lambda: ask() == 403) < SOON_S
    house.run("projects", "update", "default", "--route", "another")
    house.run("keys", "update", "web", "--all-routes")
    time.sleep(SOON_S)
    assert ask() == 403
    house.run("projects", "update", "default", "--all-routes")
    assert seconds_until(lambda: ask() == 200) < SOON_S
