"""Sums for charts: what is not known stays not known, and every period is the one that people mean."""

from __future__ import annotations

from typing import Any

import pytest

from waypost.errors import InvalidRequest
from waypost.ledger import usage as usage_module
from waypost.ledger.definitions import told_time
from waypost.ledger.moments import DAY_MS, day_of, moment_ms
from waypost.ledger.usage import Figures, UsageFilter, period_of, periods_of, usage
from waypost.store.database import Database
from waypost.store.tables import daily_totals, projects

NOW_MS = 1_795_651_200_000
"""2026-11-26, a Thursday."""
MONTH = UsageFilter(NOW_MS - 30 * DAY_MS, NOW_MS)


def totals(day: str, **columns: Any) -> dict[str, Any]:
    return {
        "day": day,
        "project_id": "proj_1",
        "key_id": "key_1",
        "route": "default",
        "provider": "first",
        "model": "one",
        "attempts": 10,
        "failed_attempts": 1,
        "input_tokens": 1000,
        "output_tokens": 100,
        "cost_micro_usd": 500,
        "estimated_attempts": 0,
        "unpriced_attempts": 0,
        **columns,
    }


def write(database: Database, *rows: dict[str, Any]) -> None:
    with database.write() as connection:
        connection.execute(daily_totals.insert(), list(rows))


def test_what_has_no_known_price_is_told_beside_the_cost_and_never_as_nothing(database: Database) -> None:
    write(
        database,
        totals("2026-11-20", model="priced", estimated_attempts=2),
        totals("2026-11-20", model="unpriced", cost_micro_usd=0, unpriced_attempts=10),
        totals("2026-11-20", model="partly", cost_micro_usd=300, unpriced_attempts=4),
        totals("2026-11-20", model="free", cost_micro_usd=0),
    )
    found = usage(database, MONTH, by=["model"])
    costs = {row.group["model"]: row.figures.cost_micro_usd for row in found.rows}
    assert costs == {"priced": 500, "unpriced": None, "partly": 300, "free": 0}
    assert found.total == Figures(40, 4, 4000, 400, 800, 2, 14)
    only = usage(database, UsageFilter(NOW_MS - 30 * DAY_MS, NOW_MS, model="unpriced"))
    assert (only.total.cost_micro_usd, only.total.unpriced_attempts) == (None, 10)


def test_no_call_at_all_cost_nothing(database: Database) -> None:
    found = usage(database, MONTH)
    assert (found.rows, found.total) == ([], Figures(cost_micro_usd=0))


@pytest.mark.parametrize(
    ("period", "wanted"),
    [
        ("day", [("2026-10-31", 1), ("2026-11-01", 2), ("2026-11-22", 3), ("2026-11-23", 4), ("2026-11-26", 5)]),
        ("week", [("2026-10-26", 3), ("2026-11-16", 3), ("2026-11-23", 9)]),
        ("month", [("2026-10-01", 1), ("2026-11-01", 14)]),
    ],
)
def test_weeks_begin_on_monday_and_months_on_the_first(database: Database, period: Any, wanted: list[Any]) -> None:
    days = ["2026-10-31", "2026-11-01", "2026-11-22", "2026-11-23", "2026-11-26"]
    write(database, *(totals(day, attempts=number) for number, day in enumerate(days, 1)))
    assert [(row.period, row.figures.attempts) for row in usage(database, MONTH, period=period).rows] == wanted


def test_the_days_of_both_ends_count_and_no_other(database: Database) -> None:
    write(database, *(totals(f"2026-11-{day}", attempts=day) for day in (9, 10, 11, 12) if day > 9))
    span = UsageFilter(moment_ms("2026-11-10T23:59Z", NOW_MS), moment_ms("2026-11-11T00:00Z", NOW_MS))
    found = usage(database, span)
    assert [row.period for row in found.rows] == ["2026-11-10", "2026-11-11"]
    assert (found.since, found.until) == ("2026-11-10", "2026-11-12")
    assert periods_of(found) == ["2026-11-10", "2026-11-11"]


def test_sums_are_grouped_by_any_of_the_dimensions_and_named(database: Database) -> None:
    with database.write() as connection:
        made = {"require_pricing": False, "store_bodies": False, "created_at_ms": 1, "updated_at_ms": 1}
        connection.execute(projects.insert().values(id="proj_1", name="Search", **made))
    write(
        database,
        totals("2026-11-20"),
        totals("2026-11-21", key_id="key_2", route="", cost_micro_usd=900),
        totals("2026-11-21", project_id="", key_id=""),
    )
    found = usage(database, MONTH, period="month", by=["project", "route"])
    assert [(dict(row.group), row.figures.attempts) for row in found.rows] == [
        ({"project": "proj_1", "route": None}, 10),
        ({"project": "proj_1", "route": "default"}, 10),
        ({"project": None, "route": "default"}, 10),
    ]
    assert found.names == {"proj_1": "Search"}
    only = usage(database, UsageFilter(MONTH.since_ms, MONTH.until_ms, project_id="proj_1", key_id="key_2"), by=["key"])
    assert [row.group for row in only.rows] == [{"key": "key_2"}]


def test_more_than_can_be_told_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_module, "MOST_ROWS", 2)
    write(database, *(totals("2026-11-20", model=f"m{number}") for number in range(3)))
    with pytest.raises(InvalidRequest, match="There are 3 sums, and no more than 2"):
        usage(database, MONTH, by=["model"])
    for since_ms in (NOW_MS + 1, NOW_MS - 20 * 366 * DAY_MS):
        with pytest.raises(InvalidRequest, match="since must be before until"):
            usage(database, UsageFilter(since_ms, NOW_MS))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("24h", "2026-11-25T00:00:00.000Z"),
        ("90m", "2026-11-25T22:30:00.000Z"),
        ("2w", "2026-11-12T00:00:00.000Z"),
        ("2026-11-01", "2026-11-01T00:00:00.000Z"),
        ("2026-11-01T09:30Z", "2026-11-01T09:30:00.000Z"),
        ("2026-11-01T09:30:01.5+02:00", "2026-11-01T07:30:01.500Z"),
        ("999999w", "1970-01-01T00:00:00.000Z"),
    ],
)
def test_times(text: str, wanted: str) -> None:
    assert told_time(moment_ms(text, NOW_MS)) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "7", "7y", "-7d", "2026-13-01", "1969-12-31", "2026-11-01T09:30", "\uff17d", "a\x00", "9" * 400],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        moment_ms(text, NOW_MS, param="since")


def test_a_period_is_called_by_its_first_day() -> None:
    assert [period_of("2027-01-03", each) for each in ("day", "week", "month")] == [
        "2027-01-03",
        "2026-12-28",
        "2027-01-01",
    ]
    assert day_of(NOW_MS - 1) == "2026-11-25"
