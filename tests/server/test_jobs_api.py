"""/api/ai/jobs on both databases: whose jobs are seen, how they are waited for and watched, and what may be done."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import insert
from tests.jobs.made import NOW_MS, make, put
from tests.server.conftest import Running, running
from tests.server.keyed import bearer, keyed

from waypost.jobs.events import append_event
from waypost.jobs.job import CRASHED, Input, Job
from waypost.ledger.books import now_ms
from waypost.server.api import create_app
from waypost.store.database import Database
from waypost.store.job_tables import job_steps

KEYS: dict[str, dict[str, Any]] = {
    "ann": {"key": "key-of-ann-0123456789"},
    "bob": {"key": "key-of-bob-0123456789"},
    "operator": {"key": "key-of-operator-01234", "admin": True},
}
OWN, ALL = "/api/ai/jobs", "/api/admin/jobs"


def shows(name: str) -> dict[str, str]:
    return bearer(KEYS[name]["key"])


@pytest.fixture
def http(database: Database) -> Iterator[TestClient]:
    with TestClient(create_app(keyed(database, keys=KEYS)), headers=shows("ann")) as client:
        yield client


@pytest.fixture
def live(database: Database) -> Iterator[Running]:
    with running(keyed(database, keys=KEYS)) as server:  # type: ignore[arg-type]
        yield server


def of_ann(database: Database, **more: Any) -> Job:
    return make(database, "config:ann", key_id="config:ann", **more)


def happens(database: Database, job: Job, name: str, **data: Any) -> None:
    with database.write() as connection:
        append_event(connection, job.id, name, data, NOW_MS)


def ends(database: Database, job: Job, state: str = "succeeded", **values: Any) -> None:
    put(database, job, state=state, ended_at_ms=NOW_MS, **values)
    happens(database, job, state)


def code(reply: Any) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


def test_a_job_is_told_with_its_result_cost_steps_and_content(http: TestClient, database: Database) -> None:
    job = of_ann(
        database, request={"kinds": ["analysis"]}, input=Input(b"text", "text/plain", "a.txt"), tags={"a": "b"}
    )
    put(
        database,
        job,
        state="succeeded",
        result='{"degraded": false}',
        started_at_ms=NOW_MS + 250,
        ended_at_ms=NOW_MS + 900,
        cost_micro_usd=1250,
        usage={"input_tokens": 3},
        provider="first",
        model="m",
        progress_done=2,
        progress_total=2,
        runs=1,
        possibly_paid_twice=1,
    )
    step = {"begun_at_ms": NOW_MS, "ended_at_ms": NOW_MS + 5, "begun": 2, "request_id": "r1", "cost_micro_usd": 1250}
    with database.write() as connection:
        connection.execute(insert(job_steps).values(job_id=job.id, name="0:v", **step))
    told = http.get(f"{OWN}/{job.id}").json()
    document = http.get("/openapi.json").json()
    schema = {"$ref": "#/components/schemas/JobModel", "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(told)
    assert set(told) == set(document["components"]["schemas"]["JobModel"]["properties"])
    assert (told["state"], told["result"], told["cost_usd"]) == ("succeeded", {"degraded": False}, 0.00125)
    assert (told["progress"], told["queued_ms"], told["possibly_paid_twice"]) == ({"done": 2, "total": 2}, 250, 1)
    assert told["content"] == {"name": "a.txt", "media_type": "text/plain", "size_bytes": 4}
    assert told["steps"] == [
        {
            "name": "0:v",
            "attempts": 2,
            "begun_at": "2027-01-15T08:00:00.000Z",
            "ended_at": "2027-01-15T08:00:00.005Z",
            "request_id": "r1",
            "cost_usd": 0.00125,
        }
    ]
    (listed,) = http.get(OWN).json()["items"]
    assert listed == {name: told[name] for name in listed}
    assert set(told) - set(listed) == {"result", "request", "content", "steps"}


def test_another_projects_job_is_not_there_whatever_is_done(http: TestClient, database: Database) -> None:
    job = make(database, "config:bob")
    requests = [
        ("GET", ""),
        ("GET", "?wait=1"),
        ("GET", "/events"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("DELETE", ""),
    ]
    for an_id in (job.id, "job_of-nobody", "%00"):
        told = {code(http.request(method, f"{OWN}/{an_id}{path}")) for method, path in requests}
        assert told == {(404, "unknown_job")}
    assert http.get(OWN).json()["items"] == []
    assert http.get(f"{OWN}/{job.id}", headers=shows("bob")).status_code == 200


def test_only_administrators_see_the_jobs_of_all(http: TestClient, database: Database) -> None:
    mine, other = of_ann(database), make(database, "config:bob")
    assert code(http.get(ALL)) == (403, "not_allowed")
    assert code(http.get(f"{ALL}/{mine.id}")) == (403, "not_allowed")
    operator = shows("operator")

    def ids(query: str) -> set[str]:
        return {item["id"] for item in http.get(f"{ALL}?{query}", headers=operator).json()["items"]}

    ends(database, other, "failed", error={"code": CRASHED, "message": "m", "hint": ""})
    assert (ids(""), ids("project_id=config:bob"), ids("dead=true")) == ({mine.id, other.id}, {other.id}, {other.id})
    again = http.post(f"{ALL}/{other.id}/retry", headers=operator)
    assert (again.status_code, again.json()["state"]) == (202, "queued")
    assert http.post(f"{ALL}/{other.id}/cancel", headers=operator).json()["state"] == "cancelled"
    assert http.delete(f"{ALL}/{other.id}", headers=operator).status_code == 204
    assert http.get(OWN, headers=operator).json()["items"] == []
    lines = http.get("/api/admin/audit", headers=operator).json()["items"]
    told = [(line["action"], line["actor"], line["object_id"]) for line in reversed(lines)]
    assert told == [(f"job.{done}", "config:operator", other.id) for done in ("retry", "cancel", "delete")]
    assert [(line["before"] or {}).get("state") for line in reversed(lines)] == ["failed", "queued", "cancelled"]


def test_who_owns_a_job_needs_no_line_in_the_audit_log(http: TestClient, database: Database) -> None:
    job = of_ann(database)
    assert http.post(f"{OWN}/{job.id}/cancel").status_code == 200
    assert http.get("/api/admin/audit", headers=shows("operator")).json()["items"] == []


def test_lists_are_filtered_and_paged(http: TestClient, database: Database) -> None:
    made = [of_ann(database, at_ms=NOW_MS + number, tags={"n": str(number % 2)}) for number in range(5)]
    ends(database, made[0])
    first = http.get(f"{OWN}?limit=2").json()
    second = http.get(f"{OWN}?limit=2&after={first['next']}").json()
    third = http.get(f"{OWN}?limit=2&after={second['next']}").json()
    ids = [item["id"] for page in (first, second, third) for item in page["items"]]
    assert ids == [job.id for job in reversed(made)]
    assert third["next"] is None

    def count(query: str) -> int:
        return len(http.get(f"{OWN}?{query}").json()["items"])

    assert [count("state=succeeded"), count("tag=n=1"), count("type=generate"), count("batch_id=b")] == [1, 2, 0, 0]
    assert [count("since=2027-01-15"), count("until=2027-01-15"), count("dead=true")] == [5, 0, 0]


@pytest.mark.parametrize(
    "query",
    ["state=done", "limit=0", "after=x", "tag=x", "since=yesterday", "stat=queued", "dead=1", "project_id=config:bob"],
)
def test_a_query_that_makes_no_sense_is_refused(http: TestClient, query: str) -> None:
    reply = http.get(f"{OWN}?{query}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("query", ["wait=61", "wait=-1", "wait=soon", "weight=1"])
def test_a_wait_that_makes_no_sense_is_refused(http: TestClient, database: Database, query: str) -> None:
    assert http.get(f"{OWN}/{of_ann(database).id}?{query}").status_code == 422


def test_what_may_be_done_depends_on_the_state(http: TestClient, database: Database) -> None:
    path = f"{OWN}/{of_ann(database).id}"
    assert [code(http.post(f"{path}/retry")), code(http.delete(path))] == [(409, "job_not_ended")] * 2
    cancelled = http.post(f"{path}/cancel").json()
    assert (cancelled["state"], cancelled["cancel_requested"]) == ("cancelled", True)
    assert cancelled["expires_at"] is not None
    assert http.post(f"{path}/cancel").json()["state"] == "cancelled"
    again = http.post(f"{path}/retry").json()
    assert (again["state"], again["cancel_requested"], again["expires_at"]) == ("queued", False, None)
    http.post(f"{path}/cancel")
    assert [http.delete(path).status_code, http.get(path).status_code] == [204, 404]
    done = of_ann(database)
    ends(database, done)
    for verb in ("cancel", "retry"):
        assert code(http.post(f"{OWN}/{done.id}/{verb}")) == (409, "job_has_ended")


def test_a_long_poll_ends_with_the_job_or_with_its_time(live: Running, database: Database) -> None:
    job = of_ann(database)
    began = time.monotonic()
    with httpx.Client(base_url=live.url, headers=shows("ann"), timeout=30) as http:
        assert http.get(f"{OWN}/{job.id}?wait=1").json()["state"] == "queued"
        assert 0.9 <= time.monotonic() - began < 5
        told: list[Any] = []
        waiting = threading.Thread(target=lambda: told.append(http.get(f"{OWN}/{job.id}?wait=30").json()), daemon=True)
        waiting.start()
        happens(database, job, "running")
        ends(database, job, result='"done"')
        waiting.join(20)
        assert (told[0]["state"], told[0]["result"]) == ("succeeded", "done")
        began = time.monotonic()
        assert http.get(f"{OWN}/{job.id}?wait=60").json()["state"] == "succeeded"
        assert time.monotonic() - began < 5


def read_events(reply: httpx.Response) -> list[tuple[str, str, dict[str, Any]]]:
    """id, name and data of each, until the stream ends."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    fields: dict[str, str] = {}
    for line in reply.iter_lines():
        name, _, value = line.partition(": ")
        if line and not line.startswith(":"):
            fields[name] = value
        elif not line and fields:
            found.append((fields.get("id", ""), fields["event"], json.loads(fields["data"])))
            fields = {}
    return found


