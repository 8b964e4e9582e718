"""Answers of /v1/responses that their callers have stored: kept, found, gone on from, deleted. What is in them is text.

Only the project that stored an answer finds it; to every other it is not there. What is expired is not there either,
whether or not it has been removed yet. The invariant: a conversation is given whole, or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waypost.errors import BodyTooLarge, InvalidRequest, PreviousResponseUnknown
from waypost.ledger.threads import DatabaseThreads

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.ledger.response_rows import Link
    from waypost.store.database import Database

MOST_TURNS: Final = 1_000
"""Of one conversation."""
DAY_MS: Final = 86_400_000
PREVIOUS: Final = "previous_response_id"


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """One row: see `store.tables.stored_responses`."""

    id: str
    project_id: str
    previous_response_id: str | None
    created_at_ms: int
    expires_at_ms: int
    request: str
    response: str


class StoredResponses:
    """Those of all projects. `by_default`: is an answer stored if its caller says nothing? `clock`: Unix seconds."""

    def __init__(
        self,
        threads: DatabaseThreads,
        days: int,
        *,
        by_default: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.by_default = by_default
        self._threads = threads
        self._days = days
        self._clock = clock

    @property
    def now_ms(self) -> int:
        """Unix milliseconds."""
        return int(self._clock() * 1000)

    def expiry_ms(self, now_ms: int) -> int:
        """Until when an answer of now is kept."""
        return now_ms + self._days * DAY_MS

    async def keep(self, stored: StoredResponse, item_ids: Collection[str]) -> None:
        """Keep an answer; `item_ids` are those of its input and output. Raises DatabaseUnavailable: it is not kept."""

        def insert(connection: Connection, _: Database) -> None:
            from waypost.ledger import response_rows as rows

            rows.insert(connection, stored, item_ids)

        await self._threads.write(insert)

    async def find(self, project_id: str, response_id: str) -> StoredResponse | None:
        """The answer; None if it is not there. Raises DatabaseUnavailable."""
        now_ms = self.now_ms

        def find(connection: Connection, _: Database) -> StoredResponse | None:
            from waypost.ledger import response_rows as rows

            return next(iter(rows.find(connection, project_id, [response_id], now_ms)), None)

        return await self._threads.read(find)

    async def delete(self, project_id: str, response_id: str) -> bool:
        """Delete the answer. Was it there? Raises DatabaseUnavailable."""
        now_ms = self.now_ms

        def delete(connection: Connection, _: Database) -> bool:
            from waypost.ledger import response_rows as rows

            return rows.delete(connection, project_id, response_id, now_ms)

        return await self._threads.write(delete)

    async def conversation(
        self, project_id: str, response_id: str, max_bytes: int, *, whole: bool = True
    ) -> Sequence[StoredResponse]:
        """The answer and all before it, the oldest first; empty if `response_id` is not there and need not be `whole`.

        `whole`: raises PreviousResponseUnknown if one of them is not there, InvalidRequest and BodyTooLarge if they
        are too many or too long. Otherwise what there is of them is given, as far back as the bounds allow.
        Raises DatabaseUnavailable.
        """
        now_ms = self.now_ms
        return await self._threads.read(
            lambda connection, _: _conversation(connection, project_id, response_id, now_ms, max_bytes, whole=whole)
        )

    async def with_items(self, project_id: str, item_ids: Collection[str]) -> Sequence[StoredResponse]:
        """The answers in whose input or output these items are. Raises DatabaseUnavailable."""
        now_ms = self.now_ms

        def find(connection: Connection, _: Database) -> Sequence[StoredResponse]:
            from waypost.ledger import response_rows as rows

            return rows.with_items(connection, project_id, item_ids, now_ms)

        return await self._threads.read(find)


def _conversation(
    connection: Connection, project_id: str, response_id: str, now_ms: int, max_bytes: int, *, whole: bool
) -> Sequence[StoredResponse]:
    from waypost.ledger import response_rows as rows

    links = rows.chain(connection, project_id, response_id, now_ms, MOST_TURNS + 1)
    if whole:
        _demand_whole(links, response_id, max_bytes)
    else:
        links = _within(links, max_bytes)
    found = {each.id: each for each in rows.find(connection, project_id, [link.id for link in links], now_ms)}
    return [found[link.id] for link in reversed(links)]


def _demand_whole(links: Sequence[Link], response_id: str, max_bytes: int) -> None:
    if not links:
        raise PreviousResponseUnknown(f"Previous response with id '{response_id}' not found.", param=PREVIOUS)
    if len(links) > MOST_TURNS:
        raise InvalidRequest(
            f"The conversation has more than {MOST_TURNS} turns.",
            hint="Begin another one, with a summary of this one in input.",
            param=PREVIOUS,
        )
    missing = links[-1].previous_response_id
    if missing is not None:
        raise PreviousResponseUnknown(
            f"Response with id '{missing}', on which '{response_id}' builds, is not stored any more.", param=PREVIOUS
        )
    if sum(link.size_bytes for link in links) > max_bytes:
        raise BodyTooLarge(
            f"The conversation up to '{response_id}' is over the limit of {max_bytes} bytes.",
            hint="Begin another one, with a summary of this one in input.",
            param=PREVIOUS,
        )


def _within(links: Sequence[Link], max_bytes: int) -> Sequence[Link]:
    """The newest of them that fit; the first one always does."""
    total = 0
    for number, link in enumerate(links[:MOST_TURNS]):
        total += link.size_bytes
        if number and total > max_bytes:
            return links[:number]
    return links[:MOST_TURNS]
