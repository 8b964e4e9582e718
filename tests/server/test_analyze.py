"""POST /api/ai/analyze on both databases: what is taken on is there whole, and what is refused has left nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, insert, select
from tests.databases import PostgresServer
from tests.ledger.administered import key, project
from tests.server.gated import becomes
from tests.server.keyed import bearer, keyed

from waypost.jobs import rows
from waypost.jobs.job import Input
from waypost.ledger.subjects import key_subject
from waypost.server.api import create_app
from waypost.store.database import Database
from waypost.store.job_tables import job_events, job_inputs, jobs
from waypost.store.migrate import upgrade
from waypost.store.tables import spend

ANALYZE = "/api/ai/analyze"
KEYS: dict[str, dict[str, Any]] = {
    "ann": {"key": "key-of-ann-0123456789"},
    "narrow": {"key": "key-of-narrow-0123456", "routes": ["cheap-one"]},
    "operator": {"key": "key-of-operator-01234", "admin": True},
}
PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF"
KIND = {"prompt": "Of what tone is {content}?", "json_schema": {"type": "object"}}


def shows(name: str) -> dict[str, str]:
    return bearer(KEYS[name]["key"])


def served(database: Database, **more: Any) -> TestClient:
    settings = {"keys": KEYS, "kinds": {"tone": KIND, "tender": {**KIND, "model": "cheap-one"}}, **more}
    return TestClient(create_app(keyed(database, **settings)), headers=shows("ann"))


@pytest.fixture
def http(database: Database) -> Iterator[TestClient]:
    with served(database, jobs={"max_content_bytes": 1024}) as client:
        yield client


def stored(database: Database) -> tuple[int, ...]:
    with database.read() as connection:
        return tuple(
            connection.scalar(select(func.count()).select_from(table)) or 0 for table in (jobs, job_inputs, job_events)
        )


def test_a_text_is_taken_on_at_once_and_is_there_with_all_that_was_said(http: TestClient, database: Database) -> None:
    asked = {
        "content": "Käse, please. \N{CHEESE WEDGE}",
        "model": "default",
        "kinds": ["analysis", "tone"],
        "tags": {"team": "search"},
        "priority": 3,
        "allow_offline": True,
        "user": "u1",
        "webhook": "https://hooks.example.com/waypost",
    }
    reply = http.post(ANALYZE, json=asked, headers={"x-waypost-tags": "team=other, feature=x"})
    told = reply.json()
    assert reply.status_code == 202
    assert told == {
        "job_id": told["job_id"],
        "message": "Analysis started",
        "status": "processing",
        "url": f"/api/ai/jobs/{told['job_id']}",
    }
    assert reply.headers["location"] == told["url"]
    with database.read() as connection:
        job = rows.find(connection, "config:ann", told["job_id"])
        assert rows.input_of(connection, job.id) == Input(asked["content"].encode())  # type: ignore[attr-defined]
    assert (job.type, job.state, job.key_id, job.priority, job.end_user) == ("analyze", "queued", "config:ann", 3, "u1")
    assert job.request == {"kinds": ["analysis", "tone"], "model": "default", "allow_offline": True}
    assert job.tags == {"team": "search", "feature": "x"}
    assert job.webhook_url == "https://hooks.example.com/waypost"


def test_prompt_is_another_name_for_content(http: TestClient, database: Database) -> None:
    job_id = http.post(ANALYZE, json={"prompt": "a text"}).json()["job_id"]
    with database.read() as connection:
        assert rows.input_of(connection, job_id) == Input(b"a text")
        assert rows.find(connection, None, job_id).request["kinds"] == ["analysis"]


@pytest.mark.parametrize(
    ("name", "media_type", "data", "kept"),
    [
        ("a.txt", "text/plain; charset=latin-1", "Käse".encode("latin-1"), "text/plain; charset=latin-1"),
        ("dir/b.md", None, b"# head", "text/markdown"),
        ("c.html", "text/html", b"<p>x</p>", "text/html"),
        ("C:\\d.PDF", "application/octet-stream", PDF, "application/pdf"),
        (
            "e.docx",
            None,
            b"PK\x03\x04rest",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
    ],
)
def test_a_document_is_taken_on_as_it_is(
    http: TestClient, database: Database, name: str, media_type: str | None, data: bytes, kept: str
) -> None:
    fields = {"kinds": "analysis,tone", "tags": "team=search", "priority": "2", "allow_offline": "true"}
    reply = http.post(ANALYZE, data=fields, files={"file": (name, data, media_type)})
    assert reply.status_code == 202, reply.text
    with database.read() as connection:
        job = rows.find(connection, None, reply.json()["job_id"])
        content = rows.input_of(connection, job.id)
    assert content == Input(data, kept, name.replace("\\", "/").rpartition("/")[2])
    assert (job.request["kinds"], job.tags, job.priority) == (["analysis", "tone"], {"team": "search"}, 2)
    assert job.request["allow_offline"] is True


JSON = {"content-type": "application/json"}
REFUSED: dict[str, tuple[Any, int, str, str | None]] = {
    "nothing": ({}, 400, "invalid_request", "content"),
    "empty": ({"content": ""}, 422, "empty_document", "content"),
    "only white space": ({"prompt": " \n\t"}, 422, "empty_document", "prompt"),
    "both": ({"content": "a", "prompt": "b"}, 400, "invalid_request", "prompt"),
    "NUL": ({"content": "a\0b"}, 415, "binary_document", "content"),
    "bytes read as text": ({"content": "\x01\x02\N{REPLACEMENT CHARACTER}" * 9}, 415, "binary_document", "content"),
    "too long": ({"content": "x" * 1025}, 413, "document_too_large", "content"),
    "too long in bytes": ({"content": "ä" * 513}, 413, "document_too_large", "content"),
    "webhook within": ({"content": "a", "webhook": "https://10.0.0.1/x"}, 400, "webhook_refused", "webhook"),
    "webhook to metadata": ({"content": "a", "webhook": "http://169.254.169.254/"}, 400, "webhook_refused", "webhook"),
    "webhook to this machine": ({"content": "a", "webhook": "https://localhost/"}, 400, "webhook_refused", "webhook"),
    "no webhook": ({"content": "a", "webhook": "x"}, 400, "webhook_refused", "webhook"),
    "no text": ({"content": 7}, 400, "invalid_request", "content"),
    "a list": ([1], 400, "invalid_request", None),
    "unknown kind": ({"content": "a", "kinds": ["tonne"]}, 404, "unknown_kind", "kinds"),
    "no kinds": ({"content": "a", "kinds": []}, 400, "invalid_request", "kinds"),
    "unknown model": ({"content": "a", "model": "defautl"}, 404, "unknown_model", "model"),
    "priority": ({"content": "a", "priority": 10}, 400, "invalid_request", "priority"),
    "priority in words": ({"content": "a", "priority": "high"}, 400, "invalid_request", "priority"),
    "unknown field": ({"content": "a", "kind": ["tone"]}, 400, "invalid_request", "kind"),
    "tags": ({"content": "a", "tags": {"a b": "c"}}, 400, "invalid_request", "tags"),
    "a tag of two lines": ({"content": "a", "tags": {"a": "b\nc"}}, 400, "invalid_request", "tags"),
    "key": ({"content": "a", "idempotency_key": "ä"}, 400, "invalid_request", "idempotency_key"),
    "long key": ({"content": "a", "idempotency_key": "x" * 256}, 400, "invalid_request", "idempotency_key"),
    "user": ({"content": "a", "user": ""}, 400, "invalid_request", "user"),
}


def test_a_request_that_is_wrong_is_refused_and_leaves_nothing(http: TestClient, database: Database) -> None:
    told = {}
    for case, (body, *_) in REFUSED.items():
        reply = http.post(ANALYZE, content=json.dumps(body), headers=JSON)
        error = reply.json()["error"]
        told[case] = (reply.status_code, error["code"], error.get("param"))
    assert told == {case: tuple(expected) for case, (_, *expected) in REFUSED.items()}
    assert stored(database) == (0, 0, 0)


def test_errors_name_the_limit_and_what_was_meant(http: TestClient) -> None:
    def sentence(body: Any) -> str:
        error = http.post(ANALYZE, json=body).json()["error"]
        return f"{error['message']} {error['hint']}"

    assert "1024" in sentence({"content": "x" * 2000})
    assert "Did you mean tone?" in sentence({"content": "a", "kinds": ["tonne"]})
    assert "default" in sentence({"content": "a", "model": "defautl"})
    assert "did you mean kinds?" in sentence({"content": "a", "kind": ["tone"]})
    assert "at most 9" in sentence({"content": "a", "priority": 10})


FORMS: dict[str, tuple[dict[str, Any], dict[str, Any], int, str]] = {
    "empty file": ({}, {"file": ("a.txt", b"")}, 422, "empty_document"),
    "too large": ({}, {"file": ("a.txt", b"x" * 1025)}, 413, "document_too_large"),
    "far too large": ({}, {"file": ("a.txt", b"x" * 1_000_000)}, 413, "document_too_large"),
    "a picture": ({}, {"file": ("a.png", b"\x89PNG")}, 415, "unsupported_document"),
    "a PDF called text": ({}, {"file": ("a.txt", PDF)}, 415, "binary_document"),
    "text called PDF": ({}, {"file": ("a.pdf", b"text")}, 422, "damaged_document"),
    "two contents": ({"content": "a"}, {"file": ("a.txt", b"x")}, 400, "invalid_request"),
    "unknown field": ({"kind": "tone"}, {"file": ("a.txt", b"x")}, 400, "invalid_request"),
    "unknown kind": ({"kinds": "tonne"}, {"file": ("a.txt", b"x")}, 404, "unknown_kind"),
    "flag": ({"allow_offline": "yes"}, {"file": ("a.txt", b"x")}, 400, "invalid_request"),
    "priority": ({"priority": "high"}, {"file": ("a.txt", b"x")}, 400, "invalid_request"),
    "tags": ({"tags": "team"}, {"file": ("a.txt", b"x")}, 400, "invalid_request"),
    "not UTF-8": ({}, {"model": (None, b"\xff")}, 400, "invalid_request"),
    "no file": ({}, {"file": (None, b"x")}, 400, "invalid_request"),
}


def test_a_form_that_is_wrong_is_refused_and_leaves_nothing(http: TestClient, database: Database) -> None:
    told = {}
    for case, (fields, files, *_) in FORMS.items():
        reply = http.post(ANALYZE, data=fields, files=files)
        told[case] = (reply.status_code, reply.json()["error"]["code"])
    assert told == {case: tuple(expected) for case, (_, _, *expected) in FORMS.items()}
    assert stored(database) == (0, 0, 0)


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b"a text", 415),
        ("multipart/form-data", b"x", 400),
        ("multipart/form-data; boundary=B", b"--B\r\ncontent-disposition: form-data; name=content\r\n\r\ncut", 400),
        ("application/json", b'{"content": "a", "content": "b"}', 400),
        ("application/json", b'{"content": "\\ud800"}', 400),
        ("application/json", b'{"content": "a"', 400),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(
    http: TestClient, database: Database, content_type: str, body: bytes, status: int
) -> None:
    reply = http.post(ANALYZE, content=body, headers={"content-type": content_type})
    assert reply.status_code == status, reply.text
    assert stored(database) == (0, 0, 0)


def test_forms_are_taken_nowhere_else(http: TestClient) -> None:
    assert http.post("/api/ai/generate", files={"file": ("a.txt", b"x")}).status_code == 415


def test_the_same_key_gives_the_same_job_and_another_request_is_refused(http: TestClient, database: Database) -> None:
    asked = {"content": "a text", "idempotency_key": "once"}
    first = http.post(ANALYZE, json=asked)
    again = http.post(ANALYZE, json={"content": "a text"}, headers={"idempotency-key": "once"})
    assert (first.status_code, "idempotent-replayed" in first.headers) == (202, False)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json() == first.json()
    other = http.post(ANALYZE, json={**asked, "content": "another text"})
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    differ = http.post(ANALYZE, json=asked, headers={"idempotency-key": "twice"})
    assert (differ.status_code, differ.json()["error"]["param"]) == (400, "idempotency_key")
    assert stored(database) == (1, 1, 1)
    with_other_key = http.post(ANALYZE, json=asked, headers=shows("narrow") | {"x": "y"})
    assert with_other_key.status_code == 403


def test_a_key_may_only_ask_for_what_it_may(http: TestClient, database: Database) -> None:
    def status(name: str, **fields: Any) -> int:
        return http.post(ANALYZE, json={"content": "a", **fields}, headers=shows(name)).status_code

    assert [status("narrow"), status("narrow", model="cheap-one"), status("narrow", kinds=["tender"])] == [
        403,
        202,
        202,
    ]
    assert status("narrow", kinds=["tender", "tone"]) == 403


def test_while_as_many_wait_as_may_new_ones_are_refused_and_known_ones_are_not(database: Database) -> None:
    with served(database, jobs={"max_queued": 2}) as http:
        known = {"content": "a", "idempotency_key": "known"}
        assert [http.post(ANALYZE, json=known).status_code, http.post(ANALYZE, json={"content": "b"}).status_code] == [
            202,
            202,
        ]
        refused = http.post(ANALYZE, json={"content": "c"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_jobs")
        assert int(refused.headers["retry-after"]) > 0
        assert http.post(ANALYZE, json=known).status_code == 200
        assert http.post(ANALYZE, json={"content": "c"}, headers=shows("narrow")).status_code == 403
        assert stored(database)[0] == 2


def test_a_server_without_jobs_says_so(database: Database) -> None:
    with served(database, jobs={"enabled": False}) as http:
        reply = http.post(ANALYZE, json={"content": "a"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (422, "unsupported_feature")
        assert http.get("/api/ai/jobs").status_code == 200


def test_a_key_whose_budget_is_spent_is_refused_at_once(database: Database) -> None:
    owner = project(database)
    spent, left = key(database, owner, "spent", daily_budget_usd=1), key(database, owner, "left", daily_budget_usd=1)
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    with database.write() as connection:
        for made, micro_usd in ((spent, 1_000_000), (left, 999_000)):
            row = {"subject": key_subject(made.key.id), "window": today, "micro_usd": micro_usd}
            connection.execute(insert(spend).values(row))
    with served(database, keys={}) as http:
        refused = http.post(ANALYZE, json={"content": "a"}, headers=bearer(spent.text))
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
        assert refused.json()["error"]["details"]["limit"]["name"] == "spent"
        assert int(refused.headers["retry-after"]) > 0
        assert http.post(ANALYZE, json={"content": "a"}, headers=bearer(left.text)).status_code == 202
    assert stored(database)[0] == 1


def test_while_the_database_is_away_jobs_are_refused_with_a_time_and_nothing_is_stored_half(
    postgres: PostgresServer,
) -> None:
    database = Database(postgres.url)
    upgrade(database)
    with served(database) as http:
        assert http.post(ANALYZE, json={"content": "before"}).status_code == 202
        postgres.stop()
        began = time.monotonic()
        for path, method in ((ANALYZE, "POST"), ("/api/ai/jobs", "GET")):
            reply = http.request(method, path, json={"content": "during"} if method == "POST" else None)
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "database_unavailable")
            assert int(reply.headers["retry-after"]) > 0
        assert time.monotonic() - began < 15
        postgres.start()
        after = {"content": "after", "idempotency_key": "one"}
        assert becomes(lambda: http.post(ANALYZE, json=after).status_code in (200, 202))
        assert stored(database) == (2, 2, 2)
    database.close()
