"""Answers by idempotency key that survive a restart, and that all processes on one database share.

A request claims its key before it does anything. The claim holds for a lease that its process renews; the answer is
written before the caller sees its end. The invariant: while the database is there, a key leads to no second call that
may be billed. A process that dies before anybody had begun to answer leaves its key free once the lease is over; one
that dies later leaves it behind without an answer. What the database could not take is written when it is back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from waypost.errors import AnswerNotKept, AnswerUnderWay, DatabaseUnavailable, IdempotencyConflict
from waypost.ledger.threads import DatabaseThreads

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.ledger.answer_rows import Found
    from waypost.store.database import Database

Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]
Fate: TypeAlias = Literal["kept", "bare", "free"]
"""What becomes of a key: its answer is kept, or the key alone, or nothing."""
LEASE_S: Final = 30.0
BILLED_AFTER_S: Final = 0.05
"""An answer that is whole by then needs no note that it has begun."""
PARAM: Final = "Idempotency-Key"
logger = logging.getLogger("waypost.server")


class Slot(NamedTuple):
    """Where the answer to one key of a project is."""

    project_id: str
    digest: bytes

    @classmethod
    def of(cls, project_id: str, path: str, key: str) -> Slot:
        """That of a key at a path."""
        return cls(project_id, hashlib.sha256(b"\0".join((path.encode(), key.encode()))).digest())


class Held(NamedTuple):
    """A slot, the token of the claim that holds it, and what tells its request from others."""

    slot: Slot
    token: str
    fingerprint: bytes


class Times(NamedTuple):
    """In milliseconds: how long a claim holds without being renewed, and how long an answer is kept.

    `grace` is how much longer a claim holds, since nobody could renew it while the database was away.
    """

    lease: int
    keep: int
    grace: int = 0


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What the first request was answered."""

    status: int
    headers: Headers
    body: bytes

    @property
    def size_bytes(self) -> int:
        """How much it is to hold, about."""
        return len(self.body) + sum(len(name) + len(value) for name, value in self.headers)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a claim ends. `answer` belongs to fate "kept"."""

    fate: Fate
    answer: KeptAnswer | None = None


class Claim:
    """This process answers the first request with a key. `settle` ends it, once."""

    def __init__(self, answers: DurableAnswers, held: Held) -> None:
        self.held = held
        self._answers = answers
        self._settled = False
        self._note: asyncio.Task[None] | None = None

    def note_billed(self) -> None:
        """Somebody has begun to answer. It is written down while that goes on."""
        if self._note is None and not self._settled:
            self._note = asyncio.create_task(self._write_billed())

    async def settle(self, ending: Ending) -> None:
        """Write the end down; only the first one counts. Raises nothing: what cannot be written now is later."""
        if self._settled:
            return
        self._settled = True
        if self._note is not None:
            self._note.cancel()
        await self._answers.end(self.held, ending)

    async def _write_billed(self) -> None:
        await asyncio.sleep(BILLED_AFTER_S)
        with suppress(DatabaseUnavailable):
            await self._answers.write_billed(self.held)


class DurableAnswers:
    """Those of all projects, each for `ttl_s` seconds. `max_bytes` bounds what waits for a database that is away."""

    def __init__(self, threads: DatabaseThreads, ttl_s: float, max_bytes: int, *, lease_s: float = LEASE_S) -> None:
        self._threads = threads
        self._times = Times(round(lease_s * 1000), round(ttl_s * 1000))
        self._max_bytes = max_bytes
        self._claims: dict[str, Held] = {}
        self._unwritten: dict[str, tuple[Held, Ending]] = {}
        self._unwritten_bytes = 0
        self._housekeeping: asyncio.Task[None] | None = None

    async def claim(self, project_id: str, path: str, key: str, fingerprint: bytes) -> Claim | KeptAnswer:
        """The key is this request's from now on, or here is what the first one was answered.

        Raises IdempotencyConflict, AnswerUnderWay, AnswerNotKept, DatabaseUnavailable.
        """
        held = Held(Slot.of(project_id, path, key), os.urandom(16).hex(), fingerprint)
        times = self._times_now()

        def take(connection: Connection, database: Database) -> KeptAnswer | None:
            from waypost.ledger import answer_rows as rows

            found = rows.claim(connection, database, held, times)
            return None if found is None else _told(found, fingerprint)

        kept = await self._threads.write(take)
        if kept is not None:
            return kept
        self._claims[held.token] = held
        self._keep_house()
        return Claim(self, held)

    async def find(self, project_id: str, path: str, key: str, fingerprint: bytes) -> KeptAnswer | None:
        """What the first request was answered; None if that is not known. Raises as `claim` does."""
        slot, times = Slot.of(project_id, path, key), self._times_now()

        def look(connection: Connection, database: Database) -> KeptAnswer | None:
            from waypost.ledger import answer_rows as rows

            found = rows.find(connection, database, slot, times)
            return None if found is None else _told(found, fingerprint)

        return await self._threads.read(look)

    async def end(self, held: Held, ending: Ending) -> None:
        """For a Claim."""
        try:
            await self._write(held, ending)
        except DatabaseUnavailable:
            self._postpone(held, ending)
        else:
            self._claims.pop(held.token, None)

    async def write_billed(self, held: Held) -> None:
        """For a Claim. Raises DatabaseUnavailable."""

        def write(connection: Connection, _: Database) -> None:
            from waypost.ledger import answer_rows as rows

            rows.note_billed(connection, held)

        await self._threads.write(write)

    def close(self) -> None:
        """Renew nothing more."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()

    def _times_now(self) -> Times:
        grace = self._times.lease if self._threads.was_away(self._times.lease / 1000) else 0
        return self._times._replace(grace=grace)

    async def _write(self, held: Held, ending: Ending) -> None:
        def write(connection: Connection, database: Database) -> bool:
            from waypost.ledger import answer_rows as rows

            if ending.fate == "free":
                return rows.free(connection, held)
            return rows.answer(connection, database, held, self._times.keep, **_columns(ending.answer))

        if not await self._threads.write(write):
            logger.warning("an answer came after its idempotency key had gone to another process, and is not kept")

    def _postpone(self, held: Held, ending: Ending) -> None:
        size_bytes = 0 if ending.answer is None else ending.answer.size_bytes
        if self._unwritten_bytes + size_bytes > self._max_bytes:
            ending, size_bytes = Ending("bare"), 0
        self._unwritten[held.token] = held, ending
        self._unwritten_bytes += size_bytes
        logger.warning("the answer to an idempotency key waits for the database")

    def _keep_house(self) -> None:
        if self._housekeeping is None or self._housekeeping.done():
            self._housekeeping = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        """Until nothing is claimed: write what waits, and renew what runs."""
        while self._claims:
            await asyncio.sleep(self._times.lease / 3000)
            with suppress(DatabaseUnavailable):
                for held, ending in [*self._unwritten.values()]:
                    await self._write(held, ending)
                    self._written(held, ending)
                await self._threads.write(partial(_renewed, [*self._claims.values()], self._times))

    def _written(self, held: Held, ending: Ending) -> None:
        self._unwritten_bytes -= 0 if ending.answer is None else ending.answer.size_bytes
        del self._unwritten[held.token]
        self._claims.pop(held.token, None)


def _renewed(claims: Sequence[Held], times: Times, connection: Connection, database: Database) -> None:
    from waypost.ledger import answer_rows as rows

    if claims:
        rows.renew(connection, database, claims, times)


def _told(found: Found, fingerprint: bytes) -> KeptAnswer:
    row = found.row
    if bytes(row.fingerprint) != fingerprint:
        raise IdempotencyConflict("This Idempotency-Key came before, with another body.", param=PARAM)
    if found.is_under_way:
        raise AnswerUnderWay("Another process answers the first request with this Idempotency-Key.", param=PARAM)
    if row.status is None:
        raise AnswerNotKept("The answer to the first request with this Idempotency-Key was not kept.", param=PARAM)
    headers = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in row.headers)
    return KeptAnswer(row.status, headers, bytes(row.body))


def _columns(answer: KeptAnswer | None) -> dict[str, Any]:
    if answer is None:
        return {}
    headers: Sequence[Sequence[str]] = [
        [name.decode("latin-1"), value.decode("latin-1")] for name, value in answer.headers
    ]
    return {"status": answer.status, "headers": headers, "body": answer.body}
