"""/api/admin/requests, usage and status on both databases: what is told, what is refused, and who may ask."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from fastapi.testclient import TestClient
from tests.ledger.log_entries import a_request, an_attempt, write, write_attempts, write_body
from tests.server.keyed import bearer, keyed

from waypost.ledger.log_filters import END_STATES, Filters
from waypost.ledger.log_told import ATTEMPT_FIELDS, REQUEST_FIELDS
from waypost.ledger.usage import DIMENSIONS, PERIODS
from waypost.server import admin_log
from waypost.server.api import create_app
from waypost.server.log_models import CallModel, RequestModel
from waypost.store.database import Database
from waypost.store.tables import daily_totals, metadata

REQUESTS, USAGE, STATUS = "/api/admin/requests", "/api/admin/usage", "/api/admin/status"
OPERATOR, CALLER = "a-configured-admin-key", "a-configured-plain-key"


@pytest.fixture
def http(database: Database) -> Iterator[TestClient]:
    """A client with an admin key of the settings."""
    keys = {"operator": {"key": OPERATOR, "admin": True}, "web": {"key": CALLER}}
    with TestClient(create_app(keyed(database, keys=keys)), headers=bearer(OPERATOR)) as client:
        yield client


def fits(http: TestClient, path: str, body: Any) -> None:
    """The reply is what the OpenAPI document says."""
    document = http.get("/openapi.json").json()
    schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(body)


def test_the_list_has_pages_in_either_order(http: TestClient, database: Database) -> None:
    write(database, *(a_request(number) for number in range(7)))
    seen, after = [], None
    while True:
        params: dict[str, str] = {"limit": "3", "order": "oldest", **({"after": after} if after else {})}
        page = http.get(REQUESTS, params=params).json()
        fits(http, REQUESTS, page)
        seen += [item["request_id"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == [f"req_{number}" for number in range(7)]
    newest = http.get(REQUESTS).json()["items"][0]
    assert list(newest) == list(REQUEST_FIELDS)
    assert (newest["started_at"], newest["cost_usd"]) == ("2026-11-25T00:00:06.000Z", 0.00003)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", [1, 0]),
        ("since=2026-11-25T00:00:01Z", [1]),
        ("until=2026-11-25T00:00:01%2B00:00", [0]),
        ("model_prefix=claude", [1]),
        ("min_cost_usd=0.0005", [1]),
        ("min_cost_usd=0.00050001", []),
        ("min_total_ms=101", [1]),
        ("tag=team=a%20b&tag=env=x", [1]),
        ("tag=team=a%20b&tag=env=y", []),
        ("end_state=failed&status=502&error_code=provider_timeout", [1]),
        ("project_id=proj_2&key_id=key_1&end_user=ann&route=default&provider=first&model=claude-1", [1]),
        ("request_id=req_0", [0]),
    ],
)
def test_filters(http: TestClient, database: Database, query: str, wanted: list[int]) -> None:
    told: dict[str, Any] = {"end_state": "failed", "status": 502, "error_code": "provider_timeout"}
    told |= {"model": "claude-1", "project_id": "proj_2", "end_user": "ann", "total_ms": 101}
    write(database, a_request(0), a_request(1, **told, cost_micro_usd=500, tags={"team": "a b", "env": "x"}))
    reply = http.get(f"{REQUESTS}?{query}")
    assert [item["request_id"] for item in reply.json()["items"]] == [f"req_{number}" for number in wanted]


@pytest.mark.parametrize(
    ("path", "query", "param"),
    [
        (REQUESTS, "modle=x", None),
        (REQUESTS, "limit=0", "limit"),
        (REQUESTS, "after=nonsense", "after"),
        (REQUESTS, "since=yesterday", "since"),
        (REQUESTS, "since=1960-01-01", "since"),
        (REQUESTS, "status=OK", "status"),
        (REQUESTS, "status=1000", "status"),
        (REQUESTS, "end_state=done", "end_state"),
        (REQUESTS, "order=random", "order"),
        (REQUESTS, "tag=team", "tag"),
        (REQUESTS, "tag=a=b&tag=a=c", "tag"),
        (REQUESTS, "tag=a'b=c", "tag"),
        (REQUESTS, "min_cost_usd=-1", "min_cost_usd"),
        (REQUESTS, "min_cost_usd=1e5", "min_cost_usd"),
        (REQUESTS, "min_total_ms=99999999999999999999", "min_total_ms"),
        (REQUESTS, "model=a%00b", "model"),
        (REQUESTS, "model=a&model=b", "model"),
        (REQUESTS, "route=", "route"),
        (f"{REQUESTS}/export", "format=parquet", "format"),
        (f"{REQUESTS}/export", "limit=5", None),
        (f"{REQUESTS}/x", "body=yes", "body"),
        (USAGE, "period=year", "period"),
        (USAGE, "by=colour", "by"),
        (USAGE, "by=model,model", "by"),
        (USAGE, "since=2026-02-01&until=2026-01-01", "since"),
        (USAGE, "limit=5", None),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(http: TestClient, path: str, query: str, param: str | None) -> None:
    reply = http.get(f"{path}?{query}")
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error.get("param")) == (422, "invalid_request", param)


@pytest.mark.parametrize("path", [REQUESTS, f"{REQUESTS}/export", f"{REQUESTS}/req_1", USAGE, STATUS])
def test_only_administrators_are_told(http: TestClient, database: Database, path: str) -> None:
    write(database, a_request(1))
    plain, nobody = http.get(path, headers=bearer(CALLER)), http.get(path, headers={"authorization": ""})
    assert (plain.status_code, plain.json()["error"]["code"]) == (403, "not_allowed")
    assert nobody.status_code == 401


def test_one_request_has_its_calls_and_its_body_only_if_asked(http: TestClient, database: Database) -> None:
    row = a_request(1, attempts=2, cost_micro_usd=None)
    write(database, row)
    unpriced = {"cost_micro_usd": None, "cost_basis": "unpriced", "reserved_micro_usd": 2_500_000}
    write_attempts(database, an_attempt(row["id"]), an_attempt(row["id"], 2, **unpriced))
    write_body(database, row["id"], "asked", "answered")
    told = http.get(f"{REQUESTS}/req_1").json()
    fits(http, f"{REQUESTS}/{{request_id}}", told)
    assert [list(call) for call in told["calls"]] == [list(ATTEMPT_FIELDS)] * 2
    assert [(call["cost_usd"], call["reserved_usd"]) for call in told["calls"]] == [(0.00003, None), (None, 2.5)]
    assert (told["cost_usd"], told["body"]) == (None, None)
    whole = http.get(f"{REQUESTS}/{row['id']}", params={"body": "true"}).json()
    fits(http, f"{REQUESTS}/{{request_id}}", whole)
    assert (whole["body"]["request"], whole["body"]["response"]) == ("asked", "answered")


@pytest.mark.parametrize("request_id", ["req_2", "a%00b", "%ED%A0%80", "'; --"])
def test_a_request_that_is_not_there_is_a_404(http: TestClient, request_id: str) -> None:
    reply = http.get(f"{REQUESTS}/{request_id}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_request")


def test_an_export_is_every_request_that_fits_from_the_oldest_on(http: TestClient, database: Database) -> None:
    write(database, *(a_request(number, model=f"m{number % 2}", started_at_ms=number + 1) for number in range(2_500)))
    lines = http.get(f"{REQUESTS}/export", params={"model": "m1"})
    assert lines.headers["content-type"] == "application/jsonl"
    told = [json.loads(line) for line in lines.text.splitlines()]
    assert [each["request_id"] for each in told] == [f"req_{number}" for number in range(1, 2_500, 2)]
    table = http.get(f"{REQUESTS}/export", params={"format": "csv", "until": "1970-01-01T00:00:00.003Z"})
    assert table.headers["content-disposition"] == 'attachment; filename="requests.csv"'
    head, *rows = csv.reader(io.StringIO(table.text))
    assert head == list(REQUEST_FIELDS)
    assert [row[1] for row in rows] == ["req_0", "req_1"]


def test_no_cell_of_csv_is_a_formula(http: TestClient, database: Database) -> None:
    evil = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", 'a"b,c\nd']
    write(database, *(a_request(number, end_user=text, tags={"t": text}) for number, text in enumerate(evil)))
    rows = list(csv.DictReader(io.StringIO(http.get(f"{REQUESTS}/export", params={"format": "csv"}).text, newline="")))
    assert [row["end_user"] for row in rows] == [f"'{text}" for text in evil[:-1]] + evil[-1:]
    assert json.loads(rows[0]["tags"]) == {"t": "=1+1"}
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())


def test_an_empty_log_is_exported_as_nothing(http: TestClient) -> None:
    assert http.get(f"{REQUESTS}/export").content == b""
    assert http.get(f"{REQUESTS}/export", params={"format": "csv"}).text.count("\n") == 1


def test_usage_is_summed_and_what_is_unknown_is_told(http: TestClient, database: Database) -> None:
    names = {"project_id": "proj_1", "key_id": "key_1", "route": "default", "provider": "first"}
    figures = {"attempts": 3, "failed_attempts": 1, "input_tokens": 5, "output_tokens": 7, "estimated_attempts": 2}
    with database.write() as connection:
        for model, cost, unpriced in (("one", 1_500_000, 0), ("two", 0, 3)):
            row = {**names, "day": "2026-11-25", "model": model, **figures}
            connection.execute(daily_totals.insert().values(**row, cost_micro_usd=cost, unpriced_attempts=unpriced))
    told = http.get(USAGE, params={"since": "2026-11-01", "until": "2026-11-26", "by": "model", "period": "month"})
    body = told.json()
    fits(http, USAGE, body)
    assert [(item["period"], item["group"], item["cost_usd"], item["unpriced_attempts"]) for item in body["items"]] == [
        ("2026-11-01", {"model": "one"}, 1.5, 0),
        ("2026-11-01", {"model": "two"}, None, 3),
    ]
    assert (body["total"]["cost_usd"], body["total"]["unpriced_attempts"], body["until"]) == (1.5, 3, "2026-11-27")


def test_the_status_tells_of_database_journal_and_retention(http: TestClient, database: Database) -> None:
    told = http.get(STATUS).json()
    fits(http, STATUS, told)
    ledger = told["ledger"]
    assert ledger["database"]["kind"] == ("sqlite" if database.is_sqlite else "postgresql")
    assert ledger["database"]["size_bytes"] > 100_000
    assert 0 < ledger["database"]["latency_ms"] < 2_000
    assert ledger["journal"] == {"backlog_bytes": 0, "backlog_since": None, "trouble": None}
    assert (ledger["retention"]["is_running"], ledger["retention"]["report"]) == (False, None)
    assert ledger["retention"]["next_at"] is not None


def test_a_database_without_its_tables_is_a_503_in_the_envelope(http: TestClient, database: Database) -> None:
    assert http.get(REQUESTS).status_code == 200
    with database.write() as connection:
        metadata.tables["requests"].drop(connection)
    for path in (REQUESTS, f"{REQUESTS}/x", f"{REQUESTS}/export"):
        reply = http.get(path)
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "database_unavailable")
        assert "requests" not in reply.json()["error"]["message"]


def test_the_models_have_the_fields_that_are_told() -> None:
    assert set(RequestModel.model_fields) == set(REQUEST_FIELDS)
    assert set(CallModel.model_fields) == set(ATTEMPT_FIELDS)


def test_every_filter_can_be_asked_for() -> None:
    """And the words of the interface are those of the ledger, which it does not import at the start."""
    asked = {name for name, _, _ in admin_log._FILTERS}
    told = {"since_ms": "since", "until_ms": "until", "tags": "tag", "min_cost_micro_usd": "min_cost_usd"}
    assert asked == {told.get(name, name) for name in Filters.__slots__}
    assert (admin_log.END_STATES, admin_log.PERIODS, admin_log.DIMENSIONS) == (END_STATES, PERIODS, DIMENSIONS)


def test_the_log_has_no_field_for_a_secret() -> None:
    assert not any("secret" in name or "sha256" in name or "token_hash" in name for name in REQUEST_FIELDS)
