"""How a run of `waypost batch run` finds its batch: the same command again goes on with what was begun.

What a run is known by is its input, its output and for whom it is. The invariant: an output file holds the results of
one batch, which is the one that is gone on with, or the run is refused before it costs anything.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from waypost.cli.batch_input import STDIN
from waypost.cli.batch_output import OutputTaken, ResultFile
from waypost.errors import IdempotencyConflict, JobHasEnded, RequestError
from waypost.jobs import batch_changes, batches
from waypost.jobs.batch import Batch, BatchRequest, NewBatch
from waypost.store.database import Database


class InputChanged(RequestError):
    """What was begun with this command was something else."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a command line asks for. `out` None: standard output; then nothing is gone on with later."""

    source: str
    out: Path | None
    request: BatchRequest
    project_id: str
    key_id: str
    name: str | None = None
    tags: Mapping[str, str] | None = None
    limit: int | None = None
    restart: bool = False

    @property
    def idempotency(self) -> str | None:
        """What the run is known by."""
        if self.out is None:
            return None
        source = STDIN if self.source == STDIN else str(Path(self.source).resolve())
        return "\n".join(("waypost batch run", source, str(self.out.resolve()), str(self.limit)))

    @property
    def new(self) -> NewBatch:
        """The batch to begin."""
        name = self.name or Path(self.source).name
        return NewBatch(
            self.project_id, self.key_id, self.request, name=name, idempotency=self.idempotency, tags=self.tags
        )


@dataclass(frozen=True, slots=True)
class Begun:
    """The batch, and how many of its items are in the output already."""

    batch: Batch
    written: int
    is_new: bool


def begin(database: Database, wanted: Wanted, output: ResultFile | None, days: int) -> Begun:
    """Begin the batch, or find it. Raises InputChanged, OutputTaken."""
    if wanted.restart:
        _forget(database, wanted, output, days)
    try:
        with database.write() as connection:
            created = batches.create(connection, database, wanted.new, _now_ms())
    except IdempotencyConflict as error:
        raise InputChanged(
            "This input and output were begun with another kind, model, name, tag or priority.",
            hint="Give the same options, name another file, or begin anew with --restart.",
        ) from error
    try:
        written = 0 if output is None else output.written(created.batch.id)
    except OutputTaken:
        # What is refused has begun nothing.
        if created.is_new:
            _cancel(database, created.batch, days)
            batch_changes.remove(database, created.batch.project_id, created.batch.id)
        raise
    if created.batch.state == "cancelled":
        raise InputChanged(
            f"The batch {created.batch.id} was cancelled.",
            hint=f"Go on with it by: waypost batch retry {created.batch.id}; or begin anew with --restart.",
        )
    if not created.is_new:
        batch_changes.hold(database, created.batch.id, None)
    return Begun(created.batch, written, created.is_new)


def _forget(database: Database, wanted: Wanted, output: ResultFile | None, days: int) -> None:
    with database.read() as connection:
        old = batches.with_slot(connection, wanted.project_id, wanted.idempotency)
    if old is not None:
        if not old.has_ended:
            _cancel(database, old, days)
        with database.write() as connection:
            batches.let_go_of_slot(connection, old.id)
    if output is not None:
        output.clear()


def _cancel(database: Database, old: Batch, days: int) -> None:
    try:
        batch_changes.cancel(database, old.project_id, old.id, _now_ms(), days)
    except JobHasEnded:
        # In this very moment: all the better.
        return


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
