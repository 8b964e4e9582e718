"""Calls that no process waits for, such as those in a batch at a provider: in the books without a journal.

Their begin and their end are posted by whoever writes down, in the same transaction, what the call is for; so each is
posted as often as that is written, which is once. What a budget has to hold back for such a call is in `spend` until
its end is known, since no process's slice lasts so long. In threads only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from waypost.ledger import statements
from waypost.ledger.allowances.posted import shrink_grants
from waypost.ledger.charges import Spend, charged, day_of
from waypost.ledger.many import Many
from waypost.ledger.posting import Posting
from waypost.ledger.records import AttemptClosed, AttemptOpened, BodyStored, Record, RequestEnded
from waypost.store.database import Database

DEFERRED: Final = "deferred"
"""Whose unfinished attempts they are: nobody's who could die."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A call that has ended. `ended` None: its request goes on, with another call."""

    opened: AttemptOpened
    closed: AttemptClosed
    ended: RequestEnded | None = None
    body: BodyStored | None = None


def open_calls(
    connection: Connection, database: Database, opened: Sequence[AttemptOpened], holder: str | None = None
) -> None:
    """They begin. `holder`: the process whose slices what is reserved for them was taken from."""
    Posting(connection, database).post({DEFERRED: opened})
    held = _reserved(opened)
    _add(connection, database, held)
    if holder is not None and held:
        shrink_grants(connection, database, holder, held)


def settle_calls(connection: Connection, database: Database, settled: Sequence[Settled]) -> None:
    """They have ended: what was reserved for them is free, and what they cost is spent."""
    records: list[Record] = []
    for each in settled:
        records += [record for record in (each.closed, each.ended, each.body) if record is not None]
    Posting(connection, database).post({DEFERRED: records})
    freed = _reserved(each.opened for each in settled)
    _add(connection, database, {key: -amount for key, amount in freed.items()})


def _reserved(opened: Iterable[AttemptOpened]) -> Spend:
    held: Spend = {}
    for each in opened:
        if each.reserved_micro_usd:
            for key in charged(day_of(each.started_at_ms), each.project_id, each.key_id, each.end_user):
                held[key] = held.get(key, 0) + each.reserved_micro_usd
    return held


def _add(connection: Connection, database: Database, spend: Spend) -> None:
    rows = [
        {"subject": subject, "window": window, "micro_usd": amount}
        for (subject, window), amount in sorted(spend.items())
    ]
    Many(connection, database, lambda: None).run(statements.add_to_spend, rows)
