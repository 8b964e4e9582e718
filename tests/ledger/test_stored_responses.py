"""Claims about stored responses, on both databases."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import func, insert, select
from tests.databases import PostgresServer

from waypost.errors import BodyTooLarge, DatabaseUnavailable, InvalidRequest, PreviousResponseUnknown
from waypost.ledger.stored_responses import MOST_TURNS, StoredResponse, StoredResponses
from waypost.ledger.threads import DatabaseThreads
from waypost.store.database import Database
from waypost.store.migrate import upgrade
from waypost.store.tables import stored_items, stored_responses

NOW_MS = round(time.time() * 1000)
LATER_MS = NOW_MS + 3_600_000
MOST_BYTES = 1_000_000


@pytest.fixture
async def store(database: Database) -> AsyncIterator[StoredResponses]:
    threads = DatabaseThreads(lambda: database)
    yield StoredResponses(threads, days=30)
    threads.close()


def response(
    own_id: str,
    previous: str | None = None,
    project: str = "p",
    *,
    expires_at_ms: int = LATER_MS,
    text: str = "ok",
) -> StoredResponse:
    return StoredResponse(own_id, project, previous, NOW_MS, expires_at_ms, '{"input":[]}', text)


async def ids_of_conversation(store: StoredResponses, response_id: str, project: str = "p") -> list[str]:
    return [each.id for each in await store.conversation(project, response_id, MOST_BYTES)]


async def test_what_was_kept_is_found_as_it_was(store: StoredResponses) -> None:
    """Text of any language, and what only looks like SQL."""
    kept = response("resp_1", "resp_0", text='{"text":"Grüße \\u0000 \U0001f600 \'; DROP TABLE projects; --"}')
    await store.keep(kept, ["msg_1"])
    assert await store.find("p", "resp_1") == kept
    assert store.expiry_ms(NOW_MS) == NOW_MS + 30 * 86_400_000


async def test_it_is_found_by_its_project_alone(store: StoredResponses) -> None:
    await store.keep(response("resp_1"), ["msg_1"])
    assert await store.find("q", "resp_1") is None
    assert await store.delete("q", "resp_1") is False
    assert await store.with_items("q", ["msg_1"]) == []
    assert await store.conversation("q", "resp_1", MOST_BYTES, whole=False) == []
    with pytest.raises(PreviousResponseUnknown):
        await store.conversation("q", "resp_1", MOST_BYTES)
    assert await store.find("p", "resp_1") is not None


async def test_a_conversation_comes_in_its_order(store: StoredResponses) -> None:
    """Of two that go on from one answer, each has its own way back."""
    links = [("a", None), ("b", "a"), ("c", "b"), ("other", "b"), ("stranger", None)]
    for own, previous in links:
        await store.keep(response(own, previous), [])
    assert await ids_of_conversation(store, "c") == ["a", "b", "c"]
    assert await ids_of_conversation(store, "other") == ["a", "b", "other"]
    assert await ids_of_conversation(store, "a") == ["a"]


async def test_half_a_conversation_is_none(store: StoredResponses) -> None:
    """Its deleted, expired or foreign part is named; for showing what there is, the rest is given."""
    for own, previous in (("a", None), ("b", "a"), ("c", "b")):
        await store.keep(response(own, previous), [])
    assert await store.delete("p", "a") is True
    with pytest.raises(PreviousResponseUnknown, match="Response with id 'a', on which 'c' builds") as caught:
        await store.conversation("p", "c", MOST_BYTES)
    assert (caught.value.http_status, caught.value.param) == (400, "previous_response_id")
    shown = await store.conversation("p", "c", MOST_BYTES, whole=False)
    assert [each.id for each in shown] == ["b", "c"]
    await store.keep(response("x", "foreign"), [])
    await store.keep(response("foreign", project="q"), [])
    with pytest.raises(PreviousResponseUnknown, match="'foreign'"):
        await store.conversation("p", "x", MOST_BYTES)


async def test_what_is_expired_is_not_there_although_it_was_not_removed(store: StoredResponses) -> None:
    await store.keep(response("old", expires_at_ms=NOW_MS - 1), ["msg_old"])
    await store.keep(response("new", "old"), [])
    assert await store.find("p", "old") is None
    assert await store.delete("p", "old") is False
    assert await store.with_items("p", ["msg_old"]) == []
    with pytest.raises(PreviousResponseUnknown, match="'old'"):
        await store.conversation("p", "new", MOST_BYTES)


async def test_a_conversation_has_bounds(store: StoredResponses, database: Database) -> None:
    rows = [
        {"id": f"r{number}", "project_id": "p", "previous_response_id": f"r{number - 1}" if number else None}
        for number in range(MOST_TURNS + 1)
    ]
    common = {"created_at_ms": NOW_MS, "expires_at_ms": LATER_MS, "request": "x" * 10, "response": "y" * 90}
    with database.write() as connection:
        connection.execute(insert(stored_responses), [{**row, **common} for row in rows])
    assert len(await store.conversation("p", f"r{MOST_TURNS - 1}", MOST_BYTES)) == MOST_TURNS
    with pytest.raises(InvalidRequest, match="more than 1000 turns"):
        await store.conversation("p", f"r{MOST_TURNS}", MOST_BYTES)
    with pytest.raises(BodyTooLarge):
        await store.conversation("p", "r10", 1000)
    shown = await store.conversation("p", "r10", 300, whole=False)
    assert [each.id for each in shown] == ["r8", "r9", "r10"]
    assert len(await store.conversation("p", f"r{MOST_TURNS}", MOST_BYTES, whole=False)) == MOST_TURNS


async def test_answers_that_name_each_other_do_not_hold_anybody_up(store: StoredResponses) -> None:
    for own, previous in (("a", "b"), ("b", "a")):
        await store.keep(response(own, previous), [])
    with pytest.raises(InvalidRequest):
        await store.conversation("p", "a", MOST_BYTES)


async def test_items_lead_to_every_answer_they_are_in(store: StoredResponses) -> None:
    await store.keep(response("a"), ["msg_1", "msg_2", "msg_1", "x" * 200])
    await store.keep(response("b", "a"), ["msg_2", "msg_3"])
    found = await store.with_items("p", ["msg_2", "msg_3", "nothing"])
    assert sorted(each.id for each in found) == ["a", "b"]
    many = [f"msg_{number}" for number in range(1200)]
    assert sorted(each.id for each in await store.with_items("p", many)) == ["a", "b"]


async def test_deleting_an_answer_takes_its_items_along(store: StoredResponses, database: Database) -> None:
    await store.keep(response("a"), ["msg_1"])
    await store.keep(response("b"), ["msg_1"])
    assert await store.delete("p", "a") is True
    assert await store.delete("p", "a") is False
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(stored_items)) == 1
    assert [each.id for each in await store.with_items("p", ["msg_1"])] == ["b"]


async def test_nothing_is_kept_by_halves(postgres: PostgresServer) -> None:
    """While the database is away, keeping and finding are refused; afterwards all is as if nobody had tried."""
    database = Database(postgres.url)
    upgrade(database)
    threads = DatabaseThreads(lambda: database)
    store = StoredResponses(threads, days=30)
    postgres.kill()
    with pytest.raises(DatabaseUnavailable):
        await store.keep(response("a"), ["msg_1"])
    with pytest.raises(DatabaseUnavailable):
        await store.find("p", "a")
    postgres.start()
    with database.read() as connection:
        assert connection.scalar(select(func.count()).select_from(stored_responses)) == 0
    threads.close()
    database.close()
