"""What callers can get wrong: each is one clear sentence with a status, never a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

PATH = "/api/ai/generate"
JSON = {"content-type": "application/json"}
Client = Callable[..., TestClient]
DEEP = b'{"prompt":"x","messages":' + b"[" * 50_000 + b"]" * 50_000 + b"}"

BODIES: list[tuple[bytes, str | None, str]] = [
    (b"", None, "The body is empty"),
    (b"   ", None, "The body is empty"),
    (b"{", None, "line 1, column 2"),
    (b'{"prompt":\n "x",\n!}', None, "line 3, column 1"),
    (b'{"prompt":"x"} {}', None, "line 1, column 16"),
    (b'\xff{"prompt":"x"}', None, "not UTF-8 (byte 0)"),
    (b'\xef\xbb\xbf{"prompt":"x"}', None, "begins with a byte order mark, which must be left out"),
    (b'{"prompt":"x","prompt":"y"}', None, "the key 'prompt' is given twice"),
    (b'{"prompt":"x","temperature":NaN}', None, "NaN is not a JSON number"),
    (b'{"prompt":"x","temperature":-Infinity}', None, "-Infinity is not a JSON number"),
    (b'{"prompt":"x","temperature":1e999}', None, "1e999 is out of range"),
    (b'{"prompt":"x","seed":' + b"9" * 5000 + b"}", None, "too many digits"),
    (b'{"prompt":"\\ud800"}', None, "surrogate"),
    (DEEP, None, "nested deeper than the limit of 128"),
    (b"[]", None, "must be a JSON object, not a list"),
    (b'"x"', None, "must be a JSON object, not a string"),
    (b"null", None, "must be a JSON object, not null"),
    (b"{}", "prompt", "The prompt is empty"),
    (b'{"prompt":""}', "prompt", "The prompt is empty"),
    (b'{"prompt":" \\n\\t "}', "prompt", "The prompt is empty"),
    (b'{"prompt":"","messages":[]}', "prompt", "The prompt is empty"),
    (b'{"prompt":5}', "prompt", "prompt must be a string, not 5."),
    (b'{"prompt":["x"]}', "prompt", "prompt must be a string, not a list."),
    (b'{"prompt":"x","max_tokens":0}', "max_tokens", "max_tokens must be at least 1, not 0."),
    (b'{"prompt":"x","max_tokens":"5"}', "max_tokens", "max_tokens must be a whole number, not a string."),
    (b'{"prompt":"x","max_tokens":true}', "max_tokens", "max_tokens must be a whole number, not true."),
    (b'{"prompt":"x","max_tokens":1.5}', "max_tokens", "max_tokens must be a whole number, not 1.5."),
    (b'{"prompt":"x","temperature":2.5}', "temperature", "temperature must be at most 2, not 2.5."),
    (b'{"prompt":"x","temperature":-1}', "temperature", "temperature must be at least 0, not -1."),
    (b'{"prompt":"x","top_p":"1"}', "top_p", "top_p must be a number, not a string."),
    (b'{"prompt":"x","stream":"yes"}', "stream", "stream must be true or false, not a string."),
    (b'{"prompt":"x","stop":[1]}', "stop", "stop must be a string or a list of strings."),
    (b'{"prompt":"x","tool_choice":1}', "tool_choice", 'tool_choice must be "auto", "none", "required" or an object'),
    (b'{"prompt":"x","messages":{}}', "messages", "messages must be a list, not an object."),
    (b'{"prompt":"x","messages":[1]}', "messages[0]", "messages[0] must be an object, not 1."),
    (b'{"prompt":"x","max_token":5}', "max_token", 'There is no field "max_token": did you mean max_tokens?'),
    (b'{"prompt":"x","zzz":5}', "zzz", 'There is no field "zzz".'),
]


@pytest.mark.parametrize(("body", "param", "told"), BODIES, ids=[repr(row[0][:40]) for row in BODIES])
def test_a_bad_body_is_named(client: Client, scripted: Any, body: bytes, param: str | None, told: str) -> None:
    provider = scripted("never")
    reply = client(provider).post(PATH, content=body, headers=JSON)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error.get("param")) == (400, "invalid_request", param)
    assert told in error["message"]
    assert provider.calls == []


def test_every_finding_is_listed(client: Client, scripted: Any) -> None:
    reply = client(scripted()).post(PATH, json={"prompt": "x", "max_tokens": 0, "temperature": 9, "nope": 1})
    found = reply.json()["error"]["details"]["findings"]
    assert [each["param"] for each in found] == ["max_tokens", "temperature", "nope"]


TYPES: list[tuple[dict[str, str], int]] = [
    ({"content-type": "application/json"}, 200),
    ({"content-type": "application/json; charset=utf-8"}, 200),
    ({"content-type": "APPLICATION/JSON"}, 200),
    ({"content-type": "application/vnd.api+json"}, 200),
    ({}, 415),
    ({"content-type": "text/plain"}, 415),
    ({"content-type": "application/x-www-form-urlencoded"}, 415),
    ({"content-type": "multipart/form-data; boundary=x"}, 415),
    ({"content-type": "text/plain; application/json"}, 415),
    ({"content-type": "application/jsonx"}, 415),
    ({"content-type": "application/json", "content-encoding": "gzip"}, 415),
    ({"content-type": "application/json", "content-encoding": "identity"}, 200),
]


@pytest.mark.parametrize(("headers", "status"), TYPES)
def test_only_json_is_taken(client: Client, scripted: Any, headers: dict[str, str], status: int) -> None:
    reply = client(scripted("ok")).post(PATH, content=b'{"prompt":"x"}', headers=headers)
    assert reply.status_code == status
    if status == 415:
        assert reply.json()["error"]["code"] == "unsupported_media_type"
        assert reply.json()["error"]["hint"]


ROUTES: list[tuple[str, str, int, str, str]] = [
    ("GET", "/nope", 404, "unknown_path", "There are /"),
    ("GET", "/health/", 404, "unknown_path", "Did you mean /health?"),
    ("GET", "/api/ai/generat", 404, "unknown_path", "Did you mean /api/ai/generate?"),
    ("GET", "/assets/../conftest.py", 404, "unknown_path", ""),
    ("GET", "/assets/docs.html", 404, "unknown_path", ""),
    ("GET", PATH, 405, "method_not_allowed", "It takes POST."),
    ("DELETE", "/health", 405, "method_not_allowed", "It takes GET and HEAD."),
    ("OPTIONS", "/ready", 405, "method_not_allowed", "It takes GET and HEAD."),
    ("PUT", "/", 405, "method_not_allowed", "It takes GET and HEAD."),
]


@pytest.mark.parametrize(("method", "path", "status", "code", "hint"), ROUTES)
def test_a_wrong_address_or_method(client: Client, method: str, path: str, status: int, code: str, hint: str) -> None:
    reply = client().request(method, path)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, code)
    assert hint in error["hint"]
    assert ("allow" in reply.headers) == (status == 405)


@given(st.binary(max_size=200) | st.text(max_size=60).map(str.encode) | st.from_regex(rb'\{"prompt":[^}]{0,30}\}'))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_an_answer_or_a_client_error(client: Client, scripted: Any, body: bytes) -> None:
    reply = client(scripted("ok")).post(PATH, content=body, headers=JSON)
    assert reply.status_code in (200, 400)
    assert reply.json()


def test_a_body_over_the_limit_is_refused_before_it_is_read(client: Client, scripted: Any) -> None:
    body = b'{"prompt":"' + b"x" * 3000 + b'"}'
    reply = client(scripted(), max_body_bytes=2048).post(PATH, content=body, headers=JSON)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (413, "body_too_large")
    assert "2048 bytes" in error["message"]


def test_a_body_at_the_limit_is_taken(client: Client, scripted: Any) -> None:
    body = b'{"prompt":"' + b"x" * 2035 + b'"}'
    assert len(body) == 2048
    assert client(scripted("ok"), max_body_bytes=2048).post(PATH, content=body, headers=JSON).status_code == 200
