"""What the log says of a request: how it ended, who was asked, and why each call failed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from waypost.errors import ProviderConnectionLost, ProviderRateLimited, ProviderServerError

PATH = "/api/ai/generate"
Client = Callable[..., TestClient]
SECRET = "sk-secret"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def access(log: pytest.LogCaptureFixture) -> dict[str, Any]:
    (line,) = [record.getMessage() for record in log.records if record.name == "waypost.access"]
    told: dict[str, Any] = json.loads(line)
    return told


def failures(log: pytest.LogCaptureFixture) -> list[tuple[Any, ...]]:
    lines = [record for record in log.records if record.name == "waypost.server"]
    assert all(line.levelno == logging.WARNING and SECRET not in line.getMessage() for line in lines)
    told = [json.loads(line.getMessage().removeprefix("attempt failed: ")) for line in lines]
    assert all(each["duration_ms"] >= 0 and each["request_id"] == "r1" for each in told)
    return [(each["provider"], each["model"], each["code"]) for each in told]


def ask(client: TestClient, **body: Any) -> None:
    client.post(PATH, json={"prompt": SECRET, "model": "m7", **body}, headers={"x-request-id": "r1"})


@pytest.mark.parametrize("stream", [False, True])
def test_a_fallback_is_an_answer_and_a_warning(
    client: Client, scripted: Any, log: pytest.LogCaptureFixture, stream: bool
) -> None:
    ask(client(scripted(ProviderServerError(SECRET)), scripted("fine")), stream=stream)
    line = access(log)
    assert line.items() >= {"status": 200, "outcome": "completed", "provider": "second", "attempts": 2}.items()
    assert line["model"] == "m7"
    assert "error_code" not in line
    assert failures(log) == [("first", "m7", "provider_server_error")]


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_says_why(client: Client, scripted: Any, log: pytest.LogCaptureFixture, stream: bool) -> None:
    ask(client(scripted(ProviderServerError("A.")), scripted(RuntimeError(SECRET))), stream=stream)
    ended = {"status": 502, "outcome": "failed", "error_code": "all_providers_failed"}
    assert access(log).items() >= {**ended, "provider": "second", "model": "m7", "attempts": 2}.items()
    assert failures(log) == [("first", "m7", "provider_server_error"), ("second", "m7", "provider_error")]


def test_a_stream_that_breaks_has_failed_though_its_status_is_200(
    client: Client, scripted: Any, log: pytest.LogCaptureFixture
) -> None:
    ask(client(scripted(ProviderServerError("A.")), scripted("some", ProviderConnectionLost("gone"))), stream=True)
    ended = {"status": 200, "outcome": "failed", "error_code": "provider_connection_lost"}
    assert access(log).items() >= {**ended, "provider": "second", "attempts": 2}.items()
    assert failures(log) == [
        ("first", "m7", "provider_server_error"),
        ("second", "m7", "provider_connection_lost"),
    ]


def test_a_bad_request_calls_nobody(client: Client, scripted: Any, log: pytest.LogCaptureFixture) -> None:
    ask(client(scripted()), nope=1)
    line = access(log)
    assert line.items() >= {"status": 400, "outcome": "failed", "error_code": "invalid_request"}.items()
    assert line.keys().isdisjoint({"provider", "model", "attempts"})
    assert failures(log) == []


def test_a_page_is_a_short_line(client: Client, log: pytest.LogCaptureFixture) -> None:
    client().get("/health")
    assert access(log).keys() == {"time", "method", "path", "status", "outcome", "duration_ms", "request_id"}


def test_a_name_is_cut(client: Client, scripted: Any, log: pytest.LogCaptureFixture) -> None:
    ask(client(scripted(ProviderServerError("A."))), model="\n" + "m" * 400)
    assert access(log)["model"] == "\n" + "m" * 199
    assert all("\n" not in record.getMessage() for record in log.records if record.name.startswith("waypost"))


def test_an_attempt_tells_what_the_provider_said(client: Client, scripted: Any) -> None:
    limited = ProviderRateLimited("Slow.", status=429, request_id="up-1", retry_after_s=9.0)
    reply = client(scripted(limited)).post(PATH, json={"prompt": "p"})
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "9")
    (attempt,) = reply.json()["error"]["attempts"]
    assert attempt.pop("duration_ms") >= 0
    assert attempt == {
        "provider": "first",
        "model": None,
        "code": "provider_rate_limited",
        "message": "Slow.",
        "hint": "Wait and ask again, or give the route another target.",
        "retry_after_s": 9.0,
        "provider_status": 429,
        "provider_request_id": "up-1",
    }


def test_a_broken_stream_tells_the_attempts_before_it(client: Client, scripted: Any) -> None:
    provider = scripted("some", ProviderConnectionLost("gone"))
    with client(scripted(ProviderServerError("A.")), provider) as http:
        text = http.post(PATH, json={"prompt": "p", "stream": True}).text
    error = json.loads(text.rpartition("data: ")[2])["error"]
    assert error["code"] == "provider_connection_lost"
    assert [(each["provider"], each.get("code")) for each in error["attempts"]] == [
        ("first", "provider_server_error"),
        ("second", "provider_connection_lost"),
    ]
