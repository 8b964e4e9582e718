"""`waypost batch`: many texts or documents at once, from a file to a file, and what became of such batches."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from waypost.cli.administering import opened, print_told, project_of, settings_in
from waypost.cli.limit_options import TAG
from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_json, print_note, print_table

if TYPE_CHECKING:
    from waypost.jobs.batch import Batch, Counts
    from waypost.store.database import Database

STATES = ("open", "running", "finished", "cancelled")
PAGE = 50


@click.group()
def batch() -> None:
    """Run batches, and list, show, cancel and retry them."""


@batch.command()
@click.argument("source", metavar="INPUT")
@click.option("--kind", "kinds", multiple=True, help="The analysis to make; may be given several times.")
@click.option(
    "--type",
    "type_",
    type=click.Choice(("analyze", "generate")),
    default="analyze",
    show_default=True,
    help="What is done with each item.",
)
@click.option("-m", "--model", help="A route, an alias, provider/model, or a model's id. [default: the kind's]")
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="File for the results, one a line.")
@click.option("--content-field", help="Where the text is. [default: content, prompt, text or input]")
@click.option("--id-field", help="Where your name for an item is. [default: id]")
@click.option("--name", help="The batch's name. [default: the input's]")
@click.option("--tag", "tags", type=TAG, multiple=True, metavar="NAME=VALUE", help="For lists and the request log.")
@click.option("--priority", type=click.IntRange(0, 9), default=7, show_default=True, help="0 is done first.")
@click.option("--project", help="The project that it is for, and whose budgets it uses. [default: none's]")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many items.")
@click.option("--concurrency", type=click.IntRange(1, 1000), help="Items at once, if this run has a worker of its own.")
@click.option("--lower-price", is_flag=True, help="Use the provider's own batches: cheaper, and done within a day.")
@click.option("--allow-offline", is_flag=True, help="Analyze without a model where no provider answers.")
@click.option("--restart", is_flag=True, help="Begin anew, and replace the results in the file.")
@config_option
@json_option("the summary")
def run(source: str, out: Path | None, config_file: Path | None, as_json: bool, **options: Any) -> None:
    """Do all of INPUT: lines of JSON, a .csv or .tsv, a folder of documents, or - for lines on standard input.

    Results come in the order of the input, one line of JSON each, with `index` and `id`; an item that failed has an
    `error`. Interrupted or killed, the same command goes on where it was, and pays for nothing twice.
    """
    from waypost.cli.batch_run import Options, run_batch

    if as_json and out is None:
        raise click.UsageError("--json wants --out: the results are on standard output.")
    wanted = Options(source=source, out=out, config_file=config_file, **options)
    sys.exit(run_batch(wanted, as_json=as_json))


@batch.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--project", help="Only those of this project.")
@click.option("--limit", type=click.IntRange(1, 1000), default=PAGE, show_default=True, help="At most so many.")
@config_option
@json_option("the batches")
def list_batches(state: Any, project: str | None, limit: int, config_file: Path | None, as_json: bool) -> None:
    """List batches, the newest first."""
    from waypost.jobs import batches
    from waypost.jobs.batch_told import told_batch

    with opened(settings_in(config_file)) as database, database.read() as connection:
        project_id = None if project is None else project_of(connection, project).id
        found = batches.page(connection, project_id, state=state, limit=limit)
        told = [told_batch(each, batches.counts(connection, each.id)) for each in found]
    if as_json:
        print_json(told)
        return
    print_table([("id", "state", "done", "failed", "cost", "created", "name"), *(_row(each) for each in told)])


@batch.command()
@click.argument("batch_id", metavar="BATCH")
@config_option
@json_option("the batch")
def show(batch_id: str, config_file: Path | None, as_json: bool) -> None:
    """Show how BATCH stands."""
    with opened(settings_in(config_file)) as database:
        _show(database, batch_id, as_json=as_json)


@batch.command()
@click.argument("batch_id", metavar="BATCH")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="A new file. [default: standard output]"
)
@config_option
def results(batch_id: str, out: Path | None, config_file: Path | None) -> None:
    """Write what has come of BATCH so far: the items that have ended, in order, as `batch run` does."""
    from waypost.jobs import batches

    with opened(settings_in(config_file)) as database:
        with database.read() as connection:
            batches.find(connection, None, batch_id)
        if out is None:
            _write_results(database, batch_id, sys.stdout.fileno())
            return
        with _new_file(out) as stream:
            _write_results(database, batch_id, stream.fileno())


def _new_file(path: Path) -> BinaryIO:
    from waypost.errors import RequestError

    try:
        return path.open("xb")
    except OSError as error:
        raise RequestError(f"{path} cannot be made: {error.strerror}.", hint="Name a new file.") from error


def _write_results(database: Database, batch_id: str, descriptor: int) -> None:
    from waypost.cli.batch_output import ResultStream
    from waypost.jobs import batch_items

    output, after, more = ResultStream(descriptor), 0, True
    while more:
        with database.read() as connection:
            found = batch_items.read_from(connection, batch_id, after, PAGE)
        output.write([job for job in found if job.has_ended])
        more = len(found) == PAGE
        after = (found[-1].batch_index or 0) + 1 if found else after


@batch.command()
@click.argument("batch_id", metavar="BATCH")
@config_option
@json_option("the batch")
def cancel(batch_id: str, config_file: Path | None, as_json: bool) -> None:
    """End BATCH: what waits is not done any more, what runs is broken off, what is done stays."""
    from waypost.jobs import batch_changes

    settings = settings_in(config_file)
    with opened(settings) as database:
        batch_changes.cancel(database, None, batch_id, _now_ms(), settings.jobs.days)
        _show(database, batch_id, as_json=as_json)


@batch.command()
@click.argument("batch_id", metavar="BATCH")
@config_option
@json_option("the batch")
def retry(batch_id: str, config_file: Path | None, as_json: bool) -> None:
    """Do anew the items of BATCH that failed or were cancelled. A worker does them; see `waypost worker`."""
    from waypost.jobs import batch_changes

    settings = settings_in(config_file)
    with opened(settings) as database:
        count = batch_changes.retry(database, None, batch_id, _now_ms(), settings.jobs.days)
        print_note(f"{count:,} items are done again")
        _show(database, batch_id, as_json=as_json)


@batch.command()
@click.argument("batch_id", metavar="BATCH")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def delete(batch_id: str, yes: bool, config_file: Path | None) -> None:
    """Delete BATCH, which has ended, with all of its items and results."""
    from waypost.jobs import batch_changes, batches

    with opened(settings_in(config_file)) as database:
        with database.read() as connection:
            batches.find(connection, None, batch_id)
        if not yes:
            click.confirm(f"Delete {batch_id} with all of its results? They do not come back.", abort=True)
        batch_changes.remove(database, None, batch_id)
    print_note(f"{batch_id} is gone")


def _show(database: Database, batch_id: str, *, as_json: bool) -> None:
    from waypost.jobs import batches, provider_batches
    from waypost.jobs.batch_told import told_batch

    with database.read() as connection:
        found: Batch = batches.find(connection, None, batch_id)
        counts: Counts = batches.counts(connection, batch_id)
        at_providers = provider_batches.of_batch(connection, batch_id)
    print_told(told_batch(found, counts, at_providers), as_json=as_json)


def _row(told: dict[str, Any]) -> tuple[str, ...]:
    counts = told["counts"]
    done = counts["succeeded"] + counts["failed"] + counts["cancelled"]
    total = told["total"] if told["total"] is not None else f"{counts['added']}+"
    return (
        told["id"],
        told["state"],
        f"{done}/{total}",
        str(counts["failed"]),
        f"${told['cost_usd']:.4f}",
        told["created_at"][:16].replace("T", " "),
        told["name"] or "-",
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
