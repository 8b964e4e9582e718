"""Claims about how records become rows, on both databases: exactly once, in whatever portions they come."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select
from tests.ledger.traffic import (
    START_MS,
    a_body,
    a_closed,
    an_ended,
    an_opened,
    exchange,
    expected,
    interleaved,
    rows,
    stored,
)

from waypost.ledger.journal.encoding import decode, encode
from waypost.ledger.posting import post
from waypost.ledger.records import Counts, Record
from waypost.ledger.rows import MOST_MICRO_USD, MOST_TOKENS
from waypost.ledger.subjects import user_subject
from waypost.ledger.tag_slots import SLOT_MS, tag_hash
from waypost.store.database import Database
from waypost.store.tables import (
    attempts,
    bodies,
    daily_totals,
    requests,
    spend,
    tag_slots,
    unfinished_attempts,
)

ENTRY = "e" * 32
HOLDER = "holder"


def posted(database: Database, *records: Record) -> dict[tuple[str, str], int]:
    with database.write() as connection:
        return post(connection, database, records, HOLDER)


def portions(records: Sequence[Record], source: random.Random) -> Iterator[Sequence[Record]]:
    at = 0
    while at < len(records):
        size = source.choice((1, 2, 7, 40))
        yield records[at : at + size]
        at += size


def emptied(database: Database) -> None:
    with database.write() as connection:
        for table in (attempts, requests, bodies, daily_totals, spend, tag_slots, unfinished_attempts):
            connection.execute(delete(table))


@given(seed=st.integers(0, 10**6), count=st.integers(1, 25), cut=st.floats(0, 1), replayed=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_records_are_portioned_the_rows_and_sums_are_the_same(
    database: Database, seed: int, count: int, cut: float, replayed: bool
) -> None:
    """Requests that run at the same time, cut off anywhere, in portions of any size, some of which come twice."""
    source = random.Random(seed)  # noqa: S311 - no secret
    records = interleaved([exchange(number, f"{seed:x}-") for number in range(count)], source)
    records = records[: round(len(records) * cut)]
    emptied(database)
    added: Counter[tuple[str, str]] = Counter()
    for portion in portions(records, source):
        added.update(posted(database, *portion))
        if replayed and source.random() < 0.3:
            assert posted(database, *portion) == {}
    wanted, found = expected(records), stored(database)
    assert found == wanted
    assert added == wanted.spend


def test_an_attempt_and_its_request_in_full(database: Database) -> None:
    counts = Counts(90, 10, 5, 6, 7, 20, 3, 2, {"web_search": 1}, "flex")
    posted(
        database,
        an_opened(ENTRY, reserved_micro_usd=5000),
        a_closed(ENTRY, counts=counts, way="prefill"),
        an_ended(ENTRY),
    )
    assert rows(database, attempts) == [
        {
            "id": f"{ENTRY}.1",
            "entry_id": ENTRY,
            "number": 1,
            "started_at_ms": START_MS + 1001,
            "project_id": "proj_1",
            "key_id": "key_1",
            "end_user": "ann",
            "provider": "openai",
            "kind": "openai",
            "asked_model": "fast",
            "model": "gpt-5-mini-2026",
            "outcome": "answered",
            "error_code": None,
            "input_tokens": 90,
            "input_cache_read_tokens": 10,
            "input_cache_write_5m_tokens": 5,
            "input_cache_write_1h_tokens": 6,
            "output_tokens": 20,
            "output_reasoning_tokens": 3,
            "usage": {
                "input_audio_tokens": 7,
                "output_audio_tokens": 2,
                "server_tool_calls": {"web_search": 1},
                "service_tier": "flex",
            },
            "reserved_micro_usd": 5000,
            "cost_micro_usd": 1234,
            "cost_basis": "reported",
            "price_source": "configuration",
            "first_token_ms": 300,
            "duration_ms": 999,
            "provider_key": "#1",
            "way": "prefill",
        }
    ]
    (request,) = rows(database, requests)
    assert request == {
        "id": ENTRY,
        "request_id": f"req_{ENTRY}",
        "started_at_ms": START_MS + 1000,
        "project_id": "proj_1",
        "key_id": "key_1",
        "end_user": "ann",
        "path": "/v1/chat/completions",
        "route": "fast",
        "asked_model": "fast",
        "stream": True,
        "provider": "openai",
        "model": "gpt-5-mini-2026",
        "end_state": "answered",
        "status": 200,
        "error_code": None,
        "attempts": 1,
        "input_tokens": 90,
        "input_cache_read_tokens": 10,
        "input_cache_write_5m_tokens": 5,
        "input_cache_write_1h_tokens": 6,
        "output_tokens": 20,
        "output_reasoning_tokens": 3,
        "cost_micro_usd": 1234,
        "cost_is_estimate": False,
        "first_token_ms": 310,
        "total_ms": 1010,
        "cache": None,
        "tags": {"team": "search"},
    }
    assert rows(database, tag_slots) == [{"tag": tag_hash("team", "search"), "slot": (START_MS + 1000) // SLOT_MS}]
    assert rows(database, unfinished_attempts) == []


def test_the_first_end_of_an_attempt_counts_and_the_last_of_a_request(database: Database) -> None:
    """A stream that goes on without its caller ends twice for the log."""
    posted(database, an_opened(ENTRY), a_closed(ENTRY), an_ended(ENTRY, end_state="caller_left"))
    posted(database, a_closed(ENTRY, cost_micro_usd=9, outcome="failed"), an_ended(ENTRY, end_state="answered"))
    assert [row["cost_micro_usd"] for row in rows(database, attempts)] == [1234]
    assert [row["end_state"] for row in rows(database, requests)] == ["answered"]


def test_an_attempt_that_outlives_its_request_is_added_to_it_when_it_ends(database: Database) -> None:
    posted(database, an_opened(ENTRY), a_closed(ENTRY), an_opened(ENTRY, 2), an_ended(ENTRY, 2))
    assert [row["cost_micro_usd"] for row in rows(database, requests)] == [None]
    assert [row["attempt_id"] for row in rows(database, unfinished_attempts)] == [f"{ENTRY}.2"]
    posted(database, a_closed(ENTRY, 2, cost_micro_usd=6, cost_basis="estimated", outcome="lost"))
    (request,) = rows(database, requests)
    assert (request["cost_micro_usd"], request["cost_is_estimate"], request["input_tokens"]) == (1240, True, 180)
    assert rows(database, unfinished_attempts) == []


def test_what_is_unknown_stays_unknown(database: Database) -> None:
    """No count is made 0, and a request with one call of unknown cost has none."""
    nothing = Counts()
    posted(database, an_opened(ENTRY), a_closed(ENTRY), an_opened(ENTRY, 2))
    posted(database, a_closed(ENTRY, 2, counts=nothing, cost_micro_usd=None, cost_basis="unpriced"), an_ended(ENTRY, 2))
    second = rows(database, attempts)[1]
    assert (second["input_tokens"], second["usage"], second["cost_micro_usd"]) == (None, None, None)
    (request,) = rows(database, requests)
    assert (request["cost_micro_usd"], request["input_tokens"], request["output_tokens"]) == (None, 90, 20)
    posted(database, an_ended("f" * 32, 0, end_state="failed"))
    assert [row["cost_micro_usd"] for row in rows(database, requests) if row["id"] == "f" * 32] == [0]


def test_the_end_of_an_attempt_whose_begin_was_lost_to_damage_is_counted_all_the_same(database: Database) -> None:
    """Where the request's end came through, it says whose it was."""
    posted(database, a_closed(ENTRY, cost_micro_usd=7), an_ended(ENTRY))
    posted(database, a_closed("f" * 32, 3, cost_micro_usd=5))
    first, second = rows(database, attempts)
    assert (first["project_id"], first["entry_id"], first["number"], first["cost_micro_usd"]) == ("proj_1", ENTRY, 1, 7)
    assert (second["project_id"], second["entry_id"], second["number"]) == ("", "f" * 32, 3)
    assert sum(row["cost_micro_usd"] for row in rows(database, daily_totals)) == 12
    assert {row["subject"] for row in rows(database, spend)} == {"key:key_1", "project:proj_1", "user:proj_1:ann"}


