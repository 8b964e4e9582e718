"""`waypost jobs`: durable jobs, in the database of the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from waypost.cli.administering import actor, opened, settings_in
from waypost.cli.log_options import Tag, When
from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_found, print_json, print_table
from waypost.cli.requests import cost, plain

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.jobs.job import Job

STATES = ("queued", "running", "succeeded", "failed", "cancelled")
MOST = 10_000
PAGE = 500
HEAD = ("time (UTC)", "type", "state", "progress", "cost", "model", "project", "job")
FAILED = 1
"""The exit code of a command whose job failed or was cancelled."""


@click.group()
def jobs() -> None:
    """List, show, watch, cancel, retry and delete jobs: analyses, and whatever else is done in the background."""


@jobs.command("list")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--type", "kind", metavar="TYPE", help="Only those of this type, such as analyze.")
@click.option("--project", metavar="PROJECT", help="Only this project's, by its name or id.")
@click.option("--batch", "batch_id", metavar="ID", help="Only those of this batch, in its order.")
@click.option("--tag", "tags", type=Tag(), metavar="NAME=VALUE", multiple=True, help="Only those with this tag.")
@click.option("--since", "since_ms", type=When(), metavar="WHEN", help="Only those asked for from then on.")
@click.option("--until", "until_ms", type=When(), metavar="WHEN", help="Only those asked for before then.")
@click.option("--dead", is_flag=True, help="Only those given up because their worker died again and again.")
@click.option("--limit", type=click.IntRange(1, MOST), default=20, show_default=True, help="How many.")
@config_option
@json_option("the jobs")
def list_jobs(
    kind: str | None, project: str | None, limit: int, config_file: Path | None, as_json: bool, **options: Any
) -> None:
    """List the newest jobs that all the options fit."""
    from waypost.cli.log_options import owners
    from waypost.jobs.listing import JobFilters
    from waypost.jobs.listing import list_jobs as page_of
    from waypost.jobs.told import told_job

    told: list[dict[str, Any]] = []
    with opened(settings_in(config_file)) as database:
        with database.read() as connection:
            owner = owners(connection, {"project": project, "key": None})["project_id"]
        tags = dict(options.pop("tags"))
        filters = JobFilters(project_id=owner, type=kind, tags=tags, **options)
        cursor: str | None = None
        while len(told) < limit:
            with database.read() as connection:
                rows = min(PAGE, limit - len(told))
                page = page_of(connection, filters, limit=rows, cursor=cursor, budget_s=None)
            told += [told_job(row) for row in page.rows]
            cursor = page.cursor
            if cursor is None:
                break
    if as_json:
        print_json(told)
    else:
        print_found([row_of(each) for each in told], HEAD, "job", None if cursor is None else min(MOST, limit * 5))


@jobs.command()
@click.argument("job_id")
@config_option
@json_option("the job")
def show(job_id: str, config_file: Path | None, as_json: bool) -> None:
    """Show JOB_ID with its steps and its result."""
    from waypost.jobs.kept import whole_job
    from waypost.jobs.told import told_whole

    with opened(settings_in(config_file)) as database, database.read() as connection:
        told = told_whole(whole_job(connection, None, job_id))
    if as_json:
        print_json(told)
        return
    steps, result = told.pop("steps"), told.pop("result")
    print_table([(name, plain(value)) for name, value in told.items() if value not in (None, {}, [])])
    if steps:
        click.echo("\nsteps")
        print_table([(f"  {step['name']}", _step_text(step)) for step in steps])
    if result is not None:
        click.echo("\nresult")
        print_json(result)


@jobs.command()
@click.argument("job_ids", metavar="JOB_ID...", nargs=-1, required=True)
@config_option
@json_option("the jobs")
def cancel(job_ids: Sequence[str], config_file: Path | None, as_json: bool) -> None:
    """Cancel each JOB_ID: one that waits at once, one that is being done within two seconds."""
    from waypost.jobs import audited
    from waypost.ledger.books import now_ms
    from waypost.ledger.moments import DAY_MS

    days = settings_in(config_file).jobs.days

    def one(connection: Connection, job_id: str) -> Job:
        at_ms = now_ms()
        return audited.cancel(connection, actor(), job_id, at_ms, at_ms + days * DAY_MS)

    _change(job_ids, config_file, one, as_json=as_json, done={"running": "was asked to end"})


@jobs.command()
@click.argument("job_ids", metavar="JOB_ID...", nargs=-1, required=True)
@config_option
@json_option("the jobs")
def retry(job_ids: Sequence[str], config_file: Path | None, as_json: bool) -> None:
    """Do each JOB_ID again, which failed or was cancelled: only what is missing is done, and paid."""
    from waypost.jobs import audited
    from waypost.ledger.books import now_ms

    def one(connection: Connection, job_id: str) -> Job:
        return audited.retry(connection, actor(), job_id, now_ms())

    _change(job_ids, config_file, one, as_json=as_json, done={"queued": "waits to be done again"})


@jobs.command()
@click.argument("job_ids", metavar="JOB_ID...", nargs=-1, required=True)
@config_option
def delete(job_ids: Sequence[str], config_file: Path | None) -> None:
    """Delete each JOB_ID, which has ended, with its content and its result."""
    from waypost.jobs import audited
    from waypost.ledger.books import now_ms

    with opened(settings_in(config_file)) as database:
        for job_id in job_ids:
            with database.write() as connection:
                audited.remove(connection, actor(), job_id, now_ms())
            click.echo(f"{plain(job_id)} is deleted")


@jobs.command()
@click.argument("job_id")
@config_option
@json_option("the job, once it has ended,")
def watch(job_id: str, config_file: Path | None, as_json: bool) -> None:
    """Watch JOB_ID until it ends, and say how. Exit code 1: it failed or was cancelled. Ctrl-C only stops watching."""
    from waypost.cli.job_watching import print_end, watch_job

    with opened(settings_in(config_file)) as database:
        whole = watch_job(database, job_id)
    print_end(whole, as_json=as_json, with_result=False)
    if whole.job.state != "succeeded":
        raise click.exceptions.Exit(FAILED)


def _change(
    job_ids: Sequence[str],
    config_file: Path | None,
    one: Callable[[Connection, str], Job],
    *,
    as_json: bool,
    done: Mapping[str, str],
) -> None:
    """Each by itself: those before one that cannot be changed are."""
    from waypost.jobs.told import told_job

    told = []
    with opened(settings_in(config_file)) as database:
        for job_id in job_ids:
            with database.write() as connection:
                job = one(connection, job_id)
            told.append(told_job({name: getattr(job, name) for name in job.__dataclass_fields__}))
            if not as_json:
                click.echo(f"{job.id} {done.get(job.state, f'is {job.state}')}")
    if as_json:
        print_json(told)


def row_of(told: Mapping[str, Any]) -> Sequence[str]:
    """A job on one line, as HEAD says."""
    progress, error = told["progress"], told["error"]
    model = "/".join(name for name in (told["provider"], told["model"]) if name)
    state = told["state"] if error is None else f"{told['state']}: {error['code']}"
    return [
        plain(text)
        for text in (
            told["created_at"][:19].replace("T", " "),
            told["type"],
            state,
            "-" if progress["total"] is None else f"{progress['done']:,} of {progress['total']:,}",
            "-" if told["state"] == "queued" else cost(told["cost_usd"], is_estimate=told["cost_is_estimate"]),
            model or "-",
            told["project_id"],
            told["id"],
        )
    ]


def _step_text(step: Mapping[str, Any]) -> str:
    ended = "under way or failed" if step["ended_at"] is None else f"ended {step['ended_at']}"
    again = f", begun {step['attempts']} times" if step["attempts"] > 1 else ""
    cost_text = "" if step["ended_at"] is None else f", {cost(step['cost_usd'])}"
    request = f", {plain(step['request_id'])}" if step["request_id"] else ""
    return f"{ended}{again}{cost_text}{request}"
