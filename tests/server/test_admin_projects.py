"""/api/admin/projects, keys and audit on both databases: what is told, what is refused, and by whom it may be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from fastapi.testclient import TestClient
from tests.server.keyed import bearer, keyed

from waypost.ledger.definitions import LimitFields
from waypost.ledger.key_reading import load_accounts
from waypost.server.api import create_app
from waypost.server.key_models import KeyModel, LimitsModel, ProjectModel
from waypost.store.database import Database

PROJECTS, KEYS, AUDIT = "/api/admin/projects", "/api/admin/keys", "/api/admin/audit"
CONFIGURED = "a-configured-admin-key"
ABSENT = {"project": "project_" + "0" * 32, "key": "key_" + "0" * 32}


@pytest.fixture
def http(database: Database) -> Iterator[TestClient]:
    """A client with an admin key of the settings."""
    application = keyed(database, keys={"operator": {"key": CONFIGURED, "admin": True}})
    with TestClient(create_app(application), headers=bearer(CONFIGURED)) as client:
        yield client


def made(http: TestClient, path: str, **fields: Any) -> dict[str, Any]:
    reply = http.post(path, json=fields)
    assert reply.status_code == 201, reply.text
    told: dict[str, Any] = reply.json()
    return told


def refusal(reply: Any) -> tuple[int, str, str | None]:
    error = reply.json()["error"]
    return reply.status_code, error["code"], error.get("param")


def test_a_project_is_made_shown_changed_listed_and_deleted(http: TestClient) -> None:
    project = made(http, PROJECTS, name="shop", monthly_budget_usd=12.5, tags={"team": "a"})
    path = f"{PROJECTS}/{project['id']}"
    assert http.get(path).json() == project
    assert (project["monthly_budget_usd"], project["requests_per_minute"], project["tags"]) == (
        12.5,
        None,
        {"team": "a"},
    )
    changed = http.patch(path, json={"monthly_budget_usd": None, "requests_per_minute": 5}).json()
    assert (changed["monthly_budget_usd"], changed["requests_per_minute"], changed["name"]) == (None, 5, "shop")
    assert http.get(PROJECTS).json() == {"items": [changed], "next": None}
    assert (http.delete(path).status_code, http.get(path).status_code) == (204, 404)
    assert http.get(PROJECTS).json()["items"] == []


def test_a_key_is_made_shown_changed_rotated_and_revoked(http: TestClient) -> None:
    project = made(http, PROJECTS, name="shop")
    first = made(http, KEYS, name="web", project_id=project["id"], routes=["default"])
    path, text = f"{KEYS}/{first['id']}", first.pop("key")
    assert text.startswith("wp_")
    assert http.get(path).json() == first
    assert (first["state"], first["is_admin"], first["project_id"]) == ("active", False, project["id"])
    changed = http.patch(path, json={"routes": None, "expires_at": "2100-01-01T00:00:00Z"}).json()
    assert (changed["routes"], changed["expires_at"]) == (None, "2100-01-01T00:00:00.000Z")
    rotated = http.post(f"{path}/rotate", json={"grace_s": 60}).json()
    assert rotated["key"] not in ("", text)
    assert [secret["valid_until"] is None for secret in rotated["secrets"]] == [True, False]
    revoked = http.delete(path).json()
    assert (revoked["state"], revoked["secrets"]) == ("revoked", [])
    assert http.delete(path).json() == revoked
    assert [refusal(http.patch(path, json={"name": "x"})), refusal(http.post(f"{path}/rotate", json={}))] == [
        (409, "conflict", None)
    ] * 2


def test_replies_with_a_key_are_kept_by_nobody(http: TestClient) -> None:
    project = made(http, PROJECTS, name="shop")
    reply = http.post(KEYS, json={"name": "web", "project_id": project["id"]})
    assert reply.headers["cache-control"] == "no-store"
    assert http.post(f"{KEYS}/{reply.json()['id']}/rotate", json={}).headers["cache-control"] == "no-store"


def test_an_idempotency_key_does_not_keep_a_key(http: TestClient) -> None:
    """What is kept for it would be a key at rest."""
    project = made(http, PROJECTS, name="shop")
    sent = {"json": {"name": "web", "project_id": project["id"]}, "headers": {"idempotency-key": "once"}}
    assert http.post(KEYS, **sent).status_code == 201  # type: ignore[arg-type]
    again = http.post(KEYS, **sent)  # type: ignore[arg-type]
    assert refusal(again) == (409, "conflict", "name")
    assert "idempotent-replayed" not in again.headers


REFUSED: list[tuple[str, dict[str, Any], str | None]] = [
    (PROJECTS, {}, "name"),
    (PROJECTS, {"name": ""}, "name"),
    (PROJECTS, {"name": "two\nlines"}, "name"),
    (PROJECTS, {"name": "a", "requests_per_minute": 0}, "requests_per_minute"),
    (PROJECTS, {"name": "a", "requests_per_minute": "many"}, "requests_per_minute"),
    (PROJECTS, {"name": "a", "daily_budget_usd": 0.0000001}, "daily_budget_usd"),
    (PROJECTS, {"name": "a", "warn_at": [2]}, "warn_at[0]"),
    (PROJECTS, {"name": "a", "requests_per_minuet": 5}, "requests_per_minuet"),
    (PROJECTS, {"name": "a", "id": "project_mine"}, "id"),
    (PROJECTS, {"name": "a", "tags": {"a b": "c"}}, "tags"),
    (KEYS, {"name": "a"}, "project_id"),
    (KEYS, {"name": "a", "is_admin": True, "project_id": "x"}, "project_id"),
    (KEYS, {"name": "a", "is_admin": True, "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    (KEYS, {"name": "a", "is_admin": True, "expires_at": "soon"}, "expires_at"),
    (KEYS, {"name": "a", "is_admin": "yes"}, "is_admin"),
    (KEYS, {"name": "a", "key": "wp_mine"}, "key"),
]


def test_a_wrong_field_is_named(http: TestClient) -> None:
    for path, body, param in REFUSED:
        assert (body, refusal(http.post(path, json=body))) == (body, (422, "invalid_request", param))
    assert http.get(AUDIT).json()["items"] == []


def test_the_sentence_says_the_limit_and_the_nearest_field(http: TestClient) -> None:
    project = made(http, PROJECTS, name="shop")
    path = f"{PROJECTS}/{project['id']}"
    told = http.patch(path, json={"requests_per_minute": 0, "tokens_per_minuet": 4}).json()["error"]
    assert told["details"]["findings"] == [
        {"param": "requests_per_minute", "message": "requests_per_minute must be at least 1, not 0."},
        {
            "param": "tokens_per_minuet",
            "message": 'There is no field "tokens_per_minuet": did you mean tokens_per_minute?',
        },
    ]
    assert http.patch(path, json={"monthly_budget_usd": 0}).json()["error"]["message"] == (
        "monthly_budget_usd must be more than 0, not 0."
    )
    assert http.patch(path, json={"name": "a\tb"}).json()["error"]["message"] == (
        "name holds a character that cannot be shown, such as a line break."
    )


def test_a_body_that_is_no_json_object_is_refused(http: TestClient) -> None:
    for body in (b"", b"{", b"[]", b'"name"', b'{"name": "a", "name": "b"}', b"\xff"):
        reply = http.post(PROJECTS, content=body, headers={"content-type": "application/json"})
        assert (body, *refusal(reply)[:2]) == (body, 400, "invalid_request")
        assert "prompt" not in reply.text


def test_a_form_cannot_make_a_key(http: TestClient) -> None:
    reply = http.post(KEYS, data={"name": "a"})
    assert refusal(reply)[:2] == (415, "unsupported_media_type")


def test_a_name_that_is_taken_is_a_conflict(http: TestClient) -> None:
    shop, store = made(http, PROJECTS, name="shop"), made(http, PROJECTS, name="store")
    assert refusal(http.post(PROJECTS, json={"name": "shop"})) == (409, "conflict", "name")
    assert refusal(http.patch(f"{PROJECTS}/{store['id']}", json={"name": "shop"})) == (409, "conflict", "name")
    web = {"name": "web", "project_id": shop["id"]}
    made(http, KEYS, **web)
    app = made(http, KEYS, **{**web, "name": "app"})
    assert refusal(http.post(KEYS, json=web)) == (409, "conflict", "name")
    assert refusal(http.patch(f"{KEYS}/{app['id']}", json={"name": "web"})) == (409, "conflict", "name")


def test_an_unknown_id_is_a_404(http: TestClient) -> None:
    for unknown in (*ABSENT.values(), "x", "%00", "..%2F..%2Fprojects", "'%20OR%201=1--", "%E2%80%AE"):
        answers = [
            http.get(f"{KEYS}/{unknown}"),
            http.patch(f"{KEYS}/{unknown}", json={}),
            http.delete(f"{KEYS}/{unknown}"),
            http.get(f"{PROJECTS}/{unknown}"),
            http.patch(f"{PROJECTS}/{unknown}", json={}),
            http.delete(f"{PROJECTS}/{unknown}"),
            http.post(f"{KEYS}/{unknown}/rotate", json={}),
        ]
        assert (unknown, {reply.status_code for reply in answers}) == (unknown, {404})
        assert {reply.json()["error"]["code"] for reply in answers} <= {"unknown_object", "unknown_path"}


def test_lists_come_in_pages_and_end(http: TestClient) -> None:
    ids = [made(http, PROJECTS, name=f"p{number}")["id"] for number in range(5)]
    seen: list[str] = []
    after = None
    for _ in range(3):
        page = http.get(PROJECTS, params={"limit": 2, **({"after": after} if after else {})}).json()
        seen += [item["id"] for item in page["items"]]
        after = page["next"]
    assert (seen, after) == (sorted(ids, reverse=True), None)


def test_lists_have_filters(http: TestClient) -> None:
    shop, store = made(http, PROJECTS, name="shop", tags={"team": "a=b"}), made(http, PROJECTS, name="store")
    web = made(http, KEYS, name="web", project_id=shop["id"])["id"]
    app = made(http, KEYS, name="app", project_id=store["id"])["id"]
    ops = made(http, KEYS, name="ops", is_admin=True)["id"]
    http.delete(f"{KEYS}/{app}")

    def found(path: str, **query: str) -> list[str]:
        return [item["id"] for item in http.get(path, params=query).json()["items"]]

    assert found(PROJECTS, name="SHO") == [shop["id"]]
    assert found(PROJECTS, tag="team=a=b") == [shop["id"]]
    assert found(KEYS, project_id=shop["id"]) == [web]
    assert found(KEYS, state="revoked") == [app]
    assert found(KEYS, is_admin="true") == [ops]
    assert found(KEYS, state="active", is_admin="false") == [web]
    assert len(found(AUDIT)) == 6
    assert len(found(AUDIT, action="key.create")) == 3
    assert len(found(AUDIT, object_id=app)) == 2
    assert len(found(AUDIT, actor="config:operator", since="2000-01-01T00:00:00Z")) == 6
    assert found(AUDIT, until="2000-01-01T00:00:00Z") == []


QUERIES: list[tuple[str, str, str | None]] = [
    (PROJECTS, "limit=0", "limit"),
    (PROJECTS, "limit=201", "limit"),
    (PROJECTS, "limit=", "limit"),
    (PROJECTS, "limit=%C2%B2", "limit"),
    (PROJECTS, "limit=99999999999999999999", "limit"),
    (PROJECTS, "limit=5&limit=6", "limit"),
    (PROJECTS, "nmae=x", None),
    (PROJECTS, "name=", "name"),
    (PROJECTS, "name=%00", "name"),
    (PROJECTS, "name=a%0Ab", "name"),
    (PROJECTS, "tag=team", "tag"),
    (PROJECTS, "tag=a%22b=c", "tag"),
    (PROJECTS, "after=%00", "after"),
    (KEYS, "state=good", "state"),
    (KEYS, "is_admin=1", "is_admin"),
    (KEYS, "project_id=%00", "project_id"),
    (AUDIT, "since=yesterday", "since"),
    (AUDIT, "since=2027-01-01T00:00:00", "since"),
    (AUDIT, "actor=%1B[31m", "actor"),
]


def test_a_wrong_parameter_is_named(http: TestClient) -> None:
    for path, query, param in QUERIES:
        assert (query, refusal(http.get(f"{path}?{query}"))) == (query, (422, "invalid_request", param))


FILTERS = ((PROJECTS, "name"), (PROJECTS, "after"), (KEYS, "name"), (KEYS, "project_id"), (AUDIT, "actor"))


def test_no_filter_is_anything_but_text(http: TestClient) -> None:
    made(http, PROJECTS, name="shop")
    for text in ("' OR '1'='1", "%", "_", "\\", '"; --', "' UNION SELECT sha256 FROM key_secrets --"):
        for path, name in FILTERS:
            reply = http.get(path, params={name: text})
            assert (text, name, reply.status_code, reply.json()["items"]) == (text, name, 200, [])


ENDPOINTS = [
    ("POST", PROJECTS),
    ("GET", PROJECTS),
    ("GET", f"{PROJECTS}/{ABSENT['project']}"),
    ("PATCH", f"{PROJECTS}/{ABSENT['project']}"),
    ("DELETE", f"{PROJECTS}/{ABSENT['project']}"),
    ("POST", KEYS),
    ("GET", KEYS),
    ("GET", f"{KEYS}/{ABSENT['key']}"),
    ("PATCH", f"{KEYS}/{ABSENT['key']}"),
    ("DELETE", f"{KEYS}/{ABSENT['key']}"),
    ("POST", f"{KEYS}/{ABSENT['key']}/rotate"),
    ("GET", AUDIT),
]


def test_only_an_administrator_may(http: TestClient) -> None:
    """Whoever may not learns nothing of what is wrong with the body, nor of what there is."""
    project = made(http, PROJECTS, name="shop")
    plain = made(http, KEYS, name="web", project_id=project["id"], routes=["*"])["key"]
    admin = made(http, KEYS, name="ops", is_admin=True)["key"]
    for method, path in ENDPOINTS:

        def status(header: dict[str, str], method: str = method, path: str = path) -> int:
            headers = {"content-type": "application/json", **header}
            return http.request(method, path, content=b"{nonsense", headers=headers).status_code

        assert (path, status({"authorization": ""}), status(bearer(plain))) == (path, 401, 403)
        assert status(bearer(admin)) in (200, 400, 404)


def test_every_endpoint_for_administrators_is_in_that_list(http: TestClient) -> None:
    document = http.get("/openapi.json").json()
    own = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        if path.startswith((PROJECTS, KEYS, AUDIT))
        for method in methods
    }
    named = {
        (method, path.replace(ABSENT["project"], "{project_id}").replace(ABSENT["key"], "{key_id}"))
        for method, path in ENDPOINTS
    }
    assert own == named


def test_without_keys_who_reaches_the_server_administers_it_until_the_first_key_is_made(database: Database) -> None:
    with TestClient(create_app(keyed(database))) as http:
        project = made(http, PROJECTS, name="shop")
        admin = made(http, KEYS, name="ops", is_admin=True)["key"]
        assert http.get(PROJECTS).status_code == 401
        assert [item["id"] for item in http.get(PROJECTS, headers=bearer(admin)).json()["items"]] == [project["id"]]
        actors = {item["actor"] for item in http.get(AUDIT, headers=bearer(admin)).json()["items"]}
        assert actors == {"local"}


def test_the_audit_log_names_the_key_that_made_the_change_and_holds_none(http: TestClient, database: Database) -> None:
    admin = made(http, KEYS, name="ops", is_admin=True)
    project = http.post(PROJECTS, json={"name": "shop"}, headers=bearer(admin["key"])).json()
    key = http.post(KEYS, json={"name": "web", "project_id": project["id"]}, headers=bearer(admin["key"])).json()
    rotated = http.post(f"{KEYS}/{key['id']}/rotate", json={}, headers=bearer(admin["key"])).json()
    log = http.get(AUDIT).json()["items"]
    assert [item["actor"] for item in log] == [admin["id"]] * 3 + ["config:operator"]
    text = json.dumps(log)
    with database.read() as connection:
        digests = [digest.hex() for digest in load_accounts(connection, 0)]
    assert len(digests) == 3
    for secret in (admin["key"], key["key"], rotated["key"], *digests):
        assert secret not in text


def test_replies_fit_the_document(http: TestClient) -> None:
    document = http.get("/openapi.json").json()

    def fits(path: str, method: str, reply: Any) -> None:
        responses = document["paths"][path][method]["responses"]
        schema = responses[str(reply.status_code)]["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(reply.json())

    project = http.post(PROJECTS, json={"name": "shop", "warn_at": [0.5], "daily_budget_usd": 1})
    fits(PROJECTS, "post", project)
    new = {"name": "web", "project_id": project.json()["id"], "expires_at": "2100-01-01T00:00:00Z"}
    key = http.post(KEYS, json=new)
    fits(KEYS, "post", key)
    one, of = f"{KEYS}/{key.json()['id']}", f"{KEYS}/{{key_id}}"
    fits(f"{of}/rotate", "post", http.post(f"{one}/rotate", json={}))
    fits(of, "patch", http.patch(one, json={"name": "app"}))
    fits(of, "get", http.get(one))
    fits(of, "get", http.get(f"{KEYS}/{ABSENT['key']}"))
    fits(of, "delete", http.delete(one))
    fits(PROJECTS, "get", http.get(PROJECTS))
    fits(KEYS, "get", http.get(KEYS))
    fits(AUDIT, "get", http.get(AUDIT))
    for path, reply in ((PROJECTS, http.post(PROJECTS, json={})), (KEYS, http.post(KEYS, content=b"{"))):
        fits(path, "post", reply)


def test_what_is_documented_is_what_is_told() -> None:
    """A limit that is added to the definitions is told too."""
    assert set(LimitFields.model_fields) == set(LimitsModel.model_fields)
    assert all(set(LimitsModel.model_fields) < set(model.model_fields) for model in (ProjectModel, KeyModel))
