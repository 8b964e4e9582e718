"""What callers were promised to find again: real servers are killed and started anew, or share one PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.engine import URL
from tests.databases import PostgresServer

SCRIPT = """
rules:
  - match: {model: slow}
    reply: {text: "one two three four five six seven eight nine ten"}
    pacing: {token_interval_s: 0.2, tokens_per_chunk: 1}
  - match: {model: sleepy}
    pacing: {first_token_s: 1.5}
"""
KEY = {"idempotency-key": "order-66"}
CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


@dataclass
class Server:
    """One server process, which may be killed and started again."""

    environment: Mapping[str, str]
    file: Path
    log: Path
    process: subprocess.Popen[str] = field(init=False)
    url: str = field(init=False)

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "waypost.cli.main", "serve", "--port", "0", "--config", str(self.file)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=dict(self.environment),
            )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[3]

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def ask(self, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(self.url + path, json=body, headers=own, timeout=30)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30)


@pytest.fixture
def simulator(environment: Mapping[str, str], tmp_path: Path) -> Iterator[str]:
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "waypost.cli.main", "simulate", "--port", "0", "--script", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(environment)) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[3]
        finally:
            process.kill()


def calls(simulator: str) -> int:
    return len(httpx.get(f"{simulator}/simulator/requests").json()["requests"])


@contextmanager
def running(
    environment: Mapping[str, str], simulator: str, folder: Path, *, database: URL | None = None
) -> Iterator[Server]:
    folder.mkdir()
    file = folder / "waypost.yaml"
    url = "" if database is None else f"database_url: '{database.render_as_string(hide_password=False)}'\n"
    file.write_text(
        f"data_dir: '{folder}'\n{url}"
        "providers:\n"
        f"  claude: {{kind: anthropic, api_key: a-long-key, base_url: '{simulator}'}}\n"
        f"  gpt: {{kind: openai, wire: chat, api_key: a-long-key, base_url: '{simulator}/v1'}}\n"
    )
    server = Server(environment, file, folder / "server.log")
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def server(environment: Mapping[str, str], simulator: str, tmp_path: Path) -> Iterator[Server]:
    with running(environment, simulator, tmp_path / "server") as started:
        yield started


def asked(path: str, model: str, *, stream: bool, text: str = "one two") -> dict[str, Any]:
    turn: dict[str, Any] = {"input": text} if path == RESPONSES else {"messages": [{"role": "user", "content": text}]}
    return {"model": model, "stream": stream, **turn}


# After a restart


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("model", ["gpt/m", "claude/m"])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_a_key_gives_the_same_bytes_after_the_server_was_killed(
    server: Server, simulator: str, path: str, model: str, stream: bool
) -> None:
    """Killed as soon as the caller has the end of the answer. The provider was asked once."""
    body = asked(path, model, stream=stream)
    first = server.ask(path, body, **KEY)
    server.kill()
    server.start()
    second = server.ask(path, body, **KEY)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.content == second.content != b""
    assert second.headers["idempotent-replayed"] == "true"
    for name in ("content-type", "x-waypost-provider", "x-waypost-model"):
        assert first.headers[name] == second.headers[name]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert calls(simulator) == 1
    conflict = server.ask(path, asked(path, model, stream=stream, text="three"), **KEY)
    assert (conflict.status_code, conflict.json()["error"]["code"]) == (422, "idempotency_key_reused")


def test_an_error_that_no_try_would_mend_is_the_answer_after_a_restart_too(server: Server) -> None:
    first = server.ask(CHAT, {"model": "gpt/m"}, **KEY)
    server.kill()
    server.start()
    second = server.ask(CHAT, {"model": "gpt/m"}, **KEY)
    assert (first.status_code, second.status_code) == (400, 400)
    assert first.content == second.content


def test_a_key_whose_answer_was_under_way_at_the_kill_leads_to_no_second_charge(server: Server, simulator: str) -> None:
    """First it is said to be under way, since nobody can know yet that its process is dead."""
    body = asked(CHAT, "gpt/slow", stream=True)
    with httpx.stream("POST", server.url + CHAT, json=body, headers=KEY, timeout=30) as reply:
        pieces = reply.iter_raw()
        next(pieces)
        time.sleep(0.5)
        server.kill()
        with pytest.raises(httpx.HTTPError):
            for _ in pieces:
                pass
    server.start()
    told = server.ask(CHAT, body, **KEY)
    assert (told.status_code, told.json()["error"]["code"]) == (409, "answer_under_way")
    assert told.headers["retry-after"] == "1"
    assert calls(simulator) == 1


def test_a_stored_response_is_there_after_a_kill(server: Server) -> None:
    """Right after its last event was seen."""
    streamed = server.ask(RESPONSES, asked(RESPONSES, "claude/m", stream=True))
    server.kill()
    server.start()
    response_id = streamed.text.partition('"id":"')[2].partition('"')[0]
    found = server.get(f"{RESPONSES}/{response_id}").json()
    assert (found["id"], found["status"]) == (response_id, "completed")
    more = {**asked(RESPONSES, "gpt/m", stream=False, text="and?"), "previous_response_id": response_id}
    assert server.ask(RESPONSES, more).json()["previous_response_id"] == response_id


def test_requests_without_a_key_or_storage_open_no_database_for_that(server: Server, simulator: str) -> None:
    """Their answers need none; the ledger's own work is another matter."""
    for _ in range(3):
        assert server.ask(CHAT, asked(CHAT, "gpt/m", stream=False)).status_code == 200
    assert calls(simulator) == 3


