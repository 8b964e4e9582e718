"""`waypost worker`: does durable jobs until it is told to stop, on any machine that has the database."""

from __future__ import annotations

from pathlib import Path

import click

from waypost.cli.options import config_option
from waypost.errors import ConfigurationError


@click.command()
@click.option("--concurrency", type=click.IntRange(1, 1000), help="Jobs at once. [default: jobs.concurrency, 16]")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    help="Port for Prometheus; 0 lets the system choose. [default: telemetry.worker_metrics_port, none]",
)
@config_option
def worker(concurrency: int | None, metrics_port: int | None, config_file: Path | None) -> None:
    """Do background jobs until Ctrl-C or SIGTERM. Any number of workers may share one PostgreSQL database.

    Calls under way may come to their end first; what is left is gone on with by another worker at once.
    """
    from waypost.cli.serve import refuse_newer_database
    from waypost.settings import read_settings

    given: dict[str, tuple[tuple[str | int, ...], int | None]] = {
        "--concurrency": (("jobs", "concurrency"), concurrency),
        "--metrics-port": (("telemetry", "worker_metrics_port"), metrics_port),
    }
    options = {name: (path, value) for name, (path, value) in given.items() if value is not None}
    loaded = read_settings(config_file, options=options)
    if not loaded.settings.jobs.enabled:
        raise ConfigurationError("Jobs are switched off.", hint="Set jobs.enabled to true.")
    refuse_newer_database(loaded.settings)

    from waypost.worker.run import run

    run(loaded.settings, lambda name: click.echo(f"worker {name} takes jobs (Ctrl-C stops it)"))
