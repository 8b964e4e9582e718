"""The work of `waypost batch run`: checks what is wanted, runs it, and says at the end what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waypost.analysis.kinds import chosen_kinds, kinds_of
from waypost.cli.administering import opened, project_of
from waypost.cli.batch_begin import Wanted, begin
from waypost.cli.batch_input import check_input, read_items
from waypost.cli.batch_output import ResultFile, ResultStream
from waypost.cli.batch_progress import cost_text, duration_text, told_counts
from waypost.cli.batch_runner import Outcome, Reader, Runner, Stopping
from waypost.cli.batch_worker import OwnWorker
from waypost.cli.exit_codes import FAILED, INTERRUPTED, OK
from waypost.cli.output import print_json
from waypost.cli.serve import refuse_newer_database
from waypost.errors import ConfigurationError, RequestError
from waypost.jobs import batch_changes
from waypost.jobs.batch import LOWER_PRICE, BatchRequest
from waypost.ledger.account import LOCAL
from waypost.server.batch_lines import LineForm
from waypost.settings import Settings, load_settings

if TYPE_CHECKING:
    from waypost.gateway.gateway import Gateway
    from waypost.store.database import Database


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    source: str
    out: Path | None
    config_file: Path | None
    kinds: Sequence[str] = ()
    type_: str = "analyze"
    model: str | None = None
    content_field: str | None = None
    id_field: str | None = None
    name: str | None = None
    tags: Sequence[tuple[str, str]] = ()
    priority: int = 7
    project: str | None = None
    limit: int | None = None
    concurrency: int | None = None
    allow_offline: bool = False
    lower_price: bool = False
    restart: bool = False


def run_batch(options: Options, *, as_json: bool) -> int:
    """All of it; gives the exit code. Raises what is wrong with the options, the input and the output."""
    settings = load_settings(options.config_file)
    if not settings.jobs.enabled:
        raise ConfigurationError("Jobs are switched off.", hint="Set jobs.enabled to true.")
    refuse_newer_database(settings)
    form = LineForm(options.type_, settings.jobs.max_content_bytes, options.content_field, options.id_field)
    request = _request(settings, options)
    check_input(options.source, form)
    reader = Reader(islice(read_items(options.source, form), options.limit))
    output = None if options.out is None else ResultFile(options.out)
    began_s = time.monotonic()
    if output is not None:
        output.open()
    try:
        with opened(settings) as database:
            outcome = _run(database, settings, options, request, reader, output)
    finally:
        if output is not None:
            output.close()
    _tell(outcome, options, time.monotonic() - began_s, as_json=as_json)
    return _exit_code(outcome)


def _request(settings: Settings, options: Options) -> BatchRequest:
    """What all items have in common. Raises UnknownKind, UnknownModel, UnsupportedFeature."""
    told: dict[str, Any] = {}
    models: list[str | None] = [options.model]
    if options.type_ == "analyze":
        kinds = chosen_kinds(kinds_of(settings), list(options.kinds) or None)
        told = {"kinds": [kind.name for kind in kinds], "allow_offline": options.allow_offline}
        models = [options.model or kind.model for kind in kinds]
    elif options.kinds:
        raise RequestError("--kind is for analyses.", hint="Leave --kind or --type generate out.")
    if options.model is not None:
        _gateway(settings).router.plan(options.model)
        told["model"] = options.model
    if options.lower_price:
        gateway = _gateway(settings)
        for model in dict.fromkeys(models):
            gateway.batch_target(model)
        told[LOWER_PRICE] = True
    return BatchRequest(options.type_, told, options.priority)


def _gateway(settings: Settings) -> Gateway:
    """By which a slip is told now, and not by every item."""
    from waypost.gateway.configured import configured_gateway
    from waypost.providers.registry import create_providers

    return configured_gateway(settings, create_providers(settings, {}), None)


def _run(
    database: Database,
    settings: Settings,
    options: Options,
    request: BatchRequest,
    reader: Reader,
    output: ResultFile | None,
) -> Outcome:
    project_id, key_id = _whose(database, options.project)
    wanted = Wanted(
        options.source,
        options.out,
        request,
        project_id,
        key_id,
        options.name,
        dict(options.tags) or None,
        options.limit,
        options.restart,
    )
    days = settings.jobs.days
    begun = begin(database, wanted, output, days)
    worker = OwnWorker(settings, options.config_file, options.concurrency)
    lines = output or ResultStream(sys.stdout.fileno())
    stopping, outcome = Stopping(), None
    runner = Runner(database, begun, reader, lines, worker, days)
    if not begun.is_new:
        runner.progress.note(f"going on with {begun.batch.id}: {begun.written:,} results are there already")
    try:
        with stopping.heeded():
            outcome = runner.run(stopping)
    finally:
        runner.progress.end()
        if output is None and (outcome is None or not outcome.is_whole):
            # Nobody could go on with it.
            with suppress(RequestError):
                batch_changes.cancel(database, project_id, begun.batch.id, time.time_ns() // 1_000_000, days)
        worker.end(at_once=stopping.times > 1)
    return outcome


def _whose(database: Database, project: str | None) -> tuple[str, str]:
    """The project, and the key under whose account its calls are. Raises RequestError."""
    if project is None:
        return LOCAL.project_id, LOCAL.key_id
    from waypost.ledger.keys import KeyFilter, find_keys

    with database.read() as connection:
        found = project_of(connection, project)
        wanted = KeyFilter(project_id=found.id, state="active")
        keys = find_keys(connection, wanted, now_ms=time.time_ns() // 1_000_000, limit=200)
    if not keys:
        raise RequestError(
            f"The project {found.name} has no key that is good.",
            hint=f"Make one: waypost keys create --project {project}",
        )
    return found.id, keys[-1].id


def _exit_code(outcome: Outcome) -> int:
    if not outcome.is_whole:
        return INTERRUPTED
    return FAILED if outcome.counts.failed or outcome.counts.cancelled else OK


def _tell(outcome: Outcome, options: Options, took_s: float, *, as_json: bool) -> None:
    counts = outcome.counts
    told: Mapping[str, Any] = {
        **told_counts(counts),
        "is_whole": outcome.is_whole,
        "seconds": round(took_s, 1),
        "out": None if options.out is None else str(options.out),
    }
    if as_json:
        print_json(dict(told))
    cancelled = f", {counts.cancelled:,} cancelled" if counts.cancelled else ""
    parts = [f"{counts.succeeded:,} succeeded, {counts.failed:,} failed{cancelled}", cost_text(counts)]
    parts.append(duration_text(took_s))
    if options.out is not None:
        parts.append(f"results in {options.out}")
    if not outcome.is_whole:
        parts.append(
            "interrupted: the same command goes on"
            if options.out is not None
            else "interrupted: without --out, it is over"
        )
    sys.stderr.write(" · ".join(parts) + "\n")
