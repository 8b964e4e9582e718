"""The rows of stored responses, within a transaction. Import it late: it brings SQLAlchemy along."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, literal, select
from sqlalchemy import delete as delete_from
from sqlalchemy import insert as insert_into

from waypost.ledger.stored_responses import StoredResponse
from waypost.store.tables import stored_items, stored_responses

TABLE = stored_responses.c
LONGEST_ITEM_ID = 128
IDS_AT_ONCE = 500
"""Databases bound how many values one statement may have."""


@dataclass(frozen=True, slots=True)
class Link:
    """One answer of a conversation, without its text."""

    id: str
    previous_response_id: str | None
    size_bytes: int


def insert(connection: Connection, stored: StoredResponse, item_ids: Collection[str]) -> None:
    """Write an answer, and where its items are."""
    connection.execute(insert_into(stored_responses).values(asdict(stored)))
    rows = [
        {"project_id": stored.project_id, "item_id": item_id, "response_id": stored.id}
        for item_id in dict.fromkeys(item_ids)
        if len(item_id) <= LONGEST_ITEM_ID
    ]
    if rows:
        connection.execute(insert_into(stored_items), rows)


def find(connection: Connection, project_id: str, response_ids: Sequence[str], now_ms: int) -> Sequence[StoredResponse]:
    """Those of the answers that are there."""
    found: list[StoredResponse] = []
    for start in range(0, len(response_ids), IDS_AT_ONCE):
        some = response_ids[start : start + IDS_AT_ONCE]
        rows = connection.execute(select(stored_responses).where(TABLE.id.in_(some), _is_there(project_id, now_ms)))
        found += [StoredResponse(**row) for row in rows.mappings()]
    return found


def chain(connection: Connection, project_id: str, response_id: str, now_ms: int, most: int) -> Sequence[Link]:
    """The answer and those before it, the newest first, as far back as each is there; at most so many."""
    first = (
        select(TABLE.id, TABLE.previous_response_id, literal(1).label("place"))
        .where(TABLE.id == response_id, _is_there(project_id, now_ms))
        .cte("chain", recursive=True)
    )
    links = first.union_all(
        select(TABLE.id, TABLE.previous_response_id, first.c.place + 1)
        .join(first, TABLE.id == first.c.previous_response_id)
        .where(_is_there(project_id, now_ms), first.c.place < most)
    )
    size = func.length(TABLE.request) + func.length(TABLE.response)
    rows = connection.execute(
        select(links.c.id, links.c.previous_response_id, size)
        .join(stored_responses, TABLE.id == links.c.id)
        .order_by(links.c.place)
    )
    return [Link(*row) for row in rows]


def delete(connection: Connection, project_id: str, response_id: str, now_ms: int) -> bool:
    """Delete the answer; its items go with it. Was it there?"""
    done = connection.execute(
        delete_from(stored_responses).where(TABLE.id == response_id, _is_there(project_id, now_ms))
    )
    return done.rowcount > 0


def with_items(
    connection: Connection, project_id: str, item_ids: Collection[str], now_ms: int
) -> Sequence[StoredResponse]:
    """The answers in which these items are."""
    wanted, owners = list(dict.fromkeys(item_ids)), dict[str, None]()
    for start in range(0, len(wanted), IDS_AT_ONCE):
        some = wanted[start : start + IDS_AT_ONCE]
        columns = stored_items.c
        rows = connection.scalars(
            select(columns.response_id).where(columns.project_id == project_id, columns.item_id.in_(some))
        )
        owners.update(dict.fromkeys(rows))
    return find(connection, project_id, list(owners), now_ms)


def _is_there(project_id: str, now_ms: int) -> ColumnElement[bool]:
    return and_(TABLE.project_id == project_id, TABLE.expires_at_ms > now_ms)
