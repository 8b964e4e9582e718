"""Errors, both ways: every status and body gives its class, every class gives its status, body and SDK exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from tests.example_errors import every_class, example

from waypost.codecs.openai_chat import OpenAIChatCodec, codec
from waypost.codecs.openai_chat.errors import WIRE_ERRORS
from waypost.errors import (
    ContentPolicyViolation,
    ContextLengthExceeded,
    MalformedResponse,
    ProviderAuthenticationError,
    ProviderBadRequest,
    ProviderError,
    ProviderModelNotFound,
    ProviderOverloaded,
    ProviderPermissionError,
    ProviderQuotaExceeded,
    ProviderRateLimited,
    ProviderRequestTooLarge,
    ProviderServerError,
    ServerBusy,
    WaypostError,
)

FOLDER = Path(__file__).parent.parent / "fixtures" / "openai_chat"


@pytest.mark.parametrize(
    ("case", "status", "error_class", "code"),
    [
        ("context_length", 400, ContextLengthExceeded, "context_length_exceeded"),
        ("content_policy", 400, ContentPolicyViolation, "content_filter"),
        ("invalid_key", 401, ProviderAuthenticationError, "invalid_api_key"),
        ("model_not_found", 404, ProviderModelNotFound, "model_not_found"),
        ("rate_limit", 429, ProviderRateLimited, "rate_limit_exceeded"),
        ("quota", 429, ProviderQuotaExceeded, "insufficient_quota"),
        ("llama_cpp", 401, ProviderAuthenticationError, "401"),
        ("llama_cpp_context", 400, ContextLengthExceeded, "400"),
        ("vllm", 404, ProviderModelNotFound, "404"),
        ("fastapi", 422, ProviderBadRequest, None),
        ("gateway_page", 502, ProviderServerError, None),
    ],
)
def test_published_error_bodies_are_typed(case: str, status: int, error_class: type, code: str | None) -> None:
    error = codec.decode_error(status, {"x-request-id": "req_1"}, (FOLDER / f"{case}.error.json").read_bytes())
    assert type(error) is error_class
    assert (error.status, error.provider_code, error.request_id) == (status, code, "req_1")
    assert error.message
    assert "sk-test-0" not in error.message


@pytest.mark.parametrize(
    ("status", "error_class"),
    [
        (400, ProviderBadRequest),
        (401, ProviderAuthenticationError),
        (402, ProviderQuotaExceeded),
        (403, ProviderPermissionError),
        (404, ProviderModelNotFound),
        (405, ProviderBadRequest),
        (413, ProviderRequestTooLarge),
        (418, ProviderBadRequest),
        (422, ProviderBadRequest),
        (429, ProviderRateLimited),
        (500, ProviderServerError),
        (502, ProviderServerError),
        (503, ProviderOverloaded),
        (529, ProviderOverloaded),
        (599, ProviderServerError),
        (700, ProviderServerError),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'"x"', b'{"error":{}}', b"\xff", b"[" * 10**5])
def test_the_status_tells_where_the_body_does_not(status: int, error_class: type, body: bytes) -> None:
    assert type(codec.decode_error(status, {}, body)) is error_class


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        ({"error": "no such model"}, "no such model", None),
        ({"error": {"message": "m", "param": "messages.0", "code": "string_above_max_length"}}, "m", "messages.0"),
        ({"object": "error", "message": "too long", "code": 40303}, "too long", None),
        ({"detail": "Not Found"}, "Not Found", None),
        ({"detail": [{"loc": ["body", "n"], "msg": "must be > 0"}]}, "body.n: must be > 0", "body.n"),
        ([{"error": {"message": "API key not valid.", "status": "INVALID_ARGUMENT"}}], "API key not valid.", None),
        ({"error": {"message": {"nested": 1}}}, '{"nested":1}', None),
        ({"error": {"message": "a\nb\u0000  c"}}, "a b\ufffd c", None),
        ({"error": {"message": "\ud800"}}, "\ufffd", None),
    ],
)
def test_the_providers_own_words_are_kept(body: Any, message: str, param: str | None) -> None:
    error = codec.decode_error(400, {}, json.dumps(body).encode())
    assert type(error) is ProviderBadRequest
    assert (error.message, error.param) == (message, param)


def test_a_long_message_is_cut() -> None:
    error = codec.decode_error(500, {}, json.dumps({"error": {"message": "x" * 10_000}}).encode())
    assert len(error.message) == 500
    assert error.message.endswith("…")


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, 7.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_the_wait_that_was_asked_for_is_read(headers: dict[str, str], wait_s: float | None) -> None:
    at = OpenAIChatCodec(clock=lambda: 784111770.0)  # seven seconds before that date
    assert at.decode_error(429, headers, b"{}").retry_after_s == wait_s


@pytest.mark.parametrize(
    ("body", "error_class"),
    [
        (b'{"error":{"message":"m","code":"context_length_exceeded"}}', ContextLengthExceeded),
        (b'{"error":{"message":"m","code":503}}', ProviderOverloaded),
        (b'{"object":"error","message":"m","code":400}', ProviderBadRequest),
        (b'{"choices":[{"message":{},"error":{"code":429,"message":"m"}}]}', ProviderRateLimited),
        (b'{"choices":[{"message":{"content":"a"},"finish_reason":"error"}]}', ProviderServerError),
        (b"{}", MalformedResponse),
        (b"", MalformedResponse),
        (b"[1]", MalformedResponse),
        (b'{"choices":[{"message":{"content":5}}]}', MalformedResponse),
        (b'{"choices":[{"message":{"tool_calls":[{"id":"a"}]}}]}', MalformedResponse),
        (b"[" * 10**5, MalformedResponse),
    ],
)
def test_a_success_that_is_none_raises_its_error(body: bytes, error_class: type[ProviderError]) -> None:
    with pytest.raises(ProviderError) as caught:
        codec.decode_response(body)
    assert type(caught.value) is error_class


def test_every_error_class_has_its_words_on_the_wire() -> None:
    assert set(every_class()) == set(WIRE_ERRORS)


SDK_ERRORS: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
}


@pytest.mark.parametrize("error_class", list(every_class()))
def test_every_error_makes_the_sdk_raise_its_exception(error_class: type[WaypostError]) -> None:
    """The official client, given the bytes we write, raises the class for the status, with our code and message."""
    reply = codec.encode_error(example(error_class))
    assert reply.status == error_class.http_status

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(reply.status, headers=dict(reply.headers), content=reply.body)

    transport = httpx2.Client(transport=httpx2.MockTransport(answer))
    client = openai.OpenAI(api_key="k", base_url="http://t/v1", max_retries=0, http_client=transport)
    with client, pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    expected = SDK_ERRORS.get(
        reply.status, openai.InternalServerError if reply.status >= 500 else openai.APIStatusError
    )
    assert type(caught.value) is expected
    assert caught.value.code == WIRE_ERRORS[error_class][1]


def test_a_refused_key_of_ours_is_not_the_callers_401() -> None:
    assert codec.encode_error(ProviderAuthenticationError("m")).status == 502
    assert codec.encode_error(ProviderPermissionError("m")).status == 502


def test_a_known_wait_is_told_in_whole_seconds() -> None:
    assert codec.encode_error(ProviderRateLimited("m", retry_after_s=1.2)).headers["retry-after"] == "2"
    assert codec.encode_error(ServerBusy("m", retry_after_s=3)).headers["retry-after"] == "3"
    assert "retry-after" not in codec.encode_error(ProviderRateLimited("m")).headers


def test_an_error_of_a_subclass_is_written_as_its_parent() -> None:
    class Special(ProviderRateLimited):
        """Somebody's own."""

    body = json.loads(codec.encode_error(Special("m \ud800", hint="h", param="p")).body)
    assert body == {
        "error": {"message": "m \ufffd. h", "type": "rate_limit_error", "param": "p", "code": "rate_limit_exceeded"}
    }
