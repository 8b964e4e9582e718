"""POST /api/ai/generate, whole answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from waypost import AIResponse
from waypost.errors import (
    ContextLengthExceeded,
    ProviderRateLimited,
    ProviderServerError,
    ServerBusy,
    UnknownModel,
)
from waypost.manager.arguments import NAMES
from waypost.server.api import create_app
from waypost.server.models import AIRequest
from waypost.server.service import get_ai_service

PATH = "/api/ai/generate"
Client = Callable[..., TestClient]


def test_a_whole_answer_has_every_field(client: Client, scripted: Any) -> None:
    before = datetime.now(UTC)
    reply = client(scripted("Par", "is")).post(PATH, json={"prompt": "Capital?"})
    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "no-store"
    body = reply.json()
    assert (before - datetime.fromisoformat(body.pop("timestamp"))).total_seconds() < 0.01
    assert body.pop("attempts")[0].items() >= {"provider": "first", "model": None, "error": None}.items()
    assert body == {
        "id": "answer-1",
        "content": "Paris",
        "provider": "first",
        "model": "m1",
        "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
        "cost_usd": None,
        "finish_reason": "stop",
        "tool_calls": [],
        "reasoning": None,
        "refusal": None,
        "warnings": [],
    }


def test_the_service_gets_exactly_what_was_given(client: Client, scripted: Any) -> None:
    provider = scripted("ok")
    given = {"model": "m", "max_tokens": 5, "temperature": 0, "stop": ["a"], "system": "s", "top_p": 1, "seed": 7}
    client(provider).post(PATH, json={"prompt": "p", "stream": False, "user": None, **given})
    assert provider.calls == [("p", given)]


def test_messages_without_a_prompt_are_enough(client: Client, scripted: Any) -> None:
    provider = scripted("ok")
    messages = [{"role": "user", "content": "hello"}]
    assert client(provider).post(PATH, json={"messages": messages}).status_code == 200
    assert provider.calls == [("", {"messages": messages})]


def test_a_fallback_is_told_in_attempts(client: Client, scripted: Any) -> None:
    failing = scripted(ProviderServerError("It broke."))
    body = client(failing, scripted("fine")).post(PATH, json={"prompt": "p"}).json()
    assert body["provider"] == "second"
    advice = "Ask again, or give the route another target."
    assert [(attempt["provider"], attempt["error"]) for attempt in body["attempts"]] == [
        ("first", {"code": "provider_server_error", "message": "It broke.", "hint": advice}),
        ("second", None),
    ]


def test_when_all_fail_the_envelope_lists_each_attempt(client: Client, scripted: Any) -> None:
    reply = client(scripted(ProviderServerError("A.")), scripted(RuntimeError("B"))).post(PATH, json={"prompt": "p"})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (502, "all_providers_failed")
    assert all(attempt.pop("duration_ms") >= 0 for attempt in error["attempts"])
    advice = "Ask again, or give the route another target."
    assert error["attempts"] == [
        {"provider": "first", "model": None, "code": "provider_server_error", "message": "A.", "hint": advice},
        {"provider": "second", "model": None, "code": "provider_error", "message": "B"},
    ]


class Double:
    """Any object with one method will do as a service."""

    def __init__(self, answer: AIResponse | Exception) -> None:
        self.answer = answer

    async def generate_response(self, prompt: str, **kwargs: Any) -> AIResponse:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def with_double(serve: Any, answer: AIResponse | Exception) -> TestClient:
    app = create_app(serve())
    app.dependency_overrides[get_ai_service] = lambda: Double(answer)
    return TestClient(app)


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": 1, "output_tokens": 2}, {"prompt_tokens": 4}])
def test_a_double_with_one_method_answers(serve: Any, usage: dict[str, int] | None) -> None:
    """`usage` comes out as the service gave it: nothing is invented and nothing lost."""
    answer = AIResponse(content="hi", metadata={}, provider="p", model="m", usage=usage)
    body = with_double(serve, answer).post(PATH, json={"prompt": "p"}).json()
    assert (body["content"], body["provider"], body["model"], body["usage"]) == ("hi", "p", "m", usage)
    assert body["id"].startswith("resp_")
    assert (body["finish_reason"], body["attempts"]) == (None, [])


ERRORS: list[tuple[Exception, int, dict[str, Any], str | None]] = [
    (
        UnknownModel("No x.", hint="Did you mean y?", param="model"),
        404,
        {"code": "unknown_model", "param": "model"},
        None,
    ),
    (ServerBusy("Busy.", retry_after_s=1.2), 503, {"code": "server_busy"}, "2"),
    (
        ProviderRateLimited("Slow.", provider="a", status=429, request_id="r1", retry_after_s=0.1),
        429,
        {
            "code": "provider_rate_limited",
            "details": {"provider": "a", "provider_status": 429, "provider_request_id": "r1"},
        },
        "1",
    ),
    (
        ContextLengthExceeded("Long.", param="messages"),
        400,
        {"code": "context_length_exceeded", "param": "messages"},
        None,
    ),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("error", "status", "fields", "retry_after"), ERRORS)
def test_an_error_has_its_status_and_envelope(
    serve: Any, error: Exception, status: int, fields: dict[str, Any], retry_after: str | None, stream: bool
) -> None:
    """A stream that fails before its first event is an ordinary error too."""
    reply = with_double(serve, error).post(PATH, json={"prompt": "p", "stream": stream})
    assert reply.status_code == status
    assert reply.json()["error"].items() >= fields.items()
    assert reply.headers.get("retry-after") == retry_after
    assert reply.json()["error"]["request_id"] == reply.headers["x-request-id"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_unexpected_exception_is_logged_and_not_told(
    serve: Any, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, logger="waypost.server")
    reply = with_double(serve, RuntimeError("the secret")).post(PATH, json={"prompt": "p", "stream": stream})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (500, "internal_error")
    assert "secret" not in reply.text
    assert "Traceback" not in reply.text
    assert error["request_id"] in caplog.text
    assert "RuntimeError: the secret" in caplog.text


def test_broken_text_of_a_provider_does_not_break_the_reply(client: Client, scripted: Any) -> None:
    """A lone surrogate cannot be written as UTF-8."""
    assert client(scripted("a\ud83d")).post(PATH, json={"prompt": "p"}).json()["content"] == "a\ufffd"


def test_an_unsafe_id_of_a_provider_is_replaced(serve: Any) -> None:
    answer = AIResponse(content="hi", metadata={"id": "x\r\ny"}, provider="p", model="m")
    assert with_double(serve, answer).post(PATH, json={"prompt": "p"}).json()["id"].startswith("resp_")


def test_the_request_has_every_argument_of_the_library() -> None:
    assert set(AIRequest.model_fields) == {*NAMES, "prompt", "stream", "background"}
