"""What every request gets: an id, one line in the access log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from waypost.server.logs import configure_logging
from waypost.server.middleware.request_id import current_request_id
from waypost.settings import Settings

Client = Callable[..., TestClient]


@pytest.mark.parametrize("given", ["abc", "A.b_c-9", "x" * 128])
def test_a_safe_id_is_kept(client: Client, given: str) -> None:
    assert client().get("/health", headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "a\tb", "é", "x" * 129, "a;b", '"'])
def test_an_unsafe_id_is_replaced(client: Client, given: str) -> None:
    headers = {b"x-request-id": given.encode()}
    answered = client().get("/health", headers=headers).headers["x-request-id"]
    assert answered.startswith("req_")
    assert len(answered) == 36


def test_ids_are_new_each_time(client: Client) -> None:
    http = client()
    assert len({http.get("/health").headers["x-request-id"] for _ in range(20)}) == 20


def test_one_line_a_request_without_query_or_body(
    client: Client, scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="waypost.access")
    headers = {"x-request-id": "r1", "authorization": "Bearer sk-secret"}
    client(scripted("ok")).post("/api/ai/generate?key=sk-secret", json={"prompt": "sk-secret"}, headers=headers)
    (record,) = [record for record in caplog.records if record.name == "waypost.access"]
    line = json.loads(record.getMessage())
    assert line.pop("duration_ms") >= 0
    assert line.pop("time")
    called = {"provider": "first", "model": "m1", "attempts": 1}
    asked = {"method": "POST", "path": "/api/ai/generate", "status": 200, "request_id": "r1"}
    assert line == {**asked, "outcome": "completed", **called}


def test_a_refusal_is_logged_and_a_path_cannot_forge_a_line(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="waypost.access")
    client().get("/a%0a%7b%7d", headers={"host": "evil.example"})
    (record,) = [record for record in caplog.records if record.name == "waypost.access"]
    assert "\n" not in record.getMessage()
    assert json.loads(record.getMessage()).items() >= {"path": "/a\n{}", "status": 403}.items()


@pytest.fixture
def kept_logging() -> Any:
    names = ("waypost", "waypost.access", "uvicorn", "uvicorn.error", "asyncio")
    before = [(logging.getLogger(name), logging.getLogger(name).handlers[:]) for name in names]
    levels = [(logger, logger.level, logger.propagate) for logger, _ in before]
    yield
    for logger, handlers in before:
        logger.handlers[:] = handlers
    for logger, level, propagate in levels:
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.mark.usefixtures("kept_logging")
def test_a_server_process_logs_text_with_the_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings())
    token = current_request_id.set("r7")
    logging.getLogger("waypost.server").warning("mind this")
    current_request_id.reset(token)
    logging.getLogger("waypost.access").info("{}")
    logging.getLogger("waypost.server").debug("not this")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("WARNING waypost.server [r7]: mind this")
    assert lines[1:] == ["{}"]
