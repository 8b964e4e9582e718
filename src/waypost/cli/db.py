"""`waypost db`: the database itself, for those who run it. What is in it is administered by other commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from waypost.cli.exit_codes import FAILED
from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_json, size_text
from waypost.cli.progress import progress

if TYPE_CHECKING:
    from waypost.store.database import Database
    from waypost.store.migrate import State

FILE = click.Path(path_type=Path, dir_okay=False)
SENTENCES: Mapping[str, str] = {
    "current": "has schema {version}, that of this version",
    "behind": "has schema {version}; the server's next start, or waypost db upgrade, brings it to {known}",
    "ahead": "has schema {version}, made by Waypost {written_by}; this version, of schema {known}, may use it",
    "empty": "is empty; the server's first start, or waypost db upgrade, makes schema {known}",
}


@click.group()
def db() -> None:
    """Upgrade, check, back up and restore the database.

    It is the one of database_url, else an SQLite file in data_dir.
    """


@db.command()
@config_option
@json_option("what was done")
def upgrade(config_file: Path | None, as_json: bool) -> None:
    """Bring the database to this version's schema, as the server does at its start. Servers may go on meanwhile."""
    from waypost.store.migrate import upgrade as upgrade_schema

    with _database(config_file) as database:
        before = upgrade_schema(database)
        version = max(before.version or 0, before.known)
        if as_json:
            print_json({"database": _name(database), "before": before.version, "schema": version})
        elif before.version == version:
            click.echo(f"{_name(database)} has schema {version}: nothing to do")
        else:
            click.echo(f"{_name(database)} has schema {version} now; it had {before.version or 'none'}")


@db.command()
@config_option
@json_option("the state")
def check(config_file: Path | None, as_json: bool) -> None:
    """Say how the database's schema stands to this version. Exit code 1 if this version cannot use it as it is."""
    from waypost.store.migrate import check as check_schema

    with _database(config_file) as database:
        state = check_schema(database)
        if as_json:
            print_json(_as_json(database, state))
        else:
            state.refuse(_name(database))
            size = f" ({size_text(database.size_bytes())})" if state.version else ""
            click.echo(f"{_name(database)}{size} {standing(state)}{_shuts_out(state)}")
        if state.status not in ("current", "ahead"):
            raise click.exceptions.Exit(FAILED)


@db.command()
@click.argument("file", type=FILE)
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@config_option
@json_option("what was done")
def backup(file: Path, force: bool, config_file: Path | None, as_json: bool) -> None:
    """Write all that the database holds at one moment into FILE. Servers may go on meanwhile.

    FILE is an SQLite database with a checksum, and can be restored into SQLite or PostgreSQL. It holds what the
    database holds, stored texts too, and only its owner may read it.
    """
    from waypost.store.backup import back_up

    with _database(config_file) as database, progress(f"Backing up {_name(database)}") as report:
        state = back_up(database, file, report, replace=force)
    size_bytes = file.stat().st_size
    if as_json:
        print_json({"database": _name(database), "file": str(file), "size_bytes": size_bytes, "schema": state.version})
    else:
        click.echo(f"Wrote {file} ({size_text(size_bytes)}, schema {state.version})")


@db.command()
@click.argument("file", type=FILE)
@click.option("--replace", is_flag=True, help="Give up all that the database holds now.")
@config_option
@json_option("what was done")
def restore(file: Path, replace: bool, config_file: Path | None, as_json: bool) -> None:
    """Fill the database with what FILE holds, all of it or nothing. No server may use it meanwhile.

    FILE is checked first, and may come from SQLite or PostgreSQL and from an earlier version.
    """
    from waypost.store.restore import restore as restore_rows

    with _database(config_file) as database, progress(f"Restoring {_name(database)}") as report:
        state = restore_rows(database, file, report, replace=replace)
    if as_json:
        print_json({"database": _name(database), "file": str(file), "before": state.version, "schema": state.known})
    else:
        click.echo(f"{_name(database)} holds what {file} held")


@contextmanager
def _database(config_file: Path | None) -> Iterator[Database]:
    """The database of the settings, for the block. Raises ConfigurationError, DatabaseUnavailable."""
    from waypost.settings import load_settings
    from waypost.store.database import open_database
    from waypost.store.troubles import explained

    database = open_database(load_settings(config_file))
    try:
        with explained(database):
            yield database
    finally:
        database.close()


def _name(database: Database) -> str:
    from waypost.store.address import shown

    return shown(database.url)


def standing(state: State) -> str:
    """How the schema stands, where this version may use it."""
    return SENTENCES[state.status].format(version=state.version, known=state.known, written_by=state.written_by)


def _shuts_out(state: State) -> str:
    """What an upgrade means for servers of the earlier version, where it means something."""
    from waypost.store.migrate import oldest_code_when_upgraded

    oldest = oldest_code_when_upgraded(state)
    if state.status != "behind" or oldest <= (state.version or 0):
        return ""
    return f". Servers of the earlier version cannot go on then: it wants code of schema {oldest} or later"


def _as_json(database: Database, state: State) -> dict[str, Any]:
    from waypost.store.migrate import oldest_code_when_upgraded

    return {
        "database": _name(database),
        "status": state.status,
        "schema": state.version,
        "this_version": state.known,
        "oldest_code": state.oldest_code or None,
        "oldest_code_when_upgraded": oldest_code_when_upgraded(state),
        "written_by": state.written_by or None,
        "size_bytes": database.size_bytes() if state.version else None,
    }
