"""Calls that no process waits for, such as those in a batch at a provider: in the books without a journal.

Their begin and their end are posted by whoever writes down, in the same transaction, what the call is for; so each is
posted as often as that is written, which is once. What a budget has to hold back for such a call is a grant of nobody's
process until its end is known, since no process's slice lasts so long. In threads only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, update

from waypost.ledger.allowances.pool import MONEY
from waypost.ledger.charges import Spend, charged, day_of
from waypost.ledger.posting import Posting
from waypost.ledger.records import AttemptClosed, AttemptOpened, BodyStored, Record, RequestEnded
from waypost.store.database import Database
from waypost.store.tables import grants

DEFERRED: Final = "deferred"
"""Whose unfinished attempts and grants they are: nobody's who could die."""
KEPT_MS: Final = 62 * 24 * 3600 * 1000
"""How long a grant's row stays that nobody touches: months are over by then."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A call that has ended. `ended` None: its request goes on, with another call."""

    opened: AttemptOpened
    closed: AttemptClosed
    ended: RequestEnded | None = None
    body: BodyStored | None = None


def open_calls(connection: Connection, database: Database, opened: Sequence[AttemptOpened]) -> None:
    """They begin. What their budgets hold back for them is granted to nobody else from here on."""
    Posting(connection, database).post({DEFERRED: opened})
    for place, amount in sorted(_reserved(opened).items()):
        values = {"amount": amount, "granted": amount, "expires_at_ms": _latest_ms(opened) + KEPT_MS}
        row = database.upsert(grants).values(**_key(place), **values)
        more = {"amount": grants.c.amount + amount, "granted": grants.c.granted + amount}
        more["expires_at_ms"] = row.excluded.expires_at_ms
        connection.execute(row.on_conflict_do_update(index_elements=list(grants.primary_key), set_=more))


def settle_calls(connection: Connection, database: Database, settled: Sequence[Settled]) -> None:
    """They have ended: what was reserved for them is free, and what they cost is spent."""
    records: list[Record] = []
    for each in settled:
        records += [record for record in (each.closed, each.ended, each.body) if record is not None]
    Posting(connection, database).post({DEFERRED: records})
    for place, amount in sorted(_reserved(each.opened for each in settled).items()):
        own = [grants.c[name] == value for name, value in _key(place).items()]
        less = {"amount": grants.c.amount - amount, "granted": grants.c.granted - amount}
        connection.execute(update(grants).where(*own).values(**less))


def _key(place: tuple[str, str]) -> dict[str, str]:
    return {"subject": place[0], "window": place[1], "unit": MONEY, "holder": DEFERRED}


def _latest_ms(opened: Sequence[AttemptOpened]) -> int:
    return max(each.started_at_ms for each in opened)


def _reserved(opened: Iterable[AttemptOpened]) -> Spend:
    held: Spend = {}
    for each in opened:
        if each.reserved_micro_usd:
            for key in charged(day_of(each.started_at_ms), each.project_id, each.key_id, each.end_user):
                held[key] = held.get(key, 0) + each.reserved_micro_usd
    return held
