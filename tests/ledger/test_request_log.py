"""The request log's pages: each request once and in order, whatever is asked for, along whichever index."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.ledger.log_entries import DAY_MS, NOW_MS, a_request, an_attempt, write, write_attempts, write_body

from waypost.errors import InvalidRequest
from waypost.ledger import log_search
from waypost.ledger.log_filters import Filters
from waypost.ledger.posting import Posting, post
from waypost.ledger.records import AttemptClosed, AttemptOpened, Counts, RequestEnded
from waypost.ledger.request_log import Page, count, every, find, page
from waypost.ledger.tag_slots import SLOT_MS
from waypost.store.database import Database
from waypost.store.tables import keys, projects

VALUES: dict[str, list[Any]] = {
    "project_id": ["proj_1", "proj_2"],
    "key_id": ["key_1", "key_2", "key_3"],
    "end_user": [None, "ann", "bob"],
    "route": ["default", "cheap", "Cheap"],
    "provider": [None, "first", "second"],
    "model": [None, "one", "one-mini", "two", "Two", "ünder_%"],
    "end_state": ["answered", "answered", "failed", "caller_left", "unknown"],
    "status": [None, 200, 200, 429, 502],
    "error_code": [None, None, "provider_timeout"],
    "cost_micro_usd": [None, 0, 10, 1000, 100_000],
    "total_ms": [None, 0, 100, 10_000],
    "tags": [None, {}, {"env": "a"}, {"env": "b", "team": "x y"}, {"env": "a", "team": "x y"}, {"a.b/c": "q\"uo'te"}],
    "request_id": ["req_same", "req_a", "req_b"],
}


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that a few hundred rows fill many of them."""
    for name, size in {
        "FIRST_WINDOW": 3,
        "LARGEST_WINDOW": 7,
        "RARE": 25,
        "MOST_SLOTS": 3,
        "ROWS_IN_A_SLOT": 1,
    }.items():
        monkeypatch.setattr(log_search, name, size)


def some_requests(source: random.Random, size: int) -> list[dict[str, Any]]:
    """Of few times, so that many share one, and over several slots."""
    rows = []
    for number in range(size):
        at_ms = NOW_MS - source.randrange(40) * SLOT_MS // 3 - source.randrange(3)
        chosen = {name: source.choice(values) for name, values in VALUES.items()}
        rows.append(a_request(source.getrandbits(100) * 1000 + number, started_at_ms=at_ms, **chosen))
    return rows


def some_filters(source: random.Random) -> Filters:
    """Up to three of them, some for values that there are none of."""
    chosen: dict[str, Any] = {}
    for name in source.sample([*VALUES, "model_prefix", "time"], source.randrange(4)):
        match name:
            case "tags":
                chosen["tags"] = source.choice(
                    [{"env": "a"}, {"env": "b", "team": "x y"}, {"a.b/c": "q\"uo'te"}, {"no": "x"}]
                )
            case "cost_micro_usd":
                chosen["min_cost_micro_usd"] = source.choice([0, 10, 99_999, 10**9])
            case "total_ms":
                chosen["min_total_ms"] = source.choice([0, 100, 9_999, 10**9])
            case "time":
                chosen["since_ms"] = NOW_MS - source.randrange(40) * SLOT_MS // 3
                chosen["until_ms"] = chosen["since_ms"] + source.choice([1, SLOT_MS, 5 * SLOT_MS])
            case "model_prefix":
                chosen["model_prefix"] = source.choice(["o", "one-", "t", "ü", "none", "ünder_%"])
            case "status":
                chosen["status"] = source.choice([200, 429, 599])
            case "end_state":
                chosen["end_state"] = source.choice(VALUES["end_state"])
            case _:
                chosen[name] = source.choice([each for each in VALUES[name] if each is not None] + ["none"])
    return Filters(**chosen)


def fits(row: dict[str, Any], filters: Filters) -> bool:
    """The filters once more, in Python."""
    equal = ("project_id", "key_id", "end_user", "route", "provider", "model", "end_state", "status", "error_code")
    return (
        all(getattr(filters, name) in (None, row[name]) for name in (*equal, "request_id"))
        and all((row["tags"] or {}).get(name) == value for name, value in filters.tags.items())
        and (filters.model_prefix is None or (row["model"] or "").startswith(filters.model_prefix))
        and _reaches(row["cost_micro_usd"], filters.min_cost_micro_usd)
        and _reaches(row["total_ms"], filters.min_total_ms)
        and row["started_at_ms"] >= (filters.since_ms or 0)
        and row["started_at_ms"] < (filters.until_ms or 2**53)
    )


