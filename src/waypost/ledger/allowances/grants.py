"""Slices of budgets and limits in the table `grants`: given out, given back, and forgotten. Queries only.

For each subject, window and unit: what is granted to everybody and what was spent are never over the limit together. A
holder's row says two things: `granted` is all that it was ever given, less what it gave back, and `amount` is what of
that the database does not know to be spent. The holder writes both from what it has in mind, so that a transaction of
which nobody knows whether it was committed is mended by the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    case,
    delete,
    distinct,
    func,
    or_,
    select,
    text,
    update,
)

from waypost.ledger.allowances.pool import MONEY, Unit
from waypost.store.database import Database
from waypost.store.tables import grants, spend

Place: TypeAlias = tuple[str, str, Unit]
"""Subject, window and unit. Everybody takes locks in their order, so that nobody waits for one who waits for him."""
PART_OF_SHARE: Final[Mapping[Unit, int]] = {"requests": 2, "tokens": 2, "micro_usd": 2, "slots": 8}
"""A slice is at most this part of a holder's even share of what is left. Slots are few, and come back."""
WANTS: Final[Mapping[Unit, str]] = {unit: f"wants {unit}" for unit in PART_OF_SHARE}
"""The unit of a row by which a holder asks others for a part of what they hold."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a holder that was granted so much in all asks for.

    `least` is what it cannot do without, `whole` what all who wait want together, `ahead` what it would hold besides.
    """

    place: Place
    limit: int
    granted: int
    least: int
    whole: int
    ahead: int
    expires_at_ms: int
    wants_until_ms: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What was granted in all, and what others have spent and hold."""

    granted: int
    others_spent: int
    others_hold: int


@dataclass(frozen=True, slots=True)
class Keep:
    """So much in all a holder goes on with, and until when it is its own."""

    place: Place
    granted: int
    expires_at_ms: int


def grant(
    connection: Connection, database: Database, holder: str, wishes: Sequence[Wish], now_ms: int
) -> dict[Wish, Grant]:
    """Grant what can be."""
    return {wish: _granted(connection, database, holder, wish, now_ms) for wish in sorted(wishes, key=_place)}


def _place(each: Wish | Keep) -> Place:
    return each.place


def _granted(connection: Connection, database: Database, holder: str, wish: Wish, now_ms: int) -> Grant:
    if not database.is_sqlite:
        # SQLite has one writer anyway. Others of another place are not held up.
        connection.execute(_LOCK, {"name": "|".join(wish.place)})
    subject, window, unit = wish.place
    key = {"subject": subject, "window": window, "unit": unit}
    row = connection.execute(_FIGURES, {**key, "wants": WANTS[unit], "holder": holder, "now_ms": now_ms}).one()
    held = _held(wish, row)
    extra = _extra(wish, wish.limit - row.spent - row.others_hold - held, row)
    granted, amount = wish.granted + extra, held + extra
    if extra or row.amount is not None:
        _write(connection, database, {**key, "holder": holder}, (amount, granted, wish.expires_at_ms))
    if extra < wish.whole and row.others_hold:
        wanted = {**key, "unit": WANTS[unit], "holder": holder}
        _write(connection, database, wanted, (wish.whole - extra, 0, wish.wants_until_ms))
    return Grant(granted, row.spent - (granted - amount), row.others_hold)


def _held(wish: Wish, row: Row[Any]) -> int:
    """What of the holder's the database does not know to be spent."""
    if wish.place[2] != MONEY:
        return wish.granted
    # Of what was granted before a row was removed, all is known.
    known: int = wish.granted if row.amount is None else row.granted - row.amount
    return wish.granted - known


