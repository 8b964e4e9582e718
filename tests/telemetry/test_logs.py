"""Claims about the log of both forms: every line says whose it is, and no line holds a secret."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.jobs.servers import Server, servers
from tests.jobs.workers import Worker, ask, states, until, worker_settings, workers

from waypost.settings import Settings
from waypost.simulator import Simulator
from waypost.store.database import Database
from waypost.telemetry.logs import REDACTED, Cleaner, JsonLines, TextLines, secrets_in

KEY = "a-key-of-no-known-shape"
CALLERS_KEY = "a-callers-key-of-24-chars"
TOKEN = "a-token-for-scrapes-only"
SHAPED = "sk-proj-0123456789abcdefghij"
FORMS = ("text", "json")
IDS = ("req_1", "4bf92f3577b34da6a3ce929d0e0e4736")


def record(message: str, *arguments: Any, error: BaseException | None = None, **more: Any) -> logging.LogRecord:
    trace = None if error is None else (type(error), error, error.__traceback__)
    made = logging.LogRecord("waypost.server", logging.WARNING, __file__, 1, message, arguments, trace)
    vars(made).update(more)
    return made


def test_a_line_of_json_says_when_how_bad_who_and_whose() -> None:
    line = json.loads(JsonLines(lambda: IDS, Cleaner()).format(record("%d calls\nfailed", 3)))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "waypost.server",
        "message": "3 calls\nfailed",
        "request_id": IDS[0],
        "trace_id": IDS[1],
    }


def test_facts_are_members_of_their_own_in_json_and_part_of_the_message_in_text() -> None:
    made = record("attempt failed: %s", '{"code": "x"}', facts={"code": "x", "duration_ms": 7})
    line = json.loads(JsonLines(lambda: ("", ""), Cleaner()).format(made))
    assert (line["message"], line["code"], line["duration_ms"]) == ("attempt failed", "x", 7)
    assert "request_id" not in line
    assert TextLines(lambda: ("", ""), Cleaner()).format(made).endswith('waypost.server: attempt failed: {"code": "x"}')


def test_a_line_of_text_has_both_ids() -> None:
    assert f"waypost.server [{IDS[0]} {IDS[1]}]: hello" in TextLines(lambda: IDS, Cleaner()).format(record("hello"))


@pytest.mark.parametrize("form", [TextLines, JsonLines])
def test_secrets_are_taken_out_wherever_they_are(form: type[TextLines] | type[JsonLines]) -> None:
    """In arguments, in facts, and in what an exception and the one before it say."""
    caught = RuntimeError(f"{SHAPED} is refused")
    caught.__cause__ = ValueError(f"no such key: {KEY}")
    made = record("%s and %s", {"nested": [KEY]}, SHAPED, error=caught, facts={"deep": [{"er": KEY}], SHAPED: 1})
    if form is TextLines:
        del made.__dict__["facts"]
    told = form(lambda: IDS, Cleaner([KEY])).format(made)
    assert KEY not in told
    assert SHAPED not in told
    assert REDACTED in told
    assert "RuntimeError" in told


def test_every_secret_of_the_settings_is_known() -> None:
    settings = Settings.model_validate(
        {
            "database_url": "postgresql://me:pass%40word@db/waypost",
            "providers": {"one": {"kind": "openai", "api_keys": ["first-key", "second-key"]}},
            "telemetry": {"metrics_token": TOKEN},
        }
    )
    found = set(secrets_in(settings))
    assert found >= {"first-key", "second-key", TOKEN, "pass%40word", "postgresql://me:pass%40word@db/waypost"}


def test_a_short_secret_does_not_blacken_ordinary_words() -> None:
    assert Cleaner(["key"])("the key is wrong") == "the key is wrong"


def echoing_settings(simulator: Simulator, **more: Any) -> dict[str, Any]:
    provider = {"kind": "openai", "api_key": KEY, "base_url": simulator.openai_url}
    return {
        "providers": {"simulated": provider},
        "keys": {"caller": {"key": CALLERS_KEY, "admin": True}},
        "routes": {"default": {"targets": ["simulated/gpt-5-mini"], "policy": {"max_attempts": 1}}},
        "jobs": {"worker": False},
        **more,
    }


@pytest.mark.process
@pytest.mark.parametrize("form", FORMS)
async def test_no_secret_gets_into_a_servers_log(tmp_path: Path, form: str) -> None:
    def work() -> str:
        telemetry = {"logs": form, "metrics_token": TOKEN}
        server = Server(tmp_path, echoing_settings(simulator, telemetry=telemetry, server={"log_level": "debug"}))
        with servers(server):
            good = {"authorization": f"Bearer {CALLERS_KEY}", "x-request-id": "seen-1"}
            with httpx.Client(base_url=server.url, headers=good, timeout=30) as client:
                body = {"messages": [{"role": "user", "content": SHAPED}]}
                assert client.post("/v1/chat/completions", json={**body, "model": "default"}).status_code == 502
                client.post("/v1/chat/completions", json={**body, "model": f"simulated/{SHAPED}"})
                client.get(f"/v1/models/{SHAPED}?key={CALLERS_KEY}")
                client.get(f"/{CALLERS_KEY}/{KEY}")
                assert client.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
                client.get("/health", headers={"authorization": f"Bearer {SHAPED}"})
            until(lambda: server.log.count('"path"') >= 6, 10, lambda: server.log)
        return server.log

    script = {"rules": [{"fault": {"status": 401, "message": f"Incorrect API key provided: {KEY}, {SHAPED}"}}]}
    async with Simulator(script) as simulator:
        log = await asyncio.to_thread(work)
    for secret in (KEY, CALLERS_KEY, TOKEN, SHAPED):
        assert secret not in log
    assert REDACTED in log
    lines = [line for line in log.splitlines() if form == "json" or line.startswith("{")]
    told = [json.loads(line) for line in lines]
    assert {each.get("request_id") for each in told} >= {"seen-1"}
    if form == "json":
        assert all(each["time"] and each["level"] and each["logger"] for each in told)
        failed = [each for each in told if each.get("message") == "attempt failed"]
        assert [each["code"] for each in failed][:1] == ["provider_authentication"]
    access = next(each for each in told if each.get("path") == "/v1/chat/completions")
    assert list(access)[:6] == ["time", "method", "path", "status", "outcome", "duration_ms"]


@pytest.mark.process
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
async def test_a_workers_lines_are_json_too(tmp_path: Path, database: Database) -> None:
    def work() -> str:
        settings = worker_settings(simulator, database)
        settings["providers"]["simulated"]["api_key"] = KEY
        telemetry = {"logs": "json", "worker_metrics_port": 0}
        worker = Worker(tmp_path, {**settings, "telemetry": telemetry})
        with workers(worker):
            ask(database)
            until(lambda: states(database) == ["failed"], 30, lambda: worker.log)
            worker.stop()
        return worker.log

    async with Simulator({"rules": [{"fault": {"status": 401, "message": f"Incorrect API key: {KEY}"}}]}) as simulator:
        log = await asyncio.to_thread(work)
    assert KEY not in log
    told = [json.loads(line) for line in log.splitlines() if "takes jobs" not in line]
    assert told
    assert all(each["time"] and each["level"] and each["logger"] for each in told)
