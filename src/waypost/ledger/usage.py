"""What was used and what it cost, by day, week or month: sums of the daily totals, for charts and bills.

The daily totals stay when requests are forgotten. They count calls to providers, in the UTC day in which each began.
The invariant: a cost that is not known is never a 0. Beside each cost stands how many calls are not in it, because
their price is not known, and how many are in it by an estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from typing import Any, Final, Literal, TypeAlias

from sqlalchemy import Connection, func, select

from waypost.ledger.definitions import UnusableField, usd
from waypost.ledger.moments import DAY_MS, day_of
from waypost.ledger.request_log import names_of
from waypost.store.database import Database
from waypost.store.tables import daily_totals, keys, projects

Period: TypeAlias = Literal["day", "week", "month"]
Dimension: TypeAlias = Literal["project", "key", "route", "provider", "model"]
PERIODS: Final[Sequence[Period]] = ("day", "week", "month")
COLUMN_OF: Final[Mapping[str, str]] = {
    "project": "project_id",
    "key": "key_id",
    "route": "route",
    "provider": "provider",
    "model": "model",
}
"""What sums may be grouped by, and the column it is."""
DIMENSIONS: Final[Sequence[str]] = tuple(COLUMN_OF)
FIGURES: Final = (
    "attempts",
    "failed_attempts",
    "input_tokens",
    "output_tokens",
    "cost_micro_usd",
    "estimated_attempts",
    "unpriced_attempts",
)
MOST_ROWS: Final = 10_000
MOST_DAYS: Final = 3_700
"""Ten years."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums. `cost_micro_usd` None: no price is known for any of the calls; else it is that of all but the unpriced."""

    attempts: int = 0
    failed_attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micro_usd: int | None = 0
    estimated_attempts: int = 0
    unpriced_attempts: int = 0


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The sums of one period and, by dimension, of one value each; None: the calls have none."""

    period: str
    """Its first day: for a week its Monday, for a month its first."""
    group: Mapping[str, str | None]
    figures: Figures


@dataclass(frozen=True, slots=True)
class Usage:
    """Rows by period and then by cost, and their sum. `since` and `until` are days; `until` itself is out."""

    since: str
    until: str
    period: Period
    by: Sequence[str]
    rows: list[UsageRow]
    total: Figures
    names: Mapping[str, str]
    """What people call the projects and keys among the values, by their ids."""


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Which calls; None asks nothing. Times are Unix ms and stand for their UTC day; that of `until_ms` counts too."""

    since_ms: int
    until_ms: int
    project_id: str | None = None
    key_id: str | None = None
    route: str | None = None
    provider: str | None = None
    model: str | None = None


def usage(database: Database, wanted: UsageFilter, *, period: Period = "day", by: Sequence[str] = ()) -> Usage:
    """The sums. Raises UnusableField if there would be too many, or the time is none; and DatabaseError."""
    first, last = day_of(wanted.since_ms), day_of(wanted.until_ms)
    if not 0 <= wanted.until_ms - wanted.since_ms <= MOST_DAYS * DAY_MS:
        raise UnusableField(f"since must be before until, and no more than {MOST_DAYS} days.", param="since")
    with database.read() as connection:
        summed = _summed(_by_day(connection, wanted, first, last, by), period, by)
        if len(summed) > MOST_ROWS:
            raise UnusableField(
                f"There are {len(summed)} sums, and no more than {MOST_ROWS} are told at once.",
                hint="Ask for less time or a longer period, or group by less.",
            )
        rows = [UsageRow(key[0], dict(zip(by, key[1:], strict=True)), figures) for key, figures in summed.items()]
        names = _names(connection, rows)
    rows.sort(key=lambda row: (row.period, -(row.figures.cost_micro_usd or 0), -row.figures.attempts))
    total = _sum(row.figures for row in rows)
    until = (date.fromisoformat(last) + timedelta(days=1)).isoformat()
    return Usage(first, until, period, tuple(by), rows, total, names)


def told_usage(found: Usage) -> dict[str, Any]:
    """As JSON data."""
    return {
        "since": found.since,
        "until": found.until,
        "period": found.period,
        "by": list(found.by),
        "items": [{"period": row.period, "group": dict(row.group), **_told(row.figures)} for row in found.rows],
        "total": _told(found.total),
        "names": dict(found.names),
    }


def _told(figures: Figures) -> dict[str, Any]:
    told = {name: getattr(figures, name) for name in FIGURES}
    cost = usd(told.pop("cost_micro_usd"))
    return {**told, "cost_usd": cost}


def period_of(day: str, period: Period) -> str:
    """The first day of the week or month that the day is in."""
    if period == "week":
        found = date.fromisoformat(day)
        return (found - timedelta(days=found.weekday())).isoformat()
    return f"{day[:7]}-01" if period == "month" else day


def periods_of(found: Usage) -> list[str]:
    """Every period of the time, also those in which there was nothing."""
    first, end = date.fromisoformat(found.since), date.fromisoformat(found.until)
    days = ((first + timedelta(days=number)).isoformat() for number in range((end - first).days))
    return list(dict.fromkeys(period_of(day, found.period) for day in days))


_Key: TypeAlias = tuple[Any, ...]


def _by_day(
    connection: Connection, wanted: UsageFilter, first: str, last: str, by: Sequence[str]
) -> list[Mapping[str, Any]]:
    table = daily_totals.c
    columns = [table[COLUMN_OF[name]] for name in by]
    equal = [
        table[each.name] == getattr(wanted, each.name)
        for each in fields(wanted)
        if each.name in table and getattr(wanted, each.name) is not None
    ]
    query = (
        select(table.day, *columns, *(func.sum(table[name]).label(name) for name in FIGURES))
        .where(table.day >= first, table.day <= last, *equal)
        .group_by(table.day, *columns)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _summed(days: Iterable[Mapping[str, Any]], period: Period, by: Sequence[str]) -> dict[_Key, Figures]:
    sums: dict[_Key, list[int]] = {}
    for day in days:
        key = (period_of(day["day"], period), *(day[COLUMN_OF[name]] or None for name in by))
        figures = sums.setdefault(key, [0] * len(FIGURES))
        for place, name in enumerate(FIGURES):
            figures[place] += int(day[name])
    return {key: _figures(figures) for key, figures in sums.items() if any(figures)}


def _figures(sums: Sequence[int]) -> Figures:
    found = Figures(**dict(zip(FIGURES, sums, strict=True)))
    none_is_known = found.attempts and found.attempts == found.unpriced_attempts
    return replace(found, cost_micro_usd=None) if none_is_known else found


def _sum(figures: Iterable[Figures]) -> Figures:
    sums = [0] * len(FIGURES)
    for each in figures:
        for place, name in enumerate(FIGURES):
            sums[place] += getattr(each, name) or 0
    return _figures(sums)


def _names(connection: Connection, rows: Sequence[UsageRow]) -> dict[str, str]:
    of_projects = names_of(connection, projects, {row.group.get("project") for row in rows})
    return {**of_projects, **names_of(connection, keys, {row.group.get("key") for row in rows})}
