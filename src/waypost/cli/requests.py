"""`waypost requests`: the request log, in the database of the settings."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from waypost.cli.administering import opened, settings_in
from waypost.cli.log_options import filter_options, filters_of
from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_found, print_json, print_note, print_table
from waypost.errors import UnknownRequest

if TYPE_CHECKING:
    from waypost.ledger.export import Format

FORMATS = ("jsonl", "csv", "parquet")
MOST = 10_000
BODY_CHARACTERS = 4_000
"""Of a body, on a terminal."""


@click.group()
def requests() -> None:
    """List, show and export requests: what was asked, how it ended and what it cost."""


@requests.command("list")
@filter_options
@click.option("--limit", type=click.IntRange(1, MOST), default=20, show_default=True, help="How many.")
@click.option("--oldest-first", is_flag=True, help="Begin with the oldest.")
@config_option
@json_option("the requests")
def list_requests(limit: int, oldest_first: bool, config_file: Path | None, as_json: bool, **options: Any) -> None:
    """List the newest requests that all the options fit."""
    from waypost.ledger.log_told import told_request
    from waypost.ledger.request_log import MOST_ROWS, page

    told: list[dict[str, Any]] = []
    with opened(settings_in(config_file)) as database:
        with database.read() as connection:
            filters = filters_of(connection, options)
        cursor: str | None = None
        while len(told) < limit:
            rows = min(limit - len(told), MOST_ROWS)
            found = page(database, filters, limit=rows, cursor=cursor, newest_first=not oldest_first, budget_s=None)
            told += [told_request(row) for row in found.rows]
            cursor = found.cursor
            if cursor is None:
                break
    if as_json:
        print_json(told)
    else:
        print_found([row_of(each) for each in told], HEAD, "request", None if cursor is None else min(MOST, limit * 5))


@requests.command()
@click.argument("request_id")
@click.option("--body", "with_body", is_flag=True, help="Also what was asked and answered, if that is stored.")
@config_option
@json_option("the request")
def show(request_id: str, with_body: bool, config_file: Path | None, as_json: bool) -> None:
    """Show REQUEST_ID, which is in the header x-request-id of the reply, with each call that was made for it."""
    from waypost.ledger.log_told import told_whole
    from waypost.ledger.request_log import find

    with opened(settings_in(config_file)) as database:
        found = find(database, request_id, with_body=with_body)
    if found is None:
        raise UnknownRequest(
            f'No request with the id "{plain(request_id)[:100]}" is in the log.',
            hint="It comes in a second or so after its end, and goes when it is as old as ledger.requests_days says.",
        )
    told = told_whole(found)
    if as_json:
        print_json(told)
        return
    calls, body = told.pop("calls"), told.pop("body")
    print_table([(name, plain(value)) for name, value in told.items() if value is not None])
    for call in calls:
        click.echo(f"\ncall {call['number']}")
        print_table([(f"  {name}", plain(value)) for name, value in call.items() if value is not None])
    if with_body:
        _print_body(body)


@requests.command()
@filter_options
@click.option("--format", "form", type=click.Choice(FORMATS), default="jsonl", show_default=True, help="What to write.")
@click.option(
    "--out",
    "file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    required=True,
    metavar="FILE",
    help="Where to; - is the standard output.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@config_option
def export(form: Format, file: Path, force: bool, config_file: Path | None, **options: Any) -> None:
    """Write every request that all the options fit to FILE, the oldest first.

    FILE is there when all of it is: what fails or is interrupted leaves nothing behind.
    """
    from waypost.cli.progress import progress
    from waypost.ledger.export import check_format, write_export, write_rows

    check_format(form)
    if str(file) == "-" and form == "parquet":
        raise click.UsageError("A Parquet file is not written to the standard output: name a file.")
    if str(file) != "-" and file.exists() and not force:
        raise click.UsageError(f"{file} is there already. Name another file, or replace it with --force.")
    with opened(settings_in(config_file)) as database:
        with database.read() as connection:
            filters = filters_of(connection, options)
        with progress("Exporting", Pace()) as report:
            if str(file) == "-":
                written = write_rows(database, filters, sys.stdout.buffer, form, report)
            else:
                written = write_export(database, filters, file, form, report)
    click.echo(f"{written:,} requests written{'' if str(file) == '-' else f' to {file}'}", err=str(file) == "-")


class Pace:
    """How far an export is, in words, and how fast."""

    def __init__(self) -> None:
        import time

        self._clock = time.monotonic
        self._began = self._clock()

    def __call__(self, done: int, total: int) -> str:
        """`1,200 of 3,000, 25,000 a second`."""
        passed_s = self._clock() - self._began
        return f"{done:,} of {total:,}, {done / passed_s if passed_s > 0 else 0:,.0f} a second"


HEAD = ("time (UTC)", "end", "model", "tokens", "cost", "took", "whose", "request")


def row_of(told: Mapping[str, Any]) -> Sequence[str]:
    """A request on one line, as HEAD says."""
    end = told["end_state"] if told["error_code"] is None else f"{told['end_state']}: {told['error_code']}"
    answered_by = "/".join(name for name in (told["provider"], told["model"]) if name)
    asked = told["route"] or told["asked_model"] or ""
    model = f"{asked} → {answered_by}" if asked and answered_by and asked not in answered_by else answered_by or asked
    whose = "/".join(name for name in (told["project"] or told["project_id"], told["key"] or told["key_id"]) if name)
    return [
        plain(text)
        for text in (
            told["started_at"][:19].replace("T", " "),
            end,
            model or "-",
            f"{count(told['input_tokens'])} + {count(told['output_tokens'])}",
            cost(told["cost_usd"], is_estimate=told["cost_is_estimate"]),
            "-" if told["total_ms"] is None else f"{told['total_ms'] / 1000:,.1f} s",
            whose or "-",
            told["request_id"],
        )
    ]


def count(tokens: int | None) -> str:
    """A count, or that it is not known."""
    return "?" if tokens is None else f"{tokens:,}"


def cost(usd: float | None, *, is_estimate: bool = False) -> str:
    """A cost, with a ~ if it is an estimate, or that it is not known."""
    return "unknown" if usd is None else f"{'~' if is_estimate else ''}${usd:,.6f}"


def plain(value: Any) -> str:
    """A field on one line, whatever a caller or a provider put into it: nothing that would move a terminal's cursor."""
    import json

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _print_body(body: Mapping[str, Any] | None) -> None:
    if body is None:
        print_note("\nNothing is stored of what was asked and answered.")
        return
    for name in ("request", "response"):
        text = body[name]
        click.echo(f"\n{name}")
        shown = "" if text is None else text[:BODY_CHARACTERS]
        for line in shown.splitlines() or ["-"]:
            click.echo(f"  {plain(line)}")
        if text is not None and len(text) > BODY_CHARACTERS:
            print_note(f"  … {len(text) - BODY_CHARACTERS:,} characters more; --json shows all.")