def test_events_come_as_they_happen_and_end_with_the_job(live: Running, database: Database) -> None:
    job = of_ann(database)
    path = f"{OWN}/{job.id}/events"
    with httpx.Client(base_url=live.url, headers=shows("ann"), timeout=30) as http:
        with http.stream("GET", path) as reply:
            lines = reply.iter_lines()
            assert reply.headers["content-type"].startswith("text/event-stream")
            assert "event: queued" in (next(lines) for _ in range(6))
            happens(database, job, "progress", done=1, total=2)
            assert any('"done":1' in line for line in lines if line.startswith("data"))
            ends(database, job)
            assert any(line == "event: succeeded" for line in lines)
            assert [line.partition(":")[0] for line in lines] == ["data", ""]
        with http.stream("GET", path) as reply:
            whole = read_events(reply)
        assert [(each[0], each[1]) for each in whole] == [("1", "queued"), ("2", "progress"), ("3", "succeeded")]
        assert whole[1][2] == {"at": "2027-01-15T08:00:00.000Z", "done": 1, "total": 2}
        # Whoever comes back gets what he lacks, by the header or by the query; the header counts.
        for query, header in (("", "1"), ("?after=1", ""), ("?after=3", "1")):
            with http.stream("GET", path + query, headers={"last-event-id": header} if header else {}) as reply:
                assert read_events(reply) == whole[1:]
        assert http.get(path, headers={"last-event-id": "3"}).status_code == 204
        for query, header in (("?after=4", ""), ("?after=x", ""), ("", "x")):
            reply = http.get(path + query, headers={"last-event-id": header} if header else {})
            assert reply.status_code in (400, 422)