# Two servers on one PostgreSQL


@pytest.fixture
def url(shared_postgres: PostgresServer) -> Iterator[URL]:
    made = shared_postgres.create()
    yield made
    shared_postgres.drop(made)


@pytest.fixture
def pair(environment: Mapping[str, str], simulator: str, tmp_path: Path, url: URL) -> Iterator[list[Server]]:
    with (
        running(environment, simulator, tmp_path / "one", database=url) as one,
        running(environment, simulator, tmp_path / "two", database=url) as two,
    ):
        yield [one, two]


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_one_key_makes_one_call_whichever_server_is_asked(pair: list[Server], simulator: str, stream: bool) -> None:
    """Ten at once to each: who is told to come again gets the same bytes then."""
    body = asked(CHAT, "claude/sleepy", stream=stream)

    def ask(number: int) -> httpx.Response:
        end = time.monotonic() + 20
        while True:
            reply = pair[number % 2].ask(CHAT, body, **KEY)
            if reply.status_code != 409 or time.monotonic() > end:
                return reply
            assert reply.json()["error"]["code"] == "answer_under_way"
            time.sleep(0.2)

    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(ask, range(20)))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.content for reply in replies}) == 1
    assert calls(simulator) == 1
    assert pair[1].ask(CHAT, asked(CHAT, "claude/m", stream=stream, text="x"), **KEY).status_code == 422


def test_a_response_is_gone_on_from_at_the_other_server(pair: list[Server]) -> None:
    first = pair[0].ask(RESPONSES, asked(RESPONSES, "claude/m", stream=False)).json()
    more = {**asked(RESPONSES, "gpt/m", stream=False, text="and?"), "previous_response_id": first["id"]}
    second = pair[1].ask(RESPONSES, more).json()
    listed = pair[0].get(f"{RESPONSES}/{second['id']}/input_items?order=asc").json()
    assert [item["content"][0]["text"] for item in listed["data"]] == ["one two", "You said: one two", "and?"]
    gone = httpx.delete(f"{pair[1].url}{RESPONSES}/{first['id']}", timeout=20)
    assert gone.json()["deleted"] is True
    assert pair[0].get(f"{RESPONSES}/{first['id']}").status_code == 404


def test_while_the_database_is_away_a_new_key_is_refused_and_a_known_one_is_told(
    environment: Mapping[str, str], simulator: str, tmp_path: Path, postgres: PostgresServer
) -> None:
    """To pay twice would break what the key promises. Requests without one are answered; nothing is lost meanwhile."""
    with running(environment, simulator, tmp_path / "one", database=postgres.create()) as server:
        body = asked(CHAT, "gpt/m", stream=False)
        known = server.ask(CHAT, body, **KEY)
        slow = asked(CHAT, "gpt/sleepy", stream=False)
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(server.ask, CHAT, slow, idempotency_key="late")
            time.sleep(0.5)
            postgres.stop()
            assert late.result(20).status_code == 200
        refused = server.ask(CHAT, body, idempotency_key="new")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "database_unavailable")
        assert refused.headers["retry-after"] == "1"
        again = server.ask(CHAT, body, **KEY)
        assert (again.content, again.headers["idempotent-replayed"]) == (known.content, "true")
        assert server.ask(CHAT, body).status_code == 200
        asked_so_far = calls(simulator)
        stored = server.ask(RESPONSES, asked(RESPONSES, "claude/m", stream=False))
        assert (stored.status_code, stored.json()["store"]) == (200, False)
        assert "not stored" in stored.headers["x-waypost-warnings"]
        postgres.start()
        end = time.monotonic() + 30
        # The answer that came meanwhile is written within ten seconds.
        time.sleep(11)
        while server.ask(CHAT, body, idempotency_key="new").status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.2)
        assert calls(simulator) == asked_so_far + 2
        server.kill()
        server.start()
        assert server.ask(CHAT, body, **KEY).content == known.content
        assert server.ask(CHAT, slow, idempotency_key="late").content == late.result().content
        assert calls(simulator) == asked_so_far + 2
