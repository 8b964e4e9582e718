"""The framework's own exceptions leave in the envelope too."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.exceptions import HTTPException

from waypost.server.handlers import add_handlers


async def numbered(number: int) -> int:
    return number


async def failing() -> None:
    raise HTTPException(400, "Not so.")


@pytest.mark.parametrize(
    ("path", "message", "param"),
    [("/numbered?number=x", "number: Input should be a valid integer", "number"), ("/failing", "Not so.", None)],
)
def test_the_envelope_is_the_only_form(path: str, message: str, param: str | None) -> None:
    app = FastAPI()
    add_handlers(app)
    app.get("/numbered")(numbered)
    app.get("/failing")(failing)
    reply = TestClient(app).get(path)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error.get("param")) == (400, "invalid_request", param)
    assert error["message"].startswith(message)
