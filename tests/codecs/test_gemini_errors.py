"""Errors of the Gemini format, both ways."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.example_errors import every_class, example

from waypost import errors
from waypost.codecs.gemini import codec
from waypost.codecs.gemini.errors import REASONS, REPLIES, STATUS_NAMES
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

FIXTURES = Path(__file__).parents[1] / "fixtures" / "gemini"

BODIES: list[tuple[str, int, type[ProviderError]]] = [
    ("invalid_argument", 400, ProviderBadRequest),
    ("invalid_key", 400, ProviderAuthenticationError),
    ("context_length", 400, ContextLengthExceeded),
    ("payload_size", 400, ProviderRequestTooLarge),
    ("location", 400, ProviderPermissionError),
    ("unauthenticated", 401, ProviderAuthenticationError),
    ("permission", 403, ProviderPermissionError),
    ("not_found", 404, ProviderModelNotFound),
    ("rate_limit", 429, ProviderRateLimited),
    ("daily_quota", 429, ProviderQuotaExceeded),
    ("internal", 500, ProviderServerError),
    ("overloaded", 503, ProviderOverloaded),
    ("deadline", 504, ProviderServerError),
]


@pytest.mark.parametrize(("case", "status", "error_class"), BODIES)
def test_each_published_error_is_its_class(case: str, status: int, error_class: type[ProviderError]) -> None:
    body = (FIXTURES / f"{case}.error.json").read_bytes()
    error = codec.decode_error(status, {}, body)
    wire = json.loads(body)["error"]
    assert type(error) is error_class
    assert error.status == wire["code"] == status
    assert error.message == wire["message"].strip()
    assert error.provider_code in (wire["status"], "API_KEY_INVALID", "ACCESS_TOKEN_EXPIRED")
    assert error.retry_after_s == (13.5 if status == 429 else None)


def test_every_error_fixture_is_in_the_table() -> None:
    assert {path.name.removesuffix(".error.json") for path in FIXTURES.glob("*.error.json")} == {
        row[0] for row in BODIES
    }


def google(status: str, message: str = "x", **members: object) -> bytes:
    return json.dumps({"error": {"message": message, "status": status, **members}}).encode()


OTHERS: list[tuple[int, bytes, type[ProviderError]]] = [
    (400, b"", ProviderBadRequest),
    (401, b"<html>401</html>", ProviderAuthenticationError),
    (403, b"{}", ProviderPermissionError),
    (404, b"null", ProviderModelNotFound),
    (413, b"<html>nginx</html>", ProviderRequestTooLarge),
    (418, b"teapot", ProviderBadRequest),
    (429, b"[]", ProviderRateLimited),
    (500, b"\xff\xfe", ProviderServerError),
    (502, b'{"error": "a string"}', ProviderServerError),
    (503, b'{"error": {}}', ProviderOverloaded),
    (599, b"", ProviderServerError),
    (499, google("CANCELLED"), ProviderServerError),
    (500, b"[" + google("RESOURCE_EXHAUSTED") + b"]", ProviderRateLimited),
    (429, google("RESOURCE_EXHAUSTED", details=[{"@type": "x"}, 5]), ProviderRateLimited),
    # The words alone decide nothing.
    (500, google("INTERNAL", "The input token count (9) exceeds"), ProviderServerError),
    (400, google("INVALID_ARGUMENT", "No: The input token count (9) exceeds"), ProviderBadRequest),
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


DELAYS = [
    ("13s", 13),
    ("1.25s", 1.25),
    ("-1s", None),
    ("1e9s", None),
    ("s", None),
    (5, None),
    ("999999999999s", 604800),
]


@pytest.mark.parametrize(("delay", "wait_s"), DELAYS)
def test_the_delay_is_a_duration_of_protobufs(delay: object, wait_s: float | None) -> None:
    detail = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    assert codec.decode_error(429, {}, google("RESOURCE_EXHAUSTED", details=[detail])).retry_after_s == wait_s
    told = codec.decode_error(429, {"retry-after": "7"}, google("RESOURCE_EXHAUSTED", details=[detail])).retry_after_s
    assert told == (7 if wait_s is None else wait_s)


def test_every_class_has_its_row() -> None:
    assert set(every_class()) == set(REPLIES)
    assert len(REPLIES) > 25
    assert {name for _, name in REPLIES.values()} <= set(STATUS_NAMES)


@pytest.mark.parametrize("error_class", list(every_class()))
def test_every_class_is_written_as_google_writes_errors(error_class: type[WaypostError]) -> None:
    reply = codec.encode_error(example(error_class))
    error = json.loads(reply.body)["error"]
    assert error["code"] == reply.status
    assert error["message"]
    assert error["details"][0]["reason"]
    assert 400 <= reply.status < 600
    assert (reply.status == 401) == (error_class is errors.AuthenticationRequired)


SAME = [
    ContextLengthExceeded,
    ContentPolicyViolation,
    ProviderBadRequest,
    ProviderModelNotFound,
    ProviderRequestTooLarge,
    ProviderQuotaExceeded,
    ProviderRateLimited,
    ProviderOverloaded,
]


@pytest.mark.parametrize("error_class", SAME)
def test_a_cause_that_is_written_is_read_as_the_same(error_class: type[ProviderError]) -> None:
    """Whatever provider the error came from."""
    reply = codec.encode_error(error_class("This model's maximum context length is 8192 tokens."))
    assert type(codec.decode_error(reply.status, reply.headers, reply.body)) is error_class


def test_the_wait_and_the_providers_request_id_are_passed_on() -> None:
    reply = codec.encode_error(ProviderRateLimited("slow", retry_after_s=1.25, request_id="req_9"))
    assert reply.headers["retry-after"] == "2"
    again = codec.decode_error(reply.status, {}, reply.body)
    assert (again.retry_after_s, again.request_id) == (1.25, "req_9")


def test_a_subclass_from_elsewhere_is_told_as_its_parent() -> None:
    class Mine(ProviderOverloaded):
        """A plugin's own."""

    assert codec.encode_error(Mine("x")).status == 503


def test_the_hint_is_told_too_and_bad_text_is_written_as_utf8() -> None:
    reply = codec.encode_error(errors.InvalidRequest("bad \ud800", hint="Do this."))
    assert json.loads(reply.body.decode())["error"]["message"] == "bad \ufffd. Do this."


def test_a_key_in_an_error_is_masked() -> None:
    body = google("INVALID_ARGUMENT", "API key AIzaSyD-1234567890abcdef not valid.")
    assert "1234567890" not in str(codec.decode_error(400, {}, body))


def test_reasons_name_causes_the_status_does_not() -> None:
    for reason, error_class in REASONS.items():
        detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}
        assert type(codec.decode_error(400, {}, google("INVALID_ARGUMENT", details=[detail]))) is error_class
