"""Keys are in the reply that made them and nowhere else: no log, no error, no other body, no repr, no audit line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select
from tests.server.keyed import bearer, keyed

from waypost.server.api import create_app
from waypost.server.callers import MOST_FAILURES
from waypost.store.database import Database
from waypost.store.tables import metadata

PROJECTS, KEYS = "/api/admin/projects", "/api/admin/keys"
CONFIGURED = "a-configured-admin-key"
INJECTIONS = [
    "a\r\nx-injected: yes",
    'a\n{"level": "error", "forged": true}',
    "a\x1b[2J\x1b[31mred",
    "a\x00b",
    "a\u2028b",
    "\u202etxet",
]
"""Another header, another line of the log, a terminal's commands, an end of text, and text the wrong way round."""


@pytest.fixture
def http(database: Database) -> Iterator[TestClient]:
    application = keyed(database, keys={"operator": {"key": CONFIGURED, "admin": True}})
    with TestClient(create_app(application), headers=bearer(CONFIGURED)) as client:
        yield client


def forms(key: str) -> list[str]:
    """All that would give a key away, its hash in the ways it is written."""
    digest = sha256(key.encode())
    return [key, key[8:-5], digest.hexdigest(), repr(digest.digest())[2:-1]]


def made(http: TestClient, path: str, **fields: Any) -> dict[str, Any]:
    told: dict[str, Any] = http.post(path, json=fields).json()
    return told


def test_no_log_error_or_later_body_holds_a_key(
    http: TestClient, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    project = made(http, PROJECTS, name="shop")
    key = made(http, KEYS, name="web", project_id=project["id"], routes=["cheap-one"])
    admin = made(http, KEYS, name="ops", is_admin=True)
    text, path = key["key"], f"{KEYS}/{key['id']}"
    chat = {"model": "other", "messages": [{"role": "user", "content": "p"}]}
    replies = [
        http.get("/v1/models", headers={"authorization": "", "x-api-key": text}),
        http.get(f"/v1beta/models?key={text}", headers={"authorization": ""}),
        http.post("/v1/chat/completions", json=chat, headers=bearer(text)),
        http.post("/v1/chat/completions", json={**chat, "model": "cheap-one"}, headers=bearer(text)),
        http.post("/api/ai/generate", json={"prompt": "p"}, headers=bearer(text)),
        http.get(KEYS, headers=bearer(text)),
        http.get("/v1/models", headers=bearer(f"{text}x")),
        http.get("/v1/models", headers={"authorization": f"Basic {text}"}),
        http.post(KEYS, json={"name": "web", "project_id": text}),
        http.patch(path, json={"requests_per_minute": text}),
        http.get(KEYS, params={"state": text}),
        http.get(path),
        http.get(KEYS),
        http.get("/api/admin/audit"),
        http.get("/api/admin/status"),
        http.get("/ready"),
        http.delete(path),
        http.get("/v1/models", headers=bearer(text)),
    ]
    # The test's own client logs the addresses that it asks for.
    logged = [record.getMessage() + str(record.exc_text) for record in caplog.records if record.name[:5] != "httpx"]
    told = "\n".join([*(reply.text + repr(reply.headers) for reply in replies), *logged])
    assert "/v1beta/models" in told
    with database.read() as connection:
        # Of a key only its hash is stored; here, all else that is.
        tables = [table for table in metadata.sorted_tables if table.name != "key_secrets"]
        stored = repr([row for table in tables for row in connection.execute(select(table))])
    for secret in (text, admin["key"]):
        for form in forms(secret):
            assert form not in told
            assert form not in stored


def test_a_failing_database_tells_neither_key_nor_hash(
    http: TestClient, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """In the middle of making a key, when both are at hand."""
    caplog.set_level(logging.DEBUG)
    with database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE key_secrets RENAME COLUMN shown TO displayed")
    reply = http.post(KEYS, json={"name": "ops", "is_admin": True})
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "database_unavailable")
    told = reply.text + caplog.text + "".join(str(record.exc_info) for record in caplog.records)
    assert "an administrator's request failed" in told
    for mark in ("wpa_", "sha256", "INSERT", "displayed", str(database.url.database)):
        assert mark not in reply.text
    assert "wpa_" not in told


def test_every_text_field_refuses_what_would_inject(http: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    project = made(http, PROJECTS, name="shop")
    key = made(http, KEYS, name="web", project_id=project["id"])
    for text in INJECTIONS:
        fields: list[dict[str, Any]] = [
            {"name": text},
            {"routes": [text]},
            {"tags": {"t": text}},
            {"tags": {text: "t"}},
        ]
        bodies = [
            *((PROJECTS, {"name": "other", **each}) for each in fields),
            *((KEYS, {"name": "other", "project_id": project["id"], **each}) for each in fields),
            (KEYS, {"name": "other", "project_id": text}),
            (KEYS, {"name": "other", "project_id": project["id"], "expires_at": text}),
        ]
        replies = [http.post(path, json=body) for path, body in bodies]
        replies += [http.patch(f"{PROJECTS}/{project['id']}", json=each) for each in fields]
        replies += [http.patch(f"{KEYS}/{key['id']}", json=each) for each in [*fields, {"expires_at": text}]]
        assert {reply.status_code for reply in replies} <= {404, 422}
        assert not any("x-injected" in reply.headers for reply in replies)
        assert text not in caplog.text
        # What is told again of it is JSON, in which no control character stands by itself.
        assert not any(character in reply.text for reply in replies for character in "\r\n\x1b\x00")
    assert [item["name"] for item in http.get(PROJECTS).json()["items"]] == ["shop"]
    assert [item["name"] for item in http.get(KEYS).json()["items"]] == ["web"]


@pytest.mark.parametrize(
    "name", ["'; DROP TABLE keys; --", 'a" onload="x', "{{7*7}}", "%s%n", "$(reboot)", "a\\nb", "=1+1"]
)
def test_a_name_that_looks_like_code_is_a_name_in_every_reply_and_error(http: TestClient, name: str) -> None:
    project = made(http, PROJECTS, name=name)
    key = made(http, KEYS, name=name, project_id=project["id"], routes=["nothing"])
    assert http.get(f"{KEYS}/{key['id']}").json()["name"] == name
    refused = http.get("/v1/models/default", headers=bearer(key["key"]))
    assert refused.status_code == 403
    assert f'The key "{name}" may not ask' in refused.json()["error"]["message"]
    taken = http.post(PROJECTS, json={"name": name}).json()["error"]
    assert taken["message"] == f'The name "{name}" is taken.'


def test_wrong_keys_of_the_database_s_form_are_throttled_too(http: TestClient) -> None:
    statuses = [
        http.get("/v1/models", headers=bearer(f"wp_{number:043}")).status_code for number in range(MOST_FAILURES + 2)
    ]
    assert statuses == [401] * MOST_FAILURES + [429] * 2
    assert http.get("/v1/models").status_code == 200
