"""The end of an answer with a key is written down before its caller sees it, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import select
from starlette.types import Message, Receive, Scope, Send
from tests.server.conftest import build_served

from waypost.errors import ServerBusy
from waypost.gateway.call_record import begin_record, current_record, end_record
from waypost.gateway.stores import Stores
from waypost.ledger.durable_answers import DurableAnswers
from waypost.ledger.threads import DatabaseThreads
from waypost.server.application import ServedApplication
from waypost.server.live_reply import ENDS
from waypost.server.middleware.idempotent import Idempotent
from waypost.store.database import Database
from waypost.store.tables import idempotency_answers

HEADERS = [(b"content-type", b"text/event-stream")]


@pytest.fixture
async def served(database: Database) -> AsyncIterator[ServedApplication]:
    threads = DatabaseThreads(lambda: database)
    made = build_served()
    memory = made.stores.idempotency
    made.stores = Stores(idempotency=memory, answers=DurableAnswers(threads, 60, 1_000_000), threads=threads)
    yield made
    made.stores.close()


def body_of(database: Database) -> bytes | None:
    with database.read() as connection:
        found: bytes | None = connection.scalar(select(idempotency_answers.c.body))
        return found


async def asked(app: Idempotent, send: Send) -> None:
    messages: list[Message] = [{"type": "http.request", "body": b"{}", "more_body": False}]

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    headers = [(b"idempotency-key", b"k")]
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "query_string": b"", "headers": headers}
    _, token = begin_record()
    try:
        await app(scope, receive, send)
    finally:
        end_record(token)


ANSWERS: list[tuple[str, list[Message], bytes]] = [
    ("in one piece", [{"body": b"whole"}], b"whole"),
    (
        "a stream whose last event says so",
        [
            {"body": b"one", "more_body": True},
            {"body": b"two", "more_body": True, ENDS: True},
            {"body": b": keep-alive", "more_body": True},
            {"body": b""},
        ],
        b"onetwo",
    ),
    ("a stream that ends with its last bytes", [{"body": b"one", "more_body": True}, {"body": b"two"}], b"onetwo"),
]


@pytest.mark.parametrize(("pieces", "whole"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS])
async def test_who_sees_the_end_can_rely_on_it(
    served: ServedApplication, database: Database, pieces: list[Message], whole: bytes
) -> None:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        for piece in pieces:
            await send({"type": "http.response.body", **piece})

    written: list[tuple[bytes, bytes | None]] = []

    async def look(message: Message) -> None:
        if message["type"] == "http.response.body":
            written.append((message["body"], body_of(database)))

    await asked(Idempotent(answer, served), look)
    ends = [number for number, piece in enumerate(pieces) if piece.get(ENDS) or not piece.get("more_body")]
    assert [body for _, body in written[: ends[0]]] == [None] * ends[0]
    assert {body for _, body in written[ends[0] :]} == {whole}


@pytest.mark.parametrize("billed", [False, True])
async def test_an_answer_that_breaks_off_leaves_the_key_as_it_should(
    served: ServedApplication, database: Database, billed: bool
) -> None:
    """Free, or without its answer where somebody may be paid for it."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        record = current_record()
        assert record is not None
        assert record.on_answer is not None
        if billed:
            record.on_answer()
        raise ServerBusy("no")

    told: list[Any] = []

    async def send(message: Message) -> None:
        told.append(message.get("status"))

    await asked(Idempotent(answer, served), send)
    assert told[0] == 503
    with database.read() as connection:
        row = connection.execute(select(idempotency_answers)).first()
    if billed:
        assert row is not None
        assert (row.status, row.lease_until_ms) == (503, None)
    else:
        assert row is None