def _extra(wish: Wish, left: int, row: Row[Any]) -> int:
    """All that is asked for if it is there, else what is left if somebody can do with it."""
    if left <= 0 or left < wish.least:
        return 0
    share: int = left // (row.others + 1)
    asked = wish.whole + min(wish.ahead, share // PART_OF_SHARE[wish.place[2]])
    # Where others go without, even those who wait get no more than their share, if they can do with it.
    return min(left, max(wish.least, min(asked, share)) if row.wanting else asked)


def _write(connection: Connection, database: Database, key: Mapping[str, str], figures: tuple[int, int, int]) -> None:
    values: dict[str, Any] = dict(zip(("amount", "granted", "expires_at_ms"), figures, strict=True))
    statement = database.upsert(grants).values(**key, **values)
    if key["unit"] == MONEY:
        # A posting may have taken from the row since its figures were read: what it took must stay taken.
        values["amount"] = grants.c.amount + (values["granted"] - grants.c.granted)
    connection.execute(statement.on_conflict_do_update(index_elements=list(grants.primary_key), set_=values))


def keep(connection: Connection, holder: str, kept: Iterable[Keep]) -> set[Place]:
    """Give back all beyond what is kept; the places of which there is no row any more.

    The holder has put the rest out of its mind before, so that whoever is granted it is the only one to have it.
    """
    missing = set()
    for each in sorted(kept, key=_place):
        is_money = each.place[2] == MONEY
        amount = grants.c.amount - (grants.c.granted - each.granted) if is_money else each.granted
        changed = connection.execute(
            update(grants)
            .where(*_at(each.place), grants.c.holder == holder)
            .values(amount=amount, granted=each.granted, expires_at_ms=each.expires_at_ms)
        )
        if not changed.rowcount:
            missing.add(each.place)
    return missing


def wanted_by_others(connection: Connection, holder: str, now_ms: int, until_ms: int) -> dict[Place, int]:
    """How many holders ask for a part of what others hold. No such wish lasts longer than `until_ms`."""
    query = (
        select(grants.c.subject, grants.c.window, grants.c.unit, func.count())
        .where(
            grants.c.expires_at_ms > now_ms,
            grants.c.expires_at_ms <= until_ms,
            grants.c.unit.in_(list(WANTS.values())),
            grants.c.holder != holder,
        )
        .group_by(grants.c.subject, grants.c.window, grants.c.unit)
    )
    units = {wants: unit for unit, wants in WANTS.items()}
    return {(subject, window, units[wants]): count for subject, window, wants, count in connection.execute(query)}


def remove_expired(connection: Connection, now_ms: int) -> None:
    """Rows that say nothing any more: windows that are over, slots of holders that are gone."""
    connection.execute(delete(grants).where(grants.c.expires_at_ms <= now_ms))


def leave(connection: Connection, holder: str) -> None:
    """The holder ends: what is counted by the minute, or at once, is nothing to it any more."""
    connection.execute(delete(grants).where(grants.c.holder == holder, grants.c.unit != MONEY))


def forget_posted(connection: Connection, holder: str, wanted: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Remove the holder's rows of which all is spent and known to be; the subjects and windows of those."""
    gone = set()
    for subject, window in sorted(wanted):
        removed = connection.execute(
            delete(grants).where(*_at((subject, window, MONEY)), grants.c.holder == holder, grants.c.amount == 0)
        )
        if removed.rowcount:
            gone.add((subject, window))
    return gone


def _at(place: Place) -> tuple[ColumnElement[bool], ...]:
    subject, window, unit = place
    return grants.c.subject == subject, grants.c.window == window, grants.c.unit == unit


_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_IS_OTHERS: Final[ColumnElement[bool]] = and_(
    grants.c.holder != bindparam("holder"),
    # Who spent more than it was granted holds nothing; what it spent is in `spend`.
    grants.c.amount > 0,
    # Money comes back by `release_grants` only, all else by itself.
    or_(grants.c.unit == MONEY, grants.c.expires_at_ms > bindparam("now_ms")),
)
_IS_HELD: Final[ColumnElement[bool]] = and_(_IS_OTHERS, grants.c.unit == bindparam("unit"))
_IS_WANTED: Final[ColumnElement[bool]] = and_(_IS_OTHERS, grants.c.unit == bindparam("wants"))
_IS_MINE: Final[ColumnElement[bool]] = and_(grants.c.holder == bindparam("holder"), grants.c.unit == bindparam("unit"))
# One statement, so that it sees one moment: a posting adds to the one what it takes from the other.
_FIGURES: Final = select(
    func.coalesce(
        select(spend.c.micro_usd)
        .where(spend.c.subject == bindparam("subject"), spend.c.window == bindparam("window"))
        .scalar_subquery(),
        0,
    ).label("spent"),
    func.coalesce(func.sum(case((_IS_HELD, grants.c.amount), else_=0)), 0).cast(BigInteger).label("others_hold"),
    func.count(case((_IS_WANTED, 1))).label("wanting"),
    func.count(distinct(case((_IS_OTHERS, grants.c.holder)))).label("others"),
    func.max(case((_IS_MINE, grants.c.amount))).label("amount"),
    func.max(case((_IS_MINE, grants.c.granted))).label("granted"),
).where(
    grants.c.subject == bindparam("subject"),
    grants.c.window == bindparam("window"),
    grants.c.unit.in_([bindparam("unit"), bindparam("wants")]),
)
