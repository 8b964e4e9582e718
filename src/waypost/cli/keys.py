"""`waypost keys`: who may call. A key is printed once, alone on standard output, so that it can be piped."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from waypost.cli.administering import (
    PAGE,
    actor,
    defined,
    key_of,
    limits_text,
    opened,
    print_told,
    project_of,
    settings_in,
)
from waypost.cli.limit_options import MOMENT, SECONDS, TAG, Duration, change_options, given, limit_options
from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_json, print_note, print_table

if TYPE_CHECKING:
    from waypost.ledger.audit import Change
    from waypost.ledger.key_changes import MadeKey
    from waypost.ledger.keys import Key, State

DEFAULT_PROJECT = "default"
ADMIN = "admin"
GRACE_S = SECONDS["d"]
LONGEST_GRACE_S = 90 * SECONDS["d"]
project_option = click.option("--project", metavar="PROJECT", help="The key's project, if several keys have this name.")
expires_option = click.option(
    "--expires", "expires_at", type=MOMENT, metavar="WHEN|none", help="When it ends: 90d, 12h, 2027-01-31."
)


@click.group()
def keys() -> None:
    """Make, list, change, rotate and revoke keys. KEY is a name or an id."""


@keys.command()
@click.argument("name", required=False)
@click.option(
    "--project", metavar="PROJECT", help=f"Name or id of its project. [default: {DEFAULT_PROJECT}, made if need be]"
)
@click.option("--admin", "is_admin", is_flag=True, help="For administration: it asks no model, unless it gets routes.")
@expires_option
@limit_options
@config_option
@json_option("the key and all about it")
def create(
    name: str | None, project: str | None, is_admin: bool, config_file: Path | None, as_json: bool, **options: Any
) -> None:
    """Make the key NAME and print it. It is not shown again: only its hash is kept. NAME of an admin key is [admin]."""
    from waypost.ledger.audit import changing
    from waypost.ledger.definitions import NewKey
    from waypost.ledger.key_changes import create_key
    from waypost.ledger.keys import has_keys

    if name is None and not is_admin:
        raise click.UsageError("Missing argument 'NAME'.")
    if project is not None and is_admin:
        raise click.UsageError("An admin key belongs to no project.")
    fields = {"name": name or ADMIN, "is_admin": is_admin, **given(options)}
    new = defined(NewKey, fields)
    settings = settings_in(config_file)
    with opened(settings) as database, changing(database, actor()) as change:
        is_first = not settings.keys and not has_keys(change.connection)
        if not is_admin:
            new = defined(NewKey, {**fields, "project_id": _project_id(change, project)})
        made = create_key(change, new)
    _print_once(made, as_json=as_json)
    if is_first:
        print_note("It is the first key: from now on the server asks everybody for one")


@keys.command("list")
@click.option("--project", metavar="PROJECT", help="Only those of this project.")
@click.option("--state", type=click.Choice(["active", "expired", "revoked"]), help="Only those in this state.")
@click.option("--admin/--no-admin", "is_admin", default=None, help="Only admin keys, or only others.")
@click.option("--name", help="Only those with this in their name.")
@click.option("--tag", type=TAG, metavar="NAME=VALUE", help="Only those with this tag.")
@config_option
@json_option("the keys")
def list_keys(
    project: str | None,
    state: State | None,
    is_admin: bool | None,
    name: str | None,
    tag: tuple[str, str] | None,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """List keys, the newest first, without the keys themselves."""
    from waypost.ledger.books import now_ms
    from waypost.ledger.keys import Key, KeyFilter, find_keys
    from waypost.ledger.projects import get_project

    now, found = now_ms(), list[Key]()
    with opened(settings_in(config_file)) as database, database.read() as connection:
        project_id = None if project is None else project_of(connection, project).id
        wanted = KeyFilter(project_id, state, is_admin, name, tag)
        while page := find_keys(connection, wanted, now_ms=now, limit=PAGE, after=found[-1].id if found else None):
            found += page
        ids = {key.project_id for key in found if key.project_id is not None}
        names = {each: get_project(connection, each).name for each in ids}
    if as_json:
        print_json([_told(key) for key in found])
        return
    heading = ("id", "name", "project", "state", "shown", "limits")
    print_table([heading, *_rows(found, names)])


def _rows(found: Iterable[Key], names: dict[str, str]) -> Iterable[tuple[str, ...]]:
    for key in found:
        told = _told(key)
        project = "(admin)" if key.project_id is None else names[key.project_id]
        shown = " ".join(secret.shown for secret in key.secrets) or "-"
        yield key.id, key.name, project, told["state"], shown, limits_text(told)


@keys.command()
@click.argument("key")
@project_option
@config_option
@json_option("the key")
def show(key: str, project: str | None, config_file: Path | None, as_json: bool) -> None:
    """Show KEY, without the key itself."""
    with opened(settings_in(config_file)) as database, database.read() as connection:
        found = key_of(connection, key, project)
    print_told(_told(found), as_json=as_json)


@keys.command()
@click.argument("key")
@project_option
@click.option("--name", help="Another name.")
@expires_option
@change_options
@config_option
@json_option("the key")
def update(
    key: str, project: str | None, name: str | None, config_file: Path | None, as_json: bool, **options: Any
) -> None:
    """Change KEY. What no option names stays as it is; `none` takes a limit away."""
    from waypost.ledger.audit import changing
    from waypost.ledger.definitions import KeyChange
    from waypost.ledger.key_changes import change_key

    wanted = defined(KeyChange, {**({} if name is None else {"name": name}), **given(options)})
    with opened(settings_in(config_file)) as database, changing(database, actor()) as change:
        changed = change_key(change, key_of(change.connection, key, project).id, wanted)
    print_told(_told(changed), as_json=as_json)


@keys.command()
@click.argument("key")
@project_option
@click.option(
    "--grace", "grace_s", type=Duration(), default="24h", show_default=True, help="How long the old one is good."
)
@config_option
@json_option("the key and all about it")
def rotate(key: str, project: str | None, grace_s: int, config_file: Path | None, as_json: bool) -> None:
    """Give KEY a new secret and print it; the old one stays good for a while."""
    from waypost.ledger.audit import changing
    from waypost.ledger.key_changes import LONGEST_GRACE_S, rotate_key

    if grace_s > LONGEST_GRACE_S:
        raise click.BadParameter(f"at most {LONGEST_GRACE_S // SECONDS['d']}d.", param_hint="--grace")
    with opened(settings_in(config_file)) as database, changing(database, actor()) as change:
        made = rotate_key(change, key_of(change.connection, key, project).id, grace_s)
    _print_once(made, as_json=as_json)


@keys.command()
@click.argument("key")
@project_option
@config_option
@json_option("the key")
def revoke(key: str, project: str | None, config_file: Path | None, as_json: bool) -> None:
    """End KEY for ever. Servers refuse it within two seconds; answers that have begun go on."""
    from waypost.ledger.audit import changing
    from waypost.ledger.key_changes import revoke_key

    with opened(settings_in(config_file)) as database, changing(database, actor()) as change:
        gone = revoke_key(change, key_of(change.connection, key, project).id)
    if as_json:
        print_json(_told(gone))
    else:
        print_note(f"{gone.name} ({gone.id}) is revoked")


def _project_id(change: Change, reference: str | None) -> str:
    from waypost.ledger.definitions import NewProject
    from waypost.ledger.projects import create_project, project_named

    if reference is not None:
        return project_of(change.connection, reference).id
    found = project_named(change.connection, DEFAULT_PROJECT)
    return (found or create_project(change, NewProject(name=DEFAULT_PROJECT))).id


def _told(key: Key) -> dict[str, Any]:
    from waypost.ledger.books import now_ms

    return {**key.told(), "state": key.state(now_ms())}


def _print_once(made: MadeKey, *, as_json: bool) -> None:
    if as_json:
        print_json({**_told(made.key), "key": made.text})
        return
    click.echo(made.text)
    kind = "admin key" if made.key.is_admin else "key"
    print_note(f"The {kind} {made.key.name} ({made.key.id}); it is not shown again")
