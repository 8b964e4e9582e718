"""`waypost serve`: looks whether the port is free, then serves, with one process or several, until told to stop."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from waypost.cli.listening import check_address
from waypost.cli.options import config_option
from waypost.errors import ConfigurationError

if TYPE_CHECKING:
    from waypost.settings import LoadedSettings, Settings


@click.command()
@click.option("--host", help="Address to listen on. [default: server.host, 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port; 0 lets the system choose. [default: server.port, 8000]"
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    help="Processes that answer at the same port. [default: server.workers, 1]",
)
@click.option("--no-worker", is_flag=True, help="Leave background jobs to `waypost worker`. [default: jobs.worker]")
@config_option
def serve(host: str | None, port: int | None, workers: int | None, no_worker: bool, config_file: Path | None) -> None:
    """Run the server until Ctrl-C or SIGTERM; requests in flight may end first. SIGHUP reads the settings anew."""
    from waypost.settings import read_settings

    given: dict[str, tuple[str, Any]] = {
        "--host": ("host", host),
        "--port": ("port", port),
        "--workers": ("workers", workers),
    }
    options: dict[str, tuple[tuple[str | int, ...], Any]] = {
        name: (("server", key), value) for name, (key, value) in given.items() if value is not None
    }
    if no_worker:
        options["--no-worker"] = (("jobs", "worker"), False)
    loaded = read_settings(config_file, options=options)
    check_address(loaded.settings.server.host, loaded.settings.server.port, "waypost serve")

    refuse_newer_database(loaded.settings)

    # Imported only now: a wrong setting or a busy port is told in a fraction of the time.
    from waypost.app import SettingsFile
    from waypost.ledger.ledger import Company
    from waypost.server.worker_keeper import WorkerKeeper

    jobs = loaded.settings.jobs
    company = Company(others_spend=jobs.enabled, has_worker=jobs.enabled and jobs.worker)
    source = SettingsFile(config_file, options, company)
    in_force = loaded.settings
    keeper = WorkerKeeper(lambda: in_force, loaded.file, options)

    def started(url: str) -> None:
        click.echo("\n".join(_banner(loaded, url)))

    if loaded.settings.server.workers > 1:
        if sys.platform == "win32":
            raise ConfigurationError("On Windows there is one worker only.", hint="Set server.workers to 1.")
        from waypost.server.supervisor import supervise

        supervise(source, started, keeper)
    else:
        from waypost.server.run import run
        from waypost.server.serving import Serving

        served = Serving(source.build(loaded.settings).application, source, loaded.file)
        run(served, on_started=started, worker=keeper)


def refuse_newer_database(settings: Settings) -> None:
    """Raise ConfigurationError if the database is no longer for this version, or another program's.

    One that is away now is no reason not to start: the server tries again by itself.
    """
    from waypost.store.lazy import LazyDatabase

    if not LazyDatabase(settings).is_there():
        return
    from waypost.store.address import shown
    from waypost.store.database import DatabaseError, open_database
    from waypost.store.migrate import check

    database = open_database(settings)
    try:
        with suppress(DatabaseError):
            check(database).refuse(shown(database.url))
    finally:
        # Workers are forked from here, and must not share a connection.
        database.close()


def _banner(loaded: LoadedSettings, url: str) -> list[str]:
    from waypost import __version__
    from waypost.cli.local_models import missing_models

    settings = loaded.settings
    rows = {
        "settings": str(loaded.file) if loaded.file else "no file; the environment and the defaults",
        "providers": ", ".join(settings.providers),
        "default route": ", then ".join(str(target) for target in settings.targets()),
    }
    if settings.server.workers > 1:
        rows["workers"] = str(settings.server.workers)
    lines = [f"Waypost {__version__} on {url} (Ctrl-C stops it)"]
    lines += [f"  {name.ljust(15)}{value}" for name, value in rows.items()]
    return [*lines, *(f"  {sentence}" for sentence in missing_models(settings))]
