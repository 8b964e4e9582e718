"""Claims about text: whatever a caller sends can be written and found again, in both databases alike."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from waypost.store.database import Database
from waypost.store.tables import audit, bodies, revisions

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=300)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(ANY_TEXT)
@FEW
def test_any_text_is_found_by_itself(database: Database, text: str) -> None:
    with database.write() as connection:
        connection.execute(delete(revisions))
        connection.execute(insert(revisions).values(name=text, number=1))
        assert connection.scalar(select(revisions.c.number).where(revisions.c.name == text)) == 1
        stored = connection.scalar(select(revisions.c.name))
        assert stored is not None
        assert len(stored) <= 64


@given(st.recursive(ANY_TEXT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3)))
@FEW
def test_any_document_can_be_written(database: Database, document: Any) -> None:
    row = {"at_ms": 1, "actor": "a", "action": "b", "object_kind": "c", "object_id": "d", "id": "e"}
    with database.write() as connection:
        connection.execute(delete(audit))
        connection.execute(insert(audit).values(**row, before=[document], after=None))
        assert connection.scalar(select(audit.c.before)) is not None
        assert connection.scalar(select(audit.c.after)) is None


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("plain ä 漢 😀 \\u0000", "plain ä 漢 😀 \\u0000"),
        ("a\0b", "a\ufffdb"),
        ("a\ud800b\udc00", "a\ufffdb\ufffd"),
    ],
)
def test_only_what_no_database_takes_is_replaced(database: Database, text: str, stored: str) -> None:
    row = {"at_ms": 1, "actor": text, "action": "b", "object_kind": "c", "object_id": "d", "id": "e"}
    with database.write() as connection:
        connection.execute(insert(bodies).values(entry_id="1", stored_at_ms=1, request=text))
        connection.execute(insert(audit).values(**row, before={text: [text, 1.5, True, None]}))
        assert connection.scalar(select(bodies.c.request)) == stored
        assert connection.execute(select(audit.c.actor, audit.c.before)).one() == (
            stored,
            {stored: [stored, 1.5, True, None]},
        )


def test_texts_that_are_too_long_stay_different_and_readable(database: Database) -> None:
    texts = ["x" * 100 + ending for ending in "ab"]
    with database.write() as connection:
        connection.execute(insert(revisions), [{"name": text, "number": number} for number, text in enumerate(texts)])
        for number, text in enumerate(texts):
            assert connection.scalar(select(revisions.c.number).where(revisions.c.name == text)) == number
        assert all(
            name.startswith("x" * 40 + "x") and "~" in name for name in connection.scalars(select(revisions.c.name))
        )
        whole = connection.scalar(select(revisions.c.name).where(revisions.c.name == "x" * 64))
        assert whole is None