def test_an_attempt_counts_on_the_day_it_began(database: Database) -> None:
    """In UTC: one that began a millisecond before midnight is the day's before, and the month's."""
    midnight_ms = 1_796_083_200_000
    posted(database, an_opened(ENTRY, started_at_ms=midnight_ms - 1), a_closed(ENTRY, ended_at_ms=midnight_ms + 5000))
    posted(database, an_opened(ENTRY, 2, started_at_ms=midnight_ms), a_closed(ENTRY, 2, ended_at_ms=midnight_ms + 5000))
    found = {row["window"]: row["micro_usd"] for row in rows(database, spend) if row["subject"] == "key:key_1"}
    assert found == {"2026-11-30": 1234, "2026-11": 1234, "2026-12-01": 1234, "2026-12": 1234}


def test_bodies_are_kept_the_last_one_of_a_request(database: Database) -> None:
    posted(database, a_body(ENTRY), a_body("f" * 32))
    posted(database, a_body(ENTRY, response='{"a": 1}'))
    assert {row["entry_id"]: row["response"] for row in rows(database, bodies)} == {ENTRY: '{"a": 1}', "f" * 32: "[]"}


NASTY = ["\0", "'; DROP TABLE attempts; --", "%s %(id)s :id ? {}", "\u2028\uffff\U0010ffff", "x" * 5000, "\\u0000", ""]


