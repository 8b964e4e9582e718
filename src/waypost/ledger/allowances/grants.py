"""Slices of budgets and limits in the table `grants`: given out, given back, and forgotten. Queries only.

For each subject, window and unit: what is granted to everybody and what was spent are never over the limit together. A
holder's row says two things: `granted` is all that it was ever given, less what it gave back, and `amount` is what of
that the database does not know to be spent. The holder writes both from what it has in mind, so that a transaction of
which nobody knows whether it was committed is mended by the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    text,
    update,
)

from waypost.ledger.allowances.pool import MONEY, Unit
from waypost.store.database import Database
from waypost.store.tables import grants, spend

PART_OF_SHARE: Final[Mapping[Unit, int]] = {"requests": 2, "tokens": 2, "micro_usd": 2, "slots": 8}
"""A slice is at most this part of a holder's even share of what is left. Slots are few, and come back."""
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a holder that was granted so much in all asks for.

    `least` is what it cannot do without, `whole` what all who wait want together, `ahead` what it would hold besides.
    """

    subject: str
    window: str
    unit: Unit
    limit: int
    granted: int
    least: int
    whole: int
    ahead: int
    expires_at_ms: int

    @property
    def order(self) -> tuple[str, str, str]:
        """Everybody takes locks in this order, so that nobody waits for somebody who waits for him."""
        return self.subject, self.window, self.unit


@dataclass(frozen=True, slots=True)
class Grant:
    """What was granted in all, and what others have spent and hold."""

    granted: int
    others_spent: int
    others_hold: int


@dataclass(frozen=True, slots=True)
class Keep:
    """So much in all a holder goes on with, and until when it is its own."""

    subject: str
    window: str
    unit: Unit
    granted: int
    expires_at_ms: int

    @property
    def order(self) -> tuple[str, str, str]:
        """See Wish."""
        return self.subject, self.window, self.unit


def grant(database: Database, holder: str, wishes: Sequence[Wish], now_ms: int) -> dict[Wish, Grant]:
    """Grant what can be, in one transaction. Raises DatabaseError."""
    with database.write() as connection:
        return {wish: _granted(connection, database, holder, wish, now_ms) for wish in sorted(wishes, key=_order)}


def _order(each: Wish | Keep) -> tuple[str, str, str]:
    return each.order


def _granted(connection: Connection, database: Database, holder: str, wish: Wish, now_ms: int) -> Grant:
    if not database.is_sqlite:
        # SQLite has one writer anyway. Others of another row's are not held up.
        connection.execute(_LOCK, {"name": "|".join(wish.order)})
    key = {"subject": wish.subject, "window": wish.window, "unit": wish.unit}
    row = connection.execute(_FIGURES, {**key, "holder": holder, "now_ms": now_ms}).one()
    is_money = wish.unit == MONEY
    # Of what was ever granted the database knows some to be spent, and that is in `spend` already. What was granted
    # before a row was removed, it knows all of.
    held = (0 if row.amount is None else row.amount) if is_money else wish.granted
    if is_money and row.amount is not None:
        held += wish.granted - row.granted
    extra = _extra(wish, wish.limit - row.spent - row.others_hold - held, row.holders + 1)
    granted, amount = wish.granted + extra, held + extra
    if extra or row.amount is not None:
        values = {"amount": amount, "granted": granted, "expires_at_ms": wish.expires_at_ms}
        statement = database.upsert(grants).values(**key, holder=holder, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=list(grants.primary_key), set_=values))
    return Grant(granted, row.spent - (granted - amount), row.others_hold)


def _extra(wish: Wish, left: int, holders: int) -> int:
    """All that is asked for if it is there, else what is left if somebody can do with it."""
    if left <= 0 or left < wish.least:
        return 0
    return min(left, wish.whole + min(wish.ahead, left // (PART_OF_SHARE[wish.unit] * holders)))


def keep(connection: Connection, holder: str, kept: Iterable[Keep]) -> set[Keep]:
    """Give back all beyond what is kept; those of which there is no row any more.

    The holder has put the rest out of its mind before, so that whoever is granted it is the only one to have it.
    """
    missing = set()
    for each in sorted(kept, key=_order):
        amount = grants.c.amount - (grants.c.granted - each.granted) if each.unit == MONEY else each.granted
        changed = connection.execute(
            update(grants)
            .where(
                grants.c.subject == each.subject,
                grants.c.window == each.window,
                grants.c.unit == each.unit,
                grants.c.holder == holder,
            )
            .values(amount=amount, granted=each.granted, expires_at_ms=each.expires_at_ms)
        )
        if not changed.rowcount:
            missing.add(each)
    return missing


def remove_expired(connection: Connection, now_ms: int) -> None:
    """Rows that say nothing any more: windows that are over, slots of holders that are gone."""
    connection.execute(delete(grants).where(grants.c.expires_at_ms <= now_ms))


def leave(connection: Connection, holder: str) -> None:
    """The holder ends: what is counted by the minute, or at once, is nothing to it any more."""
    connection.execute(delete(grants).where(grants.c.holder == holder, grants.c.unit != MONEY))


def forget_posted(connection: Connection, holder: str, wanted: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Remove the holder's rows of which all is spent and known to be; the subjects and windows of those."""
    gone = set()
    for subject, window in sorted(wanted):
        removed = connection.execute(
            delete(grants).where(
                grants.c.subject == subject,
                grants.c.window == window,
                grants.c.unit == MONEY,
                grants.c.holder == holder,
                grants.c.amount == 0,
            )
        )
        if removed.rowcount:
            gone.add((subject, window))
    return gone


_OTHERS: Final[ColumnElement[bool]] = and_(
    grants.c.holder != bindparam("holder"),
    # Who spent more than it was granted holds nothing; what it spent is in `spend`.
    grants.c.amount > 0,
    # Money comes back by `release_grants` only, all else by itself.
    or_(grants.c.unit == MONEY, grants.c.expires_at_ms > bindparam("now_ms")),
)
_MINE: Final[ColumnElement[bool]] = grants.c.holder == bindparam("holder")
# One statement, so that it sees one moment: a posting adds to the one what it takes from the other.
_FIGURES: Final = select(
    func.coalesce(
        select(spend.c.micro_usd)
        .where(spend.c.subject == bindparam("subject"), spend.c.window == bindparam("window"))
        .scalar_subquery(),
        0,
    ).label("spent"),
    func.coalesce(func.sum(case((_OTHERS, grants.c.amount), else_=0)), 0).cast(BigInteger).label("others_hold"),
    func.coalesce(func.sum(case((_OTHERS, 1), else_=0)), 0).cast(BigInteger).label("holders"),
    func.max(case((_MINE, grants.c.amount))).label("amount"),
    func.max(case((_MINE, grants.c.granted))).label("granted"),
).where(
    grants.c.subject == bindparam("subject"),
    grants.c.window == bindparam("window"),
    grants.c.unit == bindparam("unit"),
)
