"""Errors of the Messages format, both ways."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.example_errors import every_class, example

from waypost import errors
from waypost.codecs.anthropic_messages import codec
from waypost.codecs.anthropic_messages.errors import CODES, REPLIES
from waypost.errors import (
    ContentPolicyViolation,
    ContextLengthExceeded,
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
    WaypostError,
)

FIXTURES = Path(__file__).parents[1] / "fixtures" / "anthropic_messages"

BODIES: list[tuple[str, int, type[ProviderError]]] = [
    ("invalid_request", 400, ProviderBadRequest),
    ("prompt_too_long", 400, ContextLengthExceeded),
    ("context_limit", 400, ContextLengthExceeded),
    ("credit", 400, ProviderQuotaExceeded),
    ("content_filter", 400, ContentPolicyViolation),
    ("authentication", 401, ProviderAuthenticationError),
    ("billing", 402, ProviderQuotaExceeded),
    ("permission", 403, ProviderPermissionError),
    ("not_found", 404, ProviderModelNotFound),
    ("request_too_large", 413, ProviderRequestTooLarge),
    ("rate_limit", 429, ProviderRateLimited),
    ("spend_limit", 429, ProviderQuotaExceeded),
    ("api", 500, ProviderServerError),
    ("timeout", 504, ProviderServerError),
    ("overloaded", 529, ProviderOverloaded),
]


@pytest.mark.parametrize(("case", "status", "error_class"), BODIES)
def test_each_published_error_is_its_class(case: str, status: int, error_class: type[ProviderError]) -> None:
    body = (FIXTURES / f"{case}.error.json").read_bytes()
    error = codec.decode_error(status, {"request-id": "req_1", "retry-after": "7"}, body)
    assert type(error) is error_class
    assert error.status == status
    assert error.request_id == "req_1"
    assert error.retry_after_s == 7
    assert error.message == json.loads(body)["error"]["message"]
    assert error.provider_code


def test_every_error_fixture_is_in_the_table() -> None:
    assert {path.name.removesuffix(".error.json") for path in FIXTURES.glob("*.error.json")} == {
        row[0] for row in BODIES
    }


OTHERS: list[tuple[int, bytes, type[ProviderError]]] = [
    (400, b"", ProviderBadRequest),
    (401, b"<html>401</html>", ProviderAuthenticationError),
    (402, b"{}", ProviderQuotaExceeded),
    (404, b"null", ProviderModelNotFound),
    (413, b"<html>nginx</html>", ProviderRequestTooLarge),
    (418, b"teapot", ProviderBadRequest),
    (429, b"[]", ProviderRateLimited),
    (500, b"\xff\xfe", ProviderServerError),
    (502, b'{"error": "a string"}', ProviderServerError),
    (503, b"", ProviderOverloaded),
    (529, b"", ProviderOverloaded),
    (599, b"", ProviderServerError),
    # A relay's own statuses say more than the general types.
    (401, b'{"type":"error","error":{"type":"invalid_request_error","message":"no key"}}', ProviderAuthenticationError),
    (503, b'{"type":"error","error":{"type":"api_error","message":"busy"}}', ProviderOverloaded),
    # The words alone decide nothing.
    (500, b'{"type":"error","error":{"type":"api_error","message":"prompt is too long"}}', ProviderServerError),
    (400, b'{"error":{"type":"invalid_request_error","message":"the prompt is too long"}}', ProviderBadRequest),
]


@pytest.mark.parametrize(("status", "body", "error_class"), OTHERS)
def test_any_other_body_goes_by_its_status(status: int, body: bytes, error_class: type[ProviderError]) -> None:
    error = codec.decode_error(status, {}, body)
    assert type(error) is error_class
    assert str(error)


@given(status=st.integers(300, 700), body=st.binary(max_size=200), headers=st.dictionaries(st.text(), st.text()))
@settings(max_examples=100, deadline=None)
def test_any_bytes_give_an_error_and_raise_none(status: int, body: bytes, headers: dict[str, str]) -> None:
    assert isinstance(codec.decode_error(status, headers, body), ProviderError)


def test_every_class_has_its_row() -> None:
    assert set(every_class()) == set(REPLIES)
    assert len(REPLIES) > 25


@pytest.mark.parametrize("error_class", list(every_class()))
def test_every_class_is_written_as_anthropic_writes_errors(error_class: type[WaypostError]) -> None:
    reply = codec.encode_error(example(error_class))
    body = json.loads(reply.body)
    assert body["type"] == "error"
    assert body["error"]["type"].endswith("_error") or body["error"]["type"] == "request_too_large"
    assert body["error"]["message"]
    assert 400 <= reply.status < 600
    assert (reply.status == 401) == (error_class is errors.AuthenticationRequired)


SDK_STATUSES = {400, 401, 402, 403, 404, 413, 422, 429, 500, 502, 503, 504, 529}


def test_the_statuses_reach_every_exception_of_the_sdk() -> None:
    assert {status for status, _ in REPLIES.values()} >= SDK_STATUSES


@pytest.mark.parametrize("error_class", [ContextLengthExceeded, ContentPolicyViolation])
def test_causes_that_clients_know_by_the_message_are_known_to_them(error_class: type[ProviderError]) -> None:
    """Whatever provider the error came from."""
    reply = codec.encode_error(error_class("This model's maximum context length is 8192 tokens."))
    assert type(codec.decode_error(reply.status, reply.headers, reply.body)) is error_class


def test_the_wait_and_the_providers_request_id_are_passed_on() -> None:
    reply = codec.encode_error(ProviderRateLimited("slow", retry_after_s=1.2, request_id="req_9"))
    assert reply.headers["retry-after"] == "2"
    assert json.loads(reply.body)["request_id"] == "req_9"


def test_a_subclass_from_elsewhere_is_told_as_its_parent() -> None:
    class Mine(ProviderOverloaded):
        """A plugin's own."""

    assert codec.encode_error(Mine("x")).status == 529


def test_the_hint_is_told_too_and_bad_text_is_written_as_utf8() -> None:
    reply = codec.encode_error(errors.InvalidRequest("bad \ud800", hint="Do this."))
    assert json.loads(reply.body.decode())["error"]["message"] == "bad \ufffd. Do this."


def test_codes_name_causes_the_type_does_not() -> None:
    for code, error_class in CODES.items():
        error = {"type": "rate_limit_error", "message": "x", "details": {"error_code": code}}
        body = json.dumps({"type": "error", "error": error}).encode()
        decoded = codec.decode_error(429, {}, body)
        assert type(decoded) is error_class
        assert decoded.provider_code == code