def _reaches(value: int | None, least: int | None) -> bool:
    return least is None or (value is not None and value >= least)


def pages(database: Database, filters: Filters, **options: Any) -> Iterator[Page]:
    cursor = None
    while True:
        found = page(database, filters, cursor=cursor, **options)
        yield found
        cursor = found.cursor
        if cursor is None:
            return


@pytest.mark.parametrize("budget_s", [None, 0.0])
@pytest.mark.usefixtures("small_windows")
def test_pages_give_each_request_that_fits_once_and_in_order(database: Database, budget_s: float | None) -> None:
    """Whatever the filters, the order, the size of pages and the time there is for one."""
    source = random.Random(7)  # noqa: S311 - rows that differ, no secrets
    rows = some_requests(source, 250)
    write(database, *rows)
    for _ in range(60 if budget_s is None else 30):
        filters, newest_first, limit = some_filters(source), source.random() < 0.5, source.choice([3, 8, 50])
        wanted = sorted(((row["started_at_ms"], row["id"]) for row in rows if fits(row, filters)), reverse=newest_first)
        told = list(pages(database, filters, limit=limit, newest_first=newest_first, budget_s=budget_s))
        assert [(row["started_at_ms"], row["id"]) for each in told for row in each.rows] == wanted, filters
        assert all(len(each.rows) == limit for each in told[:-1] if each.searched_to_ms is None), filters
        assert count(database, filters) == len(wanted), filters


@pytest.mark.usefixtures("small_windows")
def test_a_page_whose_time_is_over_says_how_far_it_has_looked(database: Database) -> None:
    write(database, *(a_request(number, key_id=f"key_{number % 2}", model=f"m{number % 2}") for number in range(60)))
    found = page(database, Filters(key_id="key_0", model="m1"), limit=5, budget_s=0.0)
    assert (found.rows, found.searched_to_ms) == ([], NOW_MS - DAY_MS + 54_000)
    assert found.cursor is not None
    assert page(database, Filters(key_id="key_0"), limit=5, budget_s=0.0).searched_to_ms is None


def test_requests_that_are_written_between_two_pages_move_nothing(database: Database) -> None:
    write(database, *(a_request(number) for number in range(10)))
    first = page(database, Filters(), limit=4)
    write(database, *(a_request(number) for number in range(10, 15)))
    second = page(database, Filters(), limit=4, cursor=first.cursor)
    assert [row["request_id"] for row in (*first.rows, *second.rows)] == [f"req_{9 - number}" for number in range(8)]


@pytest.mark.parametrize("cursor", ["", "x", "bi4", "é", "Zi4xLmE", "bi4tMS5h", "bi4xLgA", "bi45" * 99])
def test_a_cursor_that_is_none_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        page(database, Filters(), cursor=cursor)
    assert raised.value.param == "after"


def test_a_cursor_of_the_other_order_is_refused(database: Database) -> None:
    write(database, *(a_request(number) for number in range(3)))
    cursor = page(database, Filters(), limit=1).cursor
    with pytest.raises(InvalidRequest, match="the other order"):
        page(database, Filters(), cursor=cursor, newest_first=False)


