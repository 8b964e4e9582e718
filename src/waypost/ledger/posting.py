"""Journal records become rows: attempts, requests, bodies, and the sums that are kept beside them. In threads only.

All of it happens in the caller's transaction, which also says how far the journal was read; and a record that comes
once more changes nothing. The invariant: an attempt is counted in `daily_totals` and `spend` once, when it has ended;
if it turns out to have ended otherwise, the difference is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, delete, select

from waypost.ledger import statements
from waypost.ledger.charges import Spend
from waypost.ledger.journal.encoding import decode, encode
from waypost.ledger.many import Many
from waypost.ledger.records import AttemptClosed, AttemptOpened, BodyStored, Record, RequestEnded
from waypost.ledger.rows import (
    COUNTS,
    Row,
    attempt_row,
    body_row,
    closed_values,
    ended_row,
    stand_in,
    sums,
    unknown_end_row,
)
from waypost.ledger.tag_slots import note_slot, slots_of
from waypost.ledger.totals import Totals, Whose, daily_rows, spend_rows
from waypost.store.database import Database
from waypost.store.tables import attempts, requests, unfinished_attempts

_REOPENED: Final = frozenset({"open", "unknown"})
"""Outcomes that a record may still change."""
_LOADED: Final = [
    attempts.c[name]
    for name in (
        *("id", "entry_id", "started_at_ms", "project_id", "key_id", "end_user", "provider", "asked_model", "model"),
        *("outcome", *COUNTS, "cost_micro_usd", "cost_basis"),
    )
]


def post(connection: Connection, database: Database, records: Sequence[Record], holder: str) -> Spend:
    """Make rows of one process's records, in its journal's order. Gives the spend it added. Raises DatabaseError."""
    return Posting(connection, database).post({holder: records})[holder]


class Posting:
    """One transaction's worth of rows. `pause` is called between statements."""

    def __init__(self, connection: Connection, database: Database, pause: Callable[[], None] = lambda: None) -> None:
        self._connection = connection
        self._many = Many(connection, database, pause)
        self._holders: dict[str, str] = {}
        """By attempt: whose journal its records are in."""
        self._opened: dict[str, AttemptOpened] = {}
        self._closed: dict[str, AttemptClosed] = {}
        self._ended: dict[str, RequestEnded] = {}
        self._bodies: dict[str, BodyStored] = {}
        self._abandoned: dict[str, AttemptOpened] = {}
        """By entry: requests whose process died."""
        self._rows: dict[str, Row] = {}
        """By attempt, as it is in the database, or will be."""
        self._new: dict[str, AttemptOpened] = {}
        self._changed: dict[str, Row] = {}
        self._over: dict[str, str | None] = {}
        """By entry: requests that have a row already, and their route."""
        self._elsewhere: set[str] = set()
        """Requests that have ended, and not all of whose attempts are here."""
        self._totals: dict[str, Totals] = defaultdict(Totals)

    def post(
        self, batches: Mapping[str, Sequence[Record]], abandoned: Mapping[str, AttemptOpened] | None = None
    ) -> dict[str, Spend]:
        """Make rows of records by process; gives the spend that was added, likewise.

        `abandoned`: by entry, an attempt of each request that never ends; it gets a row unless it has one.
        """
        self._abandoned = dict(abandoned or {})
        for holder, records in batches.items():
            self._sort(holder, records)
        self._load()
        self._begin_attempts()
        self._close_attempts()
        self._write_attempts()
        self._write_requests()
        self._write_unfinished()
        self._write_bodies()
        self._write_totals()
        return {holder: _without_zeros(self._totals[holder].spend) for holder in batches}

    def _sort(self, holder: str, records: Sequence[Record]) -> None:
        for record in records:
            if isinstance(record, AttemptOpened):
                self._opened.setdefault(record.attempt_id, record)
                self._holders[record.attempt_id] = holder
            elif isinstance(record, AttemptClosed):
                self._closed.setdefault(record.attempt_id, record)
                self._holders[record.attempt_id] = holder
            elif isinstance(record, RequestEnded):
                # A stream that went on without its caller ends twice; the second time counts.
                self._ended[record.entry_id] = record
            else:
                self._bodies[record.entry_id] = record

    def _load(self) -> None:
        """What the database knows of these attempts and requests; rows that may change are locked."""
        for ids in self._many.slices(sorted(self._holders)):
            query = select(*_LOADED).where(attempts.c.id.in_(ids)).order_by(attempts.c.id).with_for_update()
            self._rows.update((row["id"], dict(row)) for row in self._connection.execute(query).mappings())
        entries = {opened.entry_id for opened in self._opened.values()} | set(self._abandoned)
        entries |= {self._entry_of(attempt_id) for attempt_id in self._closed}
        for ids in self._many.slices(sorted(entries - self._ended.keys())):
            query = select(requests.c.id, requests.c.route).where(requests.c.id.in_(ids))
            self._over.update((row.id, row.route) for row in self._connection.execute(query))

    def _entry_of(self, attempt_id: str) -> str:
        row, opened = self._rows.get(attempt_id), self._opened.get(attempt_id)
        if row is not None:
            return str(row["entry_id"])
        return opened.entry_id if opened is not None else attempt_id.rpartition(".")[0]

    def _begin_attempts(self) -> None:
        for some in self._many.slices(list(self._opened.items())):
            for attempt_id, opened in some:
                if attempt_id not in self._rows:
                    self._begin_attempt(attempt_id, opened)
        for attempt_id, closed in self._closed.items():
            if attempt_id not in self._rows:
                # Its begin was lost to damage; what it cost must not be.
                self._begin_attempt(attempt_id, stand_in(closed, self._ended.get(self._entry_of(attempt_id))))

    def _begin_attempt(self, attempt_id: str, opened: AttemptOpened) -> None:
        self._rows[attempt_id] = attempt_row(opened)
        self._new[attempt_id] = opened

    def _load_whose(self) -> dict[str, Whose]:
        """By entry: what the rows of the attempts that are closed now do not hold."""
        told: list[AttemptOpened | RequestEnded] = [*self._new.values(), *self._ended.values()]
        found = {each.entry_id: Whose(each.route, each.end_user) for each in told}
        missing = [attempt_id for attempt_id in self._closed if self._entry_of(attempt_id) not in found]
        for ids in self._many.slices(sorted(missing)):
            query = select(unfinished_attempts.c.record).where(unfinished_attempts.c.attempt_id.in_(ids))
            for record in self._connection.execute(query).scalars():
                opened = decode(record)
                if isinstance(opened, AttemptOpened):
                    found[opened.entry_id] = Whose(opened.route, opened.end_user)
        return found

    def _close_attempts(self) -> None:
        whose = self._load_whose()
        for some in self._many.slices(list(self._closed.items())):
            for attempt_id, closed in some:
                row = self._rows[attempt_id]
                if row["outcome"] in _REOPENED and row["outcome"] != closed.outcome:
                    known = whose.get(row["entry_id"]) or Whose(self._over.get(row["entry_id"]), row["end_user"])
                    self._close_attempt(row, closed, known)

    def _close_attempt(self, row: Row, closed: AttemptClosed, whose: Whose) -> None:
        totals = self._totals[self._holders[closed.attempt_id]]
        if row["outcome"] != "open":
            totals.add(row, whose, -1)
        row.update(closed_values(row, closed))
        totals.add(row, whose)
        if closed.attempt_id not in self._new:
            self._changed[closed.attempt_id] = row

    def _write_attempts(self) -> None:
        self._many.run(statements.insert_attempt, [self._rows[attempt_id] for attempt_id in self._new])
        self._many.run(statements.close_attempt, [self._changed[attempt_id] for attempt_id in sorted(self._changed)])

    def _write_requests(self) -> None:
        here: dict[str, list[Row]] = defaultdict(list)
        for row in self._rows.values():
            here[row["entry_id"]].append(row)
        again = {self._rows[attempt_id]["entry_id"] for attempt_id in (*self._changed, *self._new)} & self._over.keys()
        abandoned = {key: opened for key, opened in self._abandoned.items() if key not in self._over}
        # Most requests end in the company of all their attempts.
        self._elsewhere = {key for key, ended in self._ended.items() if len(here.get(key, ())) != ended.attempts}
        stored = {**here, **self._stored_attempts(self._elsewhere.union(abandoned, again))}
        rows = []
        for some in self._many.slices(list(self._ended.items())):
            rows += [{**ended_row(ended), **sums(stored.get(key, ()))} for key, ended in some]
        for entry_id, opened in abandoned.items():
            found = stored.get(entry_id, [])
            rows.append({**unknown_end_row(opened, found), **sums(found)})
        self._many.run(statements.upsert_request, rows)
        self._many.run(statements.sum_again, [{"id": key, **sums(stored.get(key, ()))} for key in sorted(again)])
        self._over.update((row["id"], row["route"]) for row in rows)
        tagged = [(each.started_at_ms, each.tags) for each in self._ended.values()]
        tagged += [(each.request_started_at_ms, each.tags) for each in abandoned.values()]
        self._many.run(note_slot, slots_of(tagged))

    def _stored_attempts(self, entries: Collection[str]) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = defaultdict(list)
        for ids in self._many.slices(sorted(entries)):
            query = select(*_LOADED).where(attempts.c.entry_id.in_(ids)).order_by(attempts.c.id)
            for row in self._connection.execute(query).mappings():
                found[row["entry_id"]].append(dict(row))
        return found

    def _write_unfinished(self) -> None:
        """Keep what would be needed if the process died now, and no more than that."""
        needed = [
            {
                "attempt_id": attempt_id,
                "entry_id": self._rows[attempt_id]["entry_id"],
                "holder": self._holders[attempt_id],
                "project_id": self._rows[attempt_id]["project_id"],
                "started_at_ms": opened.started_at_ms,
                "record": encode(opened),
            }
            for attempt_id, opened in self._new.items()
            if self._rows[attempt_id]["outcome"] == "open" or opened.entry_id not in self._over
        ]
        self._many.run(statements.keep_unfinished, needed)
        touched = {row["entry_id"] for attempt_id, row in self._rows.items() if attempt_id not in self._new}
        touched |= self._elsewhere | self._abandoned.keys()
        for entries in self._many.slices(sorted(touched & self._over.keys())):
            ended = select(attempts.c.id).where(attempts.c.entry_id.in_(entries), attempts.c.outcome != "open")
            gone = unfinished_attempts.c.entry_id.in_(entries) & unfinished_attempts.c.attempt_id.in_(ended)
            self._connection.execute(delete(unfinished_attempts).where(gone))

    def _write_bodies(self) -> None:
        self._many.run(statements.upsert_body, [body_row(stored) for stored in self._bodies.values()])

    def _write_totals(self) -> None:
        """Last, and in order: others wait for these rows from here on until the commit."""
        totals = list(self._totals.values())
        self._many.run(statements.add_to_daily_totals, daily_rows(totals))
        self._many.run(statements.add_to_spend, spend_rows(totals))


def _without_zeros(added: Spend) -> Spend:
    return {key: amount for key, amount in added.items() if amount}
