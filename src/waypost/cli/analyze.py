"""`waypost analyze`: makes a job in the database of the settings, as POST /api/ai/analyze does, and may wait for it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from waypost.cli.administering import opened
from waypost.cli.log_options import Tag
from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_json, print_note
from waypost.errors import ConfigurationError, RequestError

if TYPE_CHECKING:
    from waypost.jobs.job import Input, NewJob
    from waypost.ledger.account import Account
    from waypost.settings import Settings
    from waypost.store.database import Database

FAILED = 1
END_S = 30.0


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True), metavar="FILE|-")
@click.option(
    "--kind", "kinds", metavar="NAME", multiple=True, help="Which analysis; may be repeated. [default: analysis]"
)
@click.option(
    "--model", metavar="NAME", help="Route, alias or model. [default: the kind's own, else the default route]"
)
@click.option("--tag", "tags", type=Tag(), metavar="NAME=VALUE", multiple=True, help="What it is for.")
@click.option("--priority", type=click.IntRange(0, 9), default=5, show_default=True, help="0 is done first, 9 last.")
@click.option("--allow-offline", is_flag=True, help="Take an analysis without a model if no provider answers.")
@click.option("--key", metavar="KEY", help="Ask with this key, by its name or id: its limits and budgets hold.")
@click.option("--wait", is_flag=True, help="Wait for its end and print the result. Runs a worker if none is alive.")
@config_option
@json_option("the job")
def analyze(file: Path, key: str | None, wait: bool, config_file: Path | None, as_json: bool, **options: Any) -> None:
    """Analyze FILE (.txt, .md, .html, .pdf, .docx), or text from standard input, as a background job.

    Prints the job's id, or with --wait its result as JSON. Exit code 1: the job failed.
    """
    from waypost.settings import read_settings

    loaded = read_settings(config_file)
    if not loaded.settings.jobs.enabled:
        raise ConfigurationError("Jobs are switched off.", hint="Set jobs.enabled to true.")
    with opened(loaded.settings) as database:
        new = _new_job(loaded.settings, _account(loaded.settings, database, key), file, options)
        job_id = _made(database, new)
        if wait:
            _wait(database, job_id, config_file, as_json=as_json)
            return
        alive = _anybody(database)
    if as_json:
        print_json({"job_id": job_id, "status": "processing"})
    else:
        click.echo(job_id)
    if not alive:
        print_note("No worker is alive: start one with waypost worker, or waypost serve.")
    print_note(f"Watch it with: waypost jobs watch {job_id}")


def _account(settings: Settings, database: Database, key: str | None) -> Account:
    """Whose job it is: everybody's on this machine, or a key's of the settings or the database."""
    from waypost.cli.administering import key_of
    from waypost.ledger.account import LOCAL
    from waypost.ledger.accounts import AccountBook

    if key is None:
        return LOCAL
    name = key.removeprefix("config:")
    key_id = f"config:{name}"
    if name not in settings.keys:
        with database.read() as connection:
            key_id = key_of(connection, key, None).id
    return AccountBook(settings.keys).find(database, key_id)


def _new_job(settings: Settings, account: Account, file: Path, options: Mapping[str, Any]) -> NewJob:
    """Checked as the server checks it. Raises RequestError."""
    from waypost.app import build
    from waypost.jobs.job import NewJob
    from waypost.server.analyze_checks import chosen
    from waypost.server.callers import Caller
    from waypost.server.job_models import AnalyzeRequest
    from waypost.server.validation import checked

    kinds = list(options["kinds"]) or None
    given = {**options, "kinds": kinds, "tags": dict(options["tags"])}
    fields = checked(AnalyzeRequest, given, "--kind analysis")
    content = _content(file, settings.jobs.max_content_bytes)
    names = chosen(build(settings), Caller(account.key_id, account), fields)
    told = {"kinds": names, "model": fields.model, "allow_offline": fields.allow_offline}
    return NewJob(
        "analyze",
        account.project_id,
        account.key_id,
        told,
        content,
        priority=fields.priority,
        tags=fields.tags or None,
    )


def _content(file: Path, most_bytes: int) -> Input:
    from waypost.jobs.job import Input
    from waypost.server.analyze_checks import document_input, text_input, too_large

    is_input = str(file) == "-"
    try:
        with click.open_file(str(file), "rb") as opened_file:
            data = opened_file.read(most_bytes + 1)
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {error.strerror}.") from error
    if len(data) > most_bytes:
        raise too_large("The input" if is_input else str(file), most_bytes)
    if not is_input:
        return document_input(Input(data, "", file.name))
    try:
        return text_input(data.decode("utf-8-sig"), "The input", most_bytes)
    except UnicodeDecodeError:
        raise click.UsageError("The input is not UTF-8 text; name the file instead.") from None


def _made(database: Database, new: NewJob) -> str:
    from waypost.jobs import rows
    from waypost.ledger.books import now_ms

    with database.write() as connection:
        return rows.create(connection, database, new, now_ms()).job.id


def _anybody(database: Database) -> bool:
    from waypost.jobs.lease import alive_executors

    with database.read() as connection:
        return bool(alive_executors(connection))


def _wait(database: Database, job_id: str, config_file: Path | None, *, as_json: bool) -> None:
    from waypost.cli.job_watching import print_end, watch_job

    try:
        with _somebody(database, config_file) as helper:
            whole = watch_job(database, job_id, helper.look)
    except KeyboardInterrupt:
        print_note(f"The job goes on when a worker is alive. Watch it with: waypost jobs watch {job_id}")
        raise
    print_end(whole, as_json=as_json, with_result=True)
    if whole.job.state != "succeeded":
        raise click.exceptions.Exit(FAILED)


class Helper:
    """A worker of this command's own, or none. What it logs is told only if it fails."""

    def __init__(self, process: subprocess.Popen[bytes] | None = None, log: IO[bytes] | None = None) -> None:
        self._process = process
        self._log = log

    def look(self) -> None:
        """Raises ConfigurationError if it has ended."""
        if self._process is not None and self._log is not None and self._process.poll() is not None:
            self._log.seek(0)
            said = self._log.read().decode(errors="replace").strip()
            raise ConfigurationError(f"The worker has ended: {said[-1000:]}", hint="See: waypost worker")


@contextmanager
def _somebody(database: Database, config_file: Path | None) -> Iterator[Helper]:
    """Somebody does jobs in the block: a worker that is alive, or one that is run for it."""
    if _anybody(database):
        yield Helper()
        return
    # A pipe that nobody reads would stop it once it is full.
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(_command(config_file), stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603 - our own program
        try:
            yield Helper(process, log)
        finally:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _command(config_file: Path | None) -> Sequence[str]:
    chosen = [] if config_file is None else ["--config", str(config_file)]
    return [sys.executable, "-m", "waypost.cli.main", "worker", *chosen]