@pytest.mark.parametrize(
    ("filters", "param"),
    [
        ({"model": "a\x00b"}, "model"),
        ({"end_user": "\ud800"}, "end_user"),
        ({"route": ""}, "route"),
        ({"provider": "x" * 201}, "provider"),
        ({"end_state": "done"}, "end_state"),
        ({"tags": {'a"b': "c"}}, "tag"),
        ({"tags": {"a": "\n"}}, "tag"),
    ],
)
def test_filters_that_no_database_can_be_asked_are_refused(filters: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        Filters(**filters)
    assert raised.value.param == param


@pytest.mark.parametrize("text", ["' OR 1=1 --", '"; DROP TABLE requests; --', "%", "\\", "{x}", "?", ":name", "$1"])
def test_what_is_asked_for_is_a_value_and_never_sql(database: Database, text: str) -> None:
    write(database, a_request(1), a_request(2, model=text, end_user=text, tags={"t": text}))
    for filters in (Filters(model=text), Filters(end_user=text), Filters(tags={"t": text}), Filters(model_prefix=text)):
        assert [row["request_id"] for row in page(database, filters).rows] == ["req_2"]


def test_all_pages_one_after_another_are_the_log_from_the_oldest_on(database: Database) -> None:
    write(database, *(a_request(number) for number in range(25)))
    told = [row["request_id"] for each in every(database, Filters(), rows=10) for row in each.rows]
    assert told == [f"req_{number}" for number in range(25)]


def test_one_request_has_its_calls_in_order_and_its_body_only_if_asked(database: Database) -> None:
    row = a_request(1, attempts=2, tags={"team": "search"})
    write(database, row)
    write_attempts(
        database,
        an_attempt(row["id"], 2, usage={"server_tool_calls": {"web_search": 1}}),
        an_attempt(row["id"], 1, outcome="failed", error_code="provider_timeout", cost_basis="free", cost_micro_usd=0),
        an_attempt("other"),
    )
    write_body(database, row["id"], '{"a":1}', None)
    found = find(database, row["id"])
    assert found is not None
    assert {name: found.row[name] for name in row} == row
    assert [(call["number"], call["outcome"]) for call in found.attempts] == [(1, "failed"), (2, "answered")]
    assert found.attempts[1]["usage"] == {"server_tool_calls": {"web_search": 1}}
    assert found.body is None
    with_body = find(database, "req_1", with_body=True)
    assert with_body is not None
    assert with_body.body is not None
    assert (with_body.body["request"], with_body.body["response"]) == ('{"a":1}', None)


def test_of_requests_that_callers_gave_one_id_the_newest_is_found(database: Database) -> None:
    write(database, *(a_request(number, request_id="mine") for number in range(3)))
    found = find(database, "mine")
    assert found is not None
    assert found.row["id"] == f"{2:032x}"


@pytest.mark.parametrize("text", ["req_9", "", "a\x00b", "\ud800"])
def test_a_request_that_there_is_none_of_is_none(database: Database, text: str) -> None:
    write(database, a_request(1))
    assert find(database, text) is None


def test_rows_are_told_with_the_names_of_their_project_and_key(database: Database) -> None:
    with database.write() as connection:
        made = {"require_pricing": False, "created_at_ms": 1, "updated_at_ms": 1}
        connection.execute(projects.insert().values(id="proj_1", name="Search", store_bodies=False, **made))
        connection.execute(
            keys.insert().values(id="key_1", project_id="proj_1", name="nightly", is_admin=False, **made)
        )
    write(database, a_request(1), a_request(2, project_id="config:web", key_id=None))
    told = [(row["project"], row["key"]) for row in page(database, Filters()).rows]
    assert told == [(None, None), ("Search", "nightly")]


def test_a_tag_is_found_although_its_slot_has_other_requests(database: Database) -> None:
    write(database, *(a_request(number, tags={"n": str(number % 3)}) for number in range(9)))
    told = page(database, Filters(tags={"n": "1"})).rows
    assert [row["request_id"] for row in told] == ["req_7", "req_4", "req_1"]


def test_what_the_drainer_posts_is_in_the_log_and_found_by_its_tag(database: Database) -> None:
    """Also a request whose process died before its end."""
    begun = AttemptOpened(
        *("a.1", "a", "req_a", 1, NOW_MS + 5, NOW_MS, "proj_1", "key_1", "ann", "/v1/messages", "default", "default"),
        *(True, {"team": "search"}, "first", "anthropic", "one", 10, 500),
    )
    closed = AttemptClosed(
        *("a.1", NOW_MS + 900, "answered", None, "one-mini", Counts(12, output_tokens=30), 420, "reported", "list"),
        *(70, None, None),
    )
    ended = RequestEnded(
        *("a", "req_a", NOW_MS, "proj_1", "key_1", "ann", "/v1/messages", "default", "default", True),
        *({"team": "search"}, "first", "one-mini", "answered", 200, None, 1, 75, 905, None),
    )
    lost = msgspec.structs.replace(begun, attempt_id="b.1", entry_id="b", request_id="req_b")
    with database.write() as connection:
        post(connection, database, [begun, closed, ended], "holder")
        Posting(connection, database).post({"holder": [lost]}, {"b": lost})
    by_tag = page(database, Filters(tags={"team": "search"})).rows
    assert [(row["id"], row["end_state"], row["cost_micro_usd"]) for row in by_tag] == [
        ("b", "unknown", None),
        ("a", "answered", 420),
    ]
    whole = find(database, "req_a")
    assert whole is not None
    assert (whole.row["model"], whole.row["input_tokens"], whole.row["tags"]) == ("one-mini", 12, {"team": "search"})
    assert [(call["provider"], call["outcome"], call["duration_ms"]) for call in whole.attempts] == [
        ("first", "answered", 895)
    ]