def test_a_retried_job_is_watched_over_its_first_end(live: Running, database: Database) -> None:
    job = of_ann(database)
    ends(database, job, "failed")
    with httpx.Client(base_url=live.url, headers=shows("ann"), timeout=30) as http:
        assert http.post(f"{OWN}/{job.id}/retry").status_code == 202
        with http.stream("GET", f"{OWN}/{job.id}/events") as reply:
            ends(database, job)
            names = [each[1] for each in read_events(reply)]
    assert names == ["queued", "failed", "queued", "succeeded"]


def test_a_job_that_is_deleted_while_it_is_watched_ends_the_stream_with_an_error(
    live: Running, database: Database
) -> None:
    job = of_ann(database)
    with httpx.Client(base_url=live.url, headers=shows("ann"), timeout=30) as http:
        http.post(f"{OWN}/{job.id}/cancel")
        http.post(f"{OWN}/{job.id}/retry")
        with http.stream("GET", f"{OWN}/{job.id}/events") as reply:
            lines = reply.iter_lines()
            assert '"again":true' in next(line for line in lines if "again" in line)
            put(database, job, state="failed")
            assert http.delete(f"{OWN}/{job.id}").status_code == 204
            assert any(line == "event: error" for line in lines)


def test_those_who_wait_are_let_go_when_the_server_shuts_down(live: Running, database: Database) -> None:
    job = of_ann(database)
    with httpx.Client(base_url=live.url, headers=shows("ann"), timeout=30) as http:
        told: list[Any] = []
        waiting = threading.Thread(target=lambda: told.append(http.get(f"{OWN}/{job.id}?wait=60").json()), daemon=True)
        with http.stream("GET", f"{OWN}/{job.id}/events") as reply:
            lines = reply.iter_lines()
            assert next(line for line in lines if line == "event: queued")
            waiting.start()
            began = time.monotonic()
            live.server.drain()
            list(lines)
        waiting.join(20)
        assert time.monotonic() - began < 10
        assert not waiting.is_alive()


def test_the_status_tells_administrators_how_jobs_stand(http: TestClient, database: Database) -> None:
    of_ann(database, at_ms=now_ms() - 5_000)
    told = http.get("/api/admin/status", headers=shows("operator")).json()["jobs"]
    assert told["depth"] == {"queued": {"analyze": 1}, "running": {}}
    assert 5 <= told["oldest_queued_s"] < 60
    assert (told["dead"], told["failed_last_hour"], told["workers"]) == (0, 0, 0)
