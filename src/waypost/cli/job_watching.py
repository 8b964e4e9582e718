"""Watching a job from the command line: how far it is while it is done, and how it ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from waypost.cli.output import print_error, print_json, print_note
from waypost.cli.progress import counted, progress
from waypost.cli.requests import cost, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from waypost.jobs.told import WholeJob
    from waypost.store.database import Database

LOOK_S = 0.3
STALLED_S = 5.0
"""After this a job that waits may have nobody who would do it."""


def watch_job(database: Database, job_id: str, look: Callable[[], None] = lambda: None) -> WholeJob:
    """The job, once it has ended. `look` is called at each look, and may raise. Raises UnknownJob."""
    from waypost.jobs import rows
    from waypost.jobs.kept import whole_job
    from waypost.jobs.lease import alive_executors

    state, began, told = "queued", time.monotonic(), False
    with progress("Job", lambda done, total: f"{state}, {counted(done, total)}") as report:
        while True:
            look()
            with database.read() as connection:
                job = rows.find(connection, None, job_id)
                nobody = job.state == "queued" and not told and not alive_executors(connection)
            state = job.state
            if job.progress_total:
                report(job.progress_done, job.progress_total)
            if job.has_ended:
                break
            if nobody and time.monotonic() - began > STALLED_S:
                told = True
                print_note("No worker is alive: start one with waypost worker, or waypost serve.")
            time.sleep(LOOK_S)
    with database.read() as connection:
        return whole_job(connection, None, job_id)


def print_end(whole: WholeJob, *, as_json: bool, with_result: bool) -> None:
    """How it ended; the result by itself, for scripts, or all of the job as JSON."""
    from waypost.jobs.told import told_whole

    told = told_whole(whole)
    if as_json:
        print_json(told)
        return
    if with_result and told["result"] is not None:
        print_json(told["result"])
    error = told["error"]
    if error is not None:
        print_error(plain(f"{error['message']} {error['hint']}".strip()))
    took = "" if whole.job.started_at_ms is None or whole.job.ended_at_ms is None else _took(whole)
    words = f"{whole.job.id} {whole.job.state}{took}, {cost(told['cost_usd'], is_estimate=told['cost_is_estimate'])}"
    if with_result:
        print_note(words)
    else:
        click.echo(words)


def _took(whole: WholeJob) -> str:
    took_ms = (whole.job.ended_at_ms or 0) - (whole.job.started_at_ms or 0)
    return f" in {took_ms / 1000:,.1f} s"
