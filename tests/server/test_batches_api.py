"""/api/ai/batches on both databases: what is added is there once, results come in order, and only to their project."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update
from tests.server.keyed import bearer, keyed

from waypost.jobs import batch_changes
from waypost.jobs.batch import item_id
from waypost.ledger.books import now_ms
from waypost.server.api import create_app
from waypost.store.database import Database
from waypost.store.job_tables import batches, jobs
from waypost.store.tables import metadata

BATCHES = "/api/ai/batches"
KEYS: dict[str, dict[str, Any]] = {
    "ann": {"key": "key-of-ann-0123456789"},
    "bob": {"key": "key-of-bob-0123456789"},
    "narrow": {"key": "key-of-narrow-0123456", "routes": ["cheap-one"]},
}
ITEMS = [{"id": "a", "content": "one"}, "two", {"id": 3}]
LINES = {"content-type": "application/x-ndjson"}


def shows(name: str) -> dict[str, str]:
    return bearer(KEYS[name]["key"])


@pytest.fixture
def http(database: Database) -> Iterator[TestClient]:
    settings: dict[str, Any] = {"keys": KEYS, "webhooks": {"allowed_hosts": ["hooks.test"]}}
    app = create_app(keyed(database, jobs={"max_content_bytes": 1024, "max_queued": 50}, **settings))
    with TestClient(app, headers=shows("ann")) as client:
        yield client


def code(reply: Any) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


def begun(http: TestClient, **more: Any) -> str:
    reply = http.post(BATCHES, json=more)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])


def end(database: Database, batch_id: str, index: int, state: str = "succeeded", **values: Any) -> None:
    with database.write() as connection:
        own = jobs.c.id == item_id(batch_id, index)
        connection.execute(update(jobs).where(own).values(state=state, cost_micro_usd=10, **values))
        batch_changes.finish_if_done(connection, batch_id, now_ms(), 30)


def lines(reply: Any) -> list[dict[str, Any]]:
    assert reply.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in reply.text.splitlines()]


def test_the_lower_price_takes_a_route_that_allows_it(http: TestClient, database: Database) -> None:
    refused = http.post(BATCHES, json={"items": ITEMS, "lower_price": True})
    assert code(refused) == (422, "unsupported_feature")
    assert "provider_batches: true" in refused.json()["error"]["hint"]
    claude = {"claude": {"kind": "anthropic", "api_key": "any"}}
    route = {"cheap-one": {"targets": ["claude"], "provider_batches": True}}
    told: dict[str, Any] = {"type": "generate", "model": "cheap-one", "items": ["one"], "lower_price": True}
    with TestClient(create_app(keyed(database, keys=KEYS, providers=claude, routes=route)), headers=shows("ann")) as at:
        reply = at.post(BATCHES, json=told)
        assert reply.status_code == 201, reply.text
        assert reply.json()["request"] == {"model": "cheap-one", "lower_price": True}


def test_a_batch_with_its_items_is_taken_on_whole_and_told_with_counts_and_cost(
    http: TestClient, database: Database
) -> None:
    reply = http.post(BATCHES, json={"name": "reviews", "items": ITEMS, "tags": {"team": "a"}, "user": "u"})
    assert reply.status_code == 201
    told = reply.json()
    assert reply.headers["location"] == f"{BATCHES}/{told['id']}"
    end(database, told["id"], 0, result='{"themes": []}')
    told = http.get(f"{BATCHES}/{told['id']}").json()
    document = http.get("/openapi.json").json()
    schema = {"$ref": "#/components/schemas/BatchModel", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(told)
    assert set(told) == set(document["components"]["schemas"]["BatchModel"]["properties"])
    assert (told["state"], told["total"], told["name"], told["tags"]) == ("running", 3, "reviews", {"team": "a"})
    counts = {"added": 3, "queued": 1, "running": 0, "at_provider": 0, "succeeded": 1, "failed": 1, "cancelled": 0}
    assert (told["counts"], told["provider_batches"]) == (counts, [])
    assert (told["cost_usd"], told["without_price"]) == (0.00001, 0)
    assert told["request"] == {"kinds": ["analysis"], "allow_offline": False}


def test_results_come_in_order_up_to_the_first_that_has_not_ended(http: TestClient, database: Database) -> None:
    batch_id = begun(http, items=[*ITEMS, "four"])
    for index in (0, 3):
        end(database, batch_id, index, result='{"themes": ["ä"]}')
    reply = http.get(f"{BATCHES}/{batch_id}/results")
    assert [each["index"] for each in lines(reply)] == [0]
    assert reply.headers["x-waypost-batch-state"] == "running"
    end(database, batch_id, 1)
    rest = lines(http.get(f"{BATCHES}/{batch_id}/results", params={"after": 0}))
    assert [(each["index"], each["id"], each["status"]) for each in rest] == [
        (1, None, "succeeded"),
        (2, "3", "failed"),
        (3, None, "succeeded"),
    ]
    assert rest[1]["error"]["code"] == "unusable_item"
    assert rest[2]["result"] == {"themes": ["ä"]}
    assert lines(http.get(f"{BATCHES}/{batch_id}/results", params={"after": 3})) == []
    assert http.get(f"{BATCHES}/{batch_id}").json()["state"] == "finished"


def test_lines_are_added_as_they_come_and_the_same_again_adds_nothing(http: TestClient, database: Database) -> None:
    batch_id = begun(http, type="generate", name="prompts")
    body = b'{"prompt": "one"}\n\nno json\n"three"'
    for known in (0, 3):
        reply = http.post(f"{BATCHES}/{batch_id}/items", params={"first": 0}, content=body, headers=LINES)
        assert reply.json() == {"added": 3 - known, "known": known, "next": 3}
    more = http.post(f"{BATCHES}/{batch_id}/items", json={"items": ["four"]})
    assert more.json() == {"added": 1, "known": 0, "next": 4}
    changed = http.post(f"{BATCHES}/{batch_id}/items", json={"items": ["another"], "first": 0})
    assert code(changed) == (409, "conflict")
    closed = http.post(f"{BATCHES}/{batch_id}/close").json()
    assert (closed["state"], closed["total"], closed["counts"]["failed"]) == ("running", 4, 1)
    assert code(http.post(f"{BATCHES}/{batch_id}/items", json={"items": ["five"]})) == (409, "conflict")
    with database.read() as connection:
        requests = connection.execute(select(jobs.c.request).order_by(jobs.c.batch_index)).scalars().all()
    assert [request.get("prompt") for request in requests] == ["one", None, "three", "four"]


def test_many_lines_are_taken_in_several_transactions(http: TestClient, database: Database) -> None:
    batch_id = begun(http)
    body = b"".join(b'{"id": %d, "content": "text"}\n' % number for number in range(700))

    def pieces() -> Iterator[bytes]:
        yield from (body[begin : begin + 999] for begin in range(0, len(body), 999))

    reply = http.post(f"{BATCHES}/{batch_id}/items", content=pieces(), headers=LINES)
    assert reply.json() == {"added": 700, "known": 0, "next": 700}
    assert code(http.post(f"{BATCHES}/{batch_id}/items", json={"items": ["x"]})) == (429, "too_many_jobs")


def test_cancel_retry_and_delete(http: TestClient, database: Database) -> None:
    batch_id = begun(http, items=["one", "two", "three"])
    end(database, batch_id, 0)
    assert code(http.delete(f"{BATCHES}/{batch_id}")) == (409, "job_not_ended")
    told = http.post(f"{BATCHES}/{batch_id}/cancel").json()
    assert (told["state"], told["counts"]["cancelled"], told["counts"]["succeeded"]) == ("cancelled", 2, 1)
    retried = http.post(f"{BATCHES}/{batch_id}/retry")
    assert retried.status_code == 202
    assert (retried.json()["retried"], retried.json()["batch"]["state"]) == (2, "running")
    for index in (1, 2):
        end(database, batch_id, index)
    assert code(http.post(f"{BATCHES}/{batch_id}/cancel")) == (409, "job_has_ended")
    assert http.delete(f"{BATCHES}/{batch_id}").status_code == 204
    assert code(http.get(f"{BATCHES}/{batch_id}")) == (404, "unknown_batch")
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(jobs)) == 0


def test_the_same_key_gives_the_same_batch(http: TestClient, database: Database) -> None:
    asked = {"name": "once", "items": ["one"]}
    first = http.post(BATCHES, json=asked, headers={"Idempotency-Key": "k"})
    again = http.post(BATCHES, json={**asked, "idempotency_key": "k"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    other = http.post(BATCHES, json={**asked, "name": "other"}, headers={"Idempotency-Key": "k"})
    assert code(other) == (422, "idempotency_key_reused")
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(jobs)) == 1


def test_another_project_s_batch_does_not_exist(http: TestClient) -> None:
    batch_id = begun(http)
    own = f"{BATCHES}/{batch_id}"
    for method, path in (
        ("GET", own),
        ("GET", f"{own}/results"),
        ("POST", f"{own}/close"),
        ("POST", f"{own}/cancel"),
        ("POST", f"{own}/retry"),
        ("DELETE", own),
    ):
        assert code(http.request(method, path, headers=shows("bob"))) == (404, "unknown_batch"), path
    added = http.post(f"{own}/items", json={"items": ["x"]}, headers=shows("bob"))
    assert code(added) == (404, "unknown_batch")
    assert http.get(BATCHES, headers=shows("bob")).json() == {"items": [], "next": None}


def test_lists_go_page_by_page(http: TestClient) -> None:
    ids = sorted((begun(http) for _ in range(5)), reverse=True)
    first = http.get(BATCHES, params={"limit": 3}).json()
    rest = http.get(BATCHES, params={"limit": 3, "after": first["next"]}).json()
    assert [each["id"] for each in (*first["items"], *rest["items"])] == ids
    assert rest["next"] is None
    assert http.get(BATCHES, params={"state": "finished"}).json()["items"] == []
    assert http.get(BATCHES, params={"state": "done"}).status_code == 422


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"kinds": ["none"]}, (422, "unknown_kind")),
        ({"model": "frist/model"}, (404, "unknown_model")),
        ({"type": "generate", "kinds": ["analysis"]}, (400, "invalid_request")),
        ({"type": "translate"}, (400, "invalid_request")),
        ({"more": 1}, (400, "invalid_request")),
        ({"items": ["x"] * 1001}, (400, "invalid_request")),
        ({"webhook": "http://127.0.0.1/"}, (400, "webhook_refused")),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_begun(
    http: TestClient, database: Database, body: Any, told: tuple[int, str]
) -> None:
    found = code(http.post(BATCHES, json=body))
    assert found[1] == told[1]
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(batches)) == 0


def test_a_key_may_ask_for_its_own_models_only(http: TestClient) -> None:
    assert code(http.post(BATCHES, json={"model": "default"}, headers=shows("narrow"))) == (403, "not_allowed")


def test_a_batch_s_end_is_told_to_its_webhook_once(http: TestClient, database: Database) -> None:
    batch_id = begun(http, items=["one"], webhook="https://hooks.test/x")
    end(database, batch_id, 0)
    messages = metadata.tables["webhook_deliveries"]
    with database.read() as connection:
        rows = connection.execute(select(messages).where(messages.c.about == batch_id)).mappings().all()
    assert [row["event_type"] for row in rows] == ["batch.finished"]


def test_lines_are_taken_nowhere_else(http: TestClient) -> None:
    assert http.post("/api/ai/generate", content=b"{}", headers=LINES).status_code == 415