@pytest.mark.parametrize("text", NASTY)
def test_no_text_keeps_a_record_from_becoming_a_row(database: Database, text: str) -> None:
    """Whatever a caller or a provider says: a search for it finds the row, and the sums hold it."""
    whose: Any = dict.fromkeys(("end_user", "route", "asked_model", "path"), text) | {
        "tags": {text: text, "team": text}
    }
    posted(database, an_opened(ENTRY, provider=text, model=text, kind=text, request_id=text, **whose))
    posted(
        database,
        a_closed(ENTRY, error_code=text, price_source=text, provider_key=text, way=text, model=text),
        an_ended(ENTRY, error_code=text, cache=text, provider=text, model=text, request_id=text, **whose),
        a_body(ENTRY, request=text, response=text),
    )
    found = {
        attempts: ("end_user", "provider", "kind", "error_code", "price_source", "provider_key", "way"),
        requests: ("end_user", "route", "asked_model", "path", "request_id", "error_code", "cache", "provider"),
        bodies: ("request", "response"),
        daily_totals: ("route", "provider"),
    }
    with database.read() as connection:
        for table, columns in found.items():
            same = [table.c[name] == text for name in columns]
            assert len(connection.execute(select(table).where(*same)).all()) == 1
    (request,) = rows(database, requests)
    kept = text.replace("\0", "\ufffd")
    assert request["tags"] == {kept: kept, "team": kept}
    own = {row["subject"] for row in rows(database, spend)} - {"key:key_1", "project:proj_1"}
    assert own == ({user_subject("proj_1", text)} if text else set())


def test_every_text_fits_its_column(database: Database) -> None:
    """The lengths that rows are cut to are those of the tables."""
    long = "x" * 5000
    whose: Any = dict.fromkeys(("request_id", "project_id", "key_id", "end_user", "path", "route", "asked_model"), long)
    told: Any = dict.fromkeys(("provider", "model", "error_code"), long)
    posted(database, an_opened(ENTRY, provider=long, kind=long, model=long, **whose))
    posted(
        database,
        a_closed(ENTRY, error_code=long, model=long, price_source=long, provider_key=long, way=long),
        an_ended(ENTRY, cache=long, **whose, **told),
        a_body(ENTRY, project_id=long),
    )
    for table in (attempts, requests, bodies):
        for row in rows(database, table):
            cut = {name: len(text) for name, text in row.items() if isinstance(text, str) and "~" in text}
            assert cut == {name: table.c[name].type.length for name in cut}  # type: ignore[attr-defined]
            assert cut


@pytest.mark.parametrize("number", [-1, 10**13 + 1, 2**62, 10**40])
def test_numbers_that_cannot_be_are_taken_as_not_known(database: Database, number: int) -> None:
    """A sum must never overflow because of one provider's nonsense."""
    counts = Counts(input_tokens=number, output_tokens=number, server_tool_calls={"web_search": number})
    records: list[Record] = [an_opened(ENTRY), a_closed(ENTRY, counts=counts, cost_micro_usd=number), an_ended(ENTRY)]
    posted(database, *(decode(encode(record)) for record in records))
    (attempt,) = rows(database, attempts)
    assert (attempt["input_tokens"], attempt["cost_micro_usd"], attempt["cost_basis"]) == (None, None, "unpriced")
    assert rows(database, spend) == []
    highest = Counts(input_tokens=MOST_TOKENS, output_tokens=MOST_TOKENS)
    for place in range(2, 12):
        posted(database, an_opened(ENTRY, place), a_closed(ENTRY, place, counts=highest, cost_micro_usd=MOST_MICRO_USD))
    assert sum(row["cost_micro_usd"] for row in rows(database, daily_totals)) == 10 * MOST_MICRO_USD


def test_a_transaction_that_is_undone_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as connection:
        post(connection, database, exchange(1), HOLDER)
        raise RuntimeError("fault")
    assert stored(database) == expected([])


def test_rows_that_came_of_two_processes_are_told_apart(database: Database) -> None:
    with database.write() as connection:
        post(connection, database, [an_opened(ENTRY)], "first")
        post(connection, database, [an_opened("f" * 32)], "second")
        found = connection.execute(select(unfinished_attempts.c.entry_id, unfinished_attempts.c.holder)).all()
    assert {tuple(row) for row in found} == {(ENTRY, "first"), ("f" * 32, "second")}


def test_a_record_that_a_newer_version_wrote_with_more_in_it_is_read(database: Database) -> None:
    """Fields that are added at the end of a record do not stop an older drainer."""
    import msgspec

    values: list[Any] = [*msgspec.msgpack.decode(encode(an_opened(ENTRY))), "new", 5]
    posted(database, decode(msgspec.msgpack.encode(values)))
    assert [row["outcome"] for row in rows(database, attempts)] == ["open"]
