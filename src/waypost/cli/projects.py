"""`waypost projects`: what keys, budgets and the request log belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from waypost.cli.administering import (
    PAGE,
    actor,
    defined,
    limits_text,
    opened,
    print_told,
    project_of,
    settings_in,
)
from waypost.cli.limit_options import TAG, change_options, given, limit_options
from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_json, print_note, print_table

bodies_option = click.option(
    "--store-bodies/--no-store-bodies", default=None, help="Keep requests and answers, redacted?"
)


@click.group()
def projects() -> None:
    """Make, list, change and delete projects. PROJECT is a name or an id."""


@projects.command()
@click.argument("name")
@limit_options
@bodies_option
@config_option
@json_option("the project")
def create(name: str, config_file: Path | None, as_json: bool, **options: Any) -> None:
    """Make the project NAME."""
    from waypost.ledger.audit import changing
    from waypost.ledger.definitions import NewProject
    from waypost.ledger.projects import create_project

    new = defined(NewProject, {"name": name, **given(options)})
    with opened(settings_in(config_file)) as database, changing(database, actor()) as change:
        made = create_project(change, new)
    print_told(made.told(), as_json=as_json)


@projects.command("list")
@click.option("--name", help="Only those with this in their name.")
@click.option("--tag", type=TAG, metavar="NAME=VALUE", help="Only those with this tag.")
@config_option
@json_option("the projects")
def list_projects(name: str | None, tag: tuple[str, str] | None, config_file: Path | None, as_json: bool) -> None:
    """List projects, the newest first."""
    from waypost.ledger.projects import Project, find_projects

    found: list[Project] = []
    with opened(settings_in(config_file)) as database, database.read() as connection:
        while page := find_projects(connection, name=name, tag=tag, limit=PAGE, after=found[-1].id if found else None):
            found += page
    told = [project.told() for project in found]
    if as_json:
        print_json(told)
        return
    print_table([("id", "name", "limits"), *((each["id"], each["name"], limits_text(each)) for each in told)])


@projects.command()
@click.argument("project")
@config_option
@json_option("the project")
def show(project: str, config_file: Path | None, as_json: bool) -> None:
    """Show PROJECT."""
    with opened(settings_in(config_file)) as database, database.read() as connection:
        print_told(project_of(connection, project).told(), as_json=as_json)


@projects.command()
@click.argument("project")
@click.option("--name", help="Another name.")
@change_options
@bodies_option
@config_option
@json_option("the project")
def update(project: str, name: str | None, config_file: Path | None, as_json: bool, **options: Any) -> None:
    """Change PROJECT. What no option names stays as it is; `none` takes a limit away."""
    from waypost.ledger.audit import changing
    from waypost.ledger.definitions import ProjectChange
    from waypost.ledger.projects import change_project

    wanted = defined(ProjectChange, {**({} if name is None else {"name": name}), **given(options)})
    with opened(settings_in(config_file)) as database, changing(database, actor()) as change:
        changed = change_project(change, project_of(change.connection, project).id, wanted)
    print_told(changed.told(), as_json=as_json)


@projects.command()
@click.argument("project")
@click.option("--yes", is_flag=True, help="Do not ask.")
@config_option
def delete(project: str, yes: bool, config_file: Path | None) -> None:
    """Delete PROJECT with its keys, requests and stored answers. Its sums stay, under nobody's name."""
    from waypost.ledger.erasure import delete_project

    with opened(settings_in(config_file)) as database:
        with database.read() as connection:
            gone = project_of(connection, project)
        if not yes:
            click.confirm(f"Delete {gone.name} ({gone.id}) with all that it has? It does not come back.", abort=True)
        delete_project(database, actor(), gone.id)
    print_note(f"{gone.name} ({gone.id}) is gone")
