"""`waypost usage`: what was used and what it cost, by day, week or month."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from waypost.cli.administering import opened, settings_in
from waypost.cli.log_options import WHEN, When, owner_options, owners
from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_json, print_note, print_table
from waypost.cli.requests import cost, plain

if TYPE_CHECKING:
    from waypost.ledger.usage import Figures, Period, Usage, UsageRow

PERIODS = ("day", "week", "month")
DIMENSIONS = ("project", "key", "route", "provider", "model")
DAYS = 30
BAR = 24
"""Characters of the longest bar."""


@click.command()
@click.option("--since", "since_ms", type=When(), metavar="WHEN", help=f"The first day: {WHEN}. [default: {DAYS}d]")
@click.option("--until", "until_ms", type=When(), metavar="WHEN", help="The last day. [default: today]")
@click.option("--period", type=click.Choice(PERIODS), default="day", show_default=True, help="What is summed, in UTC.")
@click.option("--by", type=click.Choice(DIMENSIONS), multiple=True, help="Sum each apart; may be given several times.")
@owner_options
@config_option
@json_option("the sums")
def usage(
    since_ms: int | None,
    until_ms: int | None,
    period: Period,
    by: tuple[str, ...],
    config_file: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Show calls, tokens and cost over time, as a table with bars. Requests that are forgotten stay in it.

    What has no known price is counted beside the cost and is not in it.
    """
    from waypost.ledger.books import now_ms
    from waypost.ledger.moments import DAY_MS
    from waypost.ledger.usage import UsageFilter, told_usage
    from waypost.ledger.usage import usage as sums

    until_ms = now_ms() if until_ms is None else until_ms
    since_ms = max(0, until_ms - DAYS * DAY_MS) if since_ms is None else since_ms
    with opened(settings_in(config_file)) as database:
        with database.read() as connection:
            wanted = UsageFilter(since_ms, until_ms, **owners(connection, options), **options)
        found = sums(database, wanted, period=period, by=list(dict.fromkeys(by)))
    if as_json:
        print_json(told_usage(found))
        return
    print_table(table_of(found, _bar_character()))
    unpriced = found.total.unpriced_attempts
    if unpriced:
        print_note(f"{unpriced:,} calls have no known price: the cost is without them. See: waypost prices show")


def table_of(found: Usage, character: str) -> list[tuple[str, ...]]:
    """The table: a row a period, also those without a call, or a row a period and group; their sum; and bars."""
    rows = found.rows if found.by else _every_period(found)
    costs = any(row.figures.cost_micro_usd for row in rows)
    sizes = [(row.figures.cost_micro_usd or 0) if costs else row.figures.attempts for row in rows]
    most = max(sizes, default=0)
    head = (found.period, *found.by, "calls", "failed", "tokens in", "out", "cost", "unpriced", "estimated", "")
    lines = [
        (row.period, *_group(found, row), *_cells(row.figures), character * _length(size, most))
        for row, size in zip(rows, sizes, strict=True)
    ]
    total = ("sum", *("" for _ in found.by), *_cells(found.total), "")
    return [head, *lines, total]


def _every_period(found: Usage) -> list[UsageRow]:
    from waypost.ledger.usage import Figures, UsageRow, periods_of

    known = {row.period: row for row in found.rows}
    return [known.get(period) or UsageRow(period, {}, Figures()) for period in periods_of(found)]


def _group(found: Usage, row: UsageRow) -> list[str]:
    values = [row.group[name] for name in found.by]
    return ["-" if value is None else plain(found.names.get(value, value)) for value in values]


def _cells(figures: Figures) -> tuple[str, ...]:
    from waypost.ledger.definitions import usd

    return (
        f"{figures.attempts:,}",
        f"{figures.failed_attempts:,}",
        f"{figures.input_tokens:,}",
        f"{figures.output_tokens:,}",
        cost(usd(figures.cost_micro_usd)),
        f"{figures.unpriced_attempts:,}",
        f"{figures.estimated_attempts:,}",
    )


def _length(size: int, most: int) -> int:
    """What is not nothing has a bar."""
    return -(-size * BAR // most) if most and size > 0 else 0


def _bar_character() -> str:
    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    return "█" if encoding.startswith("utf") else "#"
