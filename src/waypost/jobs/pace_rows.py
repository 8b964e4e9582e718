"""Token buckets that all workers share, as rows: taking from one is one statement. In threads only.

A minute's limit N holds for every minute, wherever it begins: the bucket holds a small share B of N and fills at N - B
a minute, so that a full bucket and what flows in meanwhile never come to more than N. A minute is taken a little
longer, for what is under way. Amounts are whole numbers: there are PERIOD_MS shares to a request or a token, so that
what flows in within a millisecond is a whole number of shares, and nothing is lost however often it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Connection, case, cast, func, literal, literal_column, select, update

from waypost.store.database import Database
from waypost.store.job_tables import provider_paces as paces

PERIOD_MS: Final = 62_001
"""A minute, two seconds that requests may be under way, and the millisecond that makes it more and not as much."""
REQUESTS_BURST: Final = 60
TOKENS_BURST: Final = 10
"""What part of a minute's requests, and of its tokens, may come at once: one in so many."""
LONGEST_PAUSE_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Bucket:
    """A minute's limit as a bucket: how much it holds, and what flows in within PERIOD_MS. In requests or tokens."""

    holds: int
    flow: int

    @classmethod
    def of(cls, a_minute: int, burst: int) -> Bucket:
        """That of a limit a minute, which is at least 1."""
        holds = max(1, a_minute // burst)
        return cls(holds, a_minute - holds + 1)


@dataclass(frozen=True, slots=True)
class PaceLimit:
    """How often a provider may be called with one of its keys, by all together. None: no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    @property
    def requests(self) -> Bucket | None:
        """The bucket of requests."""
        return None if self.requests_per_minute is None else Bucket.of(self.requests_per_minute, REQUESTS_BURST)

    @property
    def tokens(self) -> Bucket | None:
        """The bucket of tokens."""
        return None if self.tokens_per_minute is None else Bucket.of(self.tokens_per_minute, TOKENS_BURST)


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of asking. `granted` False: ask again in `wait_ms`, for no more than so many `requests`."""

    granted: bool
    wait_ms: int = 0
    requests: int = 0


def take(connection: Connection, database: Database, name: str, limit: PaceLimit, requests: int, tokens: int) -> Taken:
    """Take so many requests with so many tokens all together, or nothing.

    More tokens than a bucket holds want a full one, which then owes the rest.
    """
    now = _now(database)
    taking = update(paces).where(paces.c.name == name, func.coalesce(paces.c.paused_until_ms, 0) <= now)
    values: dict[str, Any] = {"refilled_at_ms": _refilled(now)}
    for column, bucket, wanted in (
        (paces.c.requests_left, limit.requests, requests),
        (paces.c.tokens_left, limit.tokens, tokens),
    ):
        if bucket is not None:
            left = _left(column, bucket, now)
            taking = taking.where(left >= _big(min(wanted, bucket.holds) * PERIOD_MS))
            values[column.name] = left - _big(wanted * PERIOD_MS)
    if connection.execute(taking.values(values)).rowcount:
        return Taken(granted=True)
    return _refused(connection, database, name, limit, requests, tokens)


def _left(column: Any, bucket: Bucket, now: ColumnElement[int]) -> ColumnElement[int]:
    """What the bucket holds now. A clock that went backwards lets nothing in. NULL: it had no limit before."""
    passed = now - paces.c.refilled_at_ms
    passed = case((passed < 0, _big(0)), (passed > PERIOD_MS, _big(PERIOD_MS)), else_=passed)
    full = _big(bucket.holds * PERIOD_MS)
    filled = func.coalesce(column, _big(0)) + passed * _big(bucket.flow)
    return case((filled > full, full), else_=filled)


def _refilled(now: ColumnElement[int]) -> ColumnElement[int]:
    """Until when the bucket was filled: who waited for the row has an older time, unless the clock was set back."""
    before = paces.c.refilled_at_ms
    return case((before.between(now, now + PERIOD_MS), before), else_=now)


def _big(number: int) -> ColumnElement[int]:
    """PostgreSQL would take it for a number of 32 bits."""
    return literal(number, BigInteger)


def _refused(
    connection: Connection, database: Database, name: str, limit: PaceLimit, requests: int, tokens: int
) -> Taken:
    now = _now(database)
    row = connection.execute(select(paces, now.label("now_ms")).where(paces.c.name == name)).first()
    if row is None:
        # It begins empty: what was sent before nobody knows.
        first = {"name": name, "requests_left": 0, "tokens_left": 0, "refilled_at_ms": now}
        connection.execute(database.upsert(paces).values(first).on_conflict_do_nothing())
        return Taken(granted=False, wait_ms=0, requests=1)
    paused_ms = min(max(0, (row.paused_until_ms or 0) - row.now_ms), LONGEST_PAUSE_MS)
    passed = min(max(0, row.now_ms - row.refilled_at_ms), PERIOD_MS)
    waits, able = [paused_ms], requests
    for left, bucket, wanted in (
        (row.requests_left, limit.requests, 1),
        (row.tokens_left, limit.tokens, tokens // max(1, requests)),
    ):
        if bucket is not None:
            there = min((left or 0) + passed * bucket.flow, bucket.holds * PERIOD_MS)
            missing = min(wanted, bucket.holds) * PERIOD_MS - there
            waits.append(-(-missing // bucket.flow))
            if wanted > 0:
                able = min(able, there // (wanted * PERIOD_MS))
    return Taken(granted=False, wait_ms=max(0, *waits), requests=max(1, able))


def pause(connection: Connection, database: Database, name: str, for_ms: int) -> None:
    """Let nobody call for so long. A longer pause stays."""
    now = _now(database)
    until = now + min(max(0, for_ms), LONGEST_PAUSE_MS)
    row = {"name": name, "requests_left": 0, "tokens_left": 0, "refilled_at_ms": now, "paused_until_ms": until}
    stored = database.upsert(paces).values(row)
    longer = func.coalesce(paces.c.paused_until_ms, 0) > stored.excluded.paused_until_ms
    later = case((longer, paces.c.paused_until_ms), else_=stored.excluded.paused_until_ms)
    connection.execute(stored.on_conflict_do_update(index_elements=["name"], set_={"paused_until_ms": later}))


def pauses(connection: Connection, database: Database) -> dict[str, int]:
    """Who may not be called now, and for how many ms more."""
    now = _now(database)
    rows = connection.execute(select(paces.c.name, (paces.c.paused_until_ms - now).label("left_ms")))
    return {name: min(int(left_ms), LONGEST_PAUSE_MS) for name, left_ms in rows if left_ms is not None and left_ms > 0}


def _now(database: Database) -> ColumnElement[int]:
    """Unix ms by the database's clock, one time for all of a statement: machines have clocks of their own."""
    if database.is_sqlite:
        return cast(literal_column("(julianday('now') - 2440587.5) * 86400000.0"), BigInteger)
    return cast(literal_column("floor(extract(epoch from statement_timestamp()) * 1000)"), BigInteger)
