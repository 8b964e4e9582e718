"""`waypost serve`: looks whether the port is free, then serves, with one process or several, until told to stop."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

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
@config_option
def serve(host: str | None, port: int | None, workers: int | None, config_file: Path | None) -> None:
    """Run the server until Ctrl-C or SIGTERM; requests in flight may end first. SIGHUP reads the settings anew."""
    from waypost.settings import read_settings

    given = {"--host": ("host", host), "--port": ("port", port), "--workers": ("workers", workers)}
    options = {name: (("server", key), value) for name, (key, value) in given.items() if value is not None}
    loaded = read_settings(config_file, options=options)
    check_address(loaded.settings.server.host, loaded.settings.server.port, "waypost serve")

    refuse_newer_database(loaded.settings)

    # Imported only now: a wrong setting or a busy port is told in a fraction of the time.
    from waypost.app import SettingsFile

    source = SettingsFile(config_file, options)

    def started(url: str) -> None:
        click.echo("\n".join(_banner(loaded, url)))

    if loaded.settings.server.workers > 1:
        if sys.platform == "win32":
            raise ConfigurationError("On Windows there is one worker only.", hint="Set server.workers to 1.")
        from waypost.server.supervisor import supervise

        supervise(source, started)
    else:
        from waypost.server.run import run
        from waypost.server.serving import Serving

        run(Serving(source.build(loaded.settings).application, source, loaded.file), on_started=started)


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
