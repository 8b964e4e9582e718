"""`waypost models`: the local models that Waypost knows by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from waypost.cli.local_models import store_of
from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_json, print_table, size_text
from waypost.cli.progress import progress
from waypost.errors import ModelError

if TYPE_CHECKING:
    from waypost.local.store import ModelStore

DEFAULT_MODEL = "smollm2-135m-instruct"


@click.group()
def models() -> None:
    """List, fetch, check and remove local models.

    Any GGUF file works besides these: name its path as the model of a llama_cpp provider.
    """


@models.command("list")
@config_option
@json_option("the models")
def list_models(config_file: Path | None, as_json: bool) -> None:
    """List the models that can be fetched by name, and those that are here."""
    stored = _store(config_file).list()
    if not as_json:
        print_table([(item.model.name, item.state, size_text(item.size_bytes), item.model.title) for item in stored])
        return
    print_json(
        [
            {
                "name": item.model.name,
                "state": item.state,
                "size_bytes": item.size_bytes,
                "title": item.model.title,
                "license": item.model.license,
                "path": str(item.path),
            }
            for item in stored
        ]
    )


@models.command()
@click.argument("name", default=DEFAULT_MODEL)
@click.option("--force", is_flag=True, help="Fetch it even if it is here and undamaged.")
@click.option("--if-missing", is_flag=True, help="Say and do nothing if it is here.")
@config_option
def pull(name: str, force: bool, if_missing: bool, config_file: Path | None) -> None:
    """Fetch the model NAME [smollm2-135m-instruct], check it and put it in place."""
    store = _store(config_file)
    if if_missing and not force and _is_here(store, name):
        return
    with progress(f"Fetching {name}", _sizes) as report:
        path = store.pull(name, report, force=force)
    click.echo(f"{name} is here: {path} ({size_text(path.stat().st_size)})")


@models.command()
@click.argument("name")
@config_option
def remove(name: str, config_file: Path | None) -> None:
    """Remove the file of the model NAME."""
    size_bytes = _store(config_file).remove(name)
    click.echo(f"{name} is removed; {size_text(size_bytes)} are free again")


@models.command()
@click.argument("name", required=False)
@config_option
def verify(name: str | None, config_file: Path | None) -> None:
    """Check the model NAME, or every model that is here, against its published SHA-256."""
    store = _store(config_file)
    names = [name] if name else [item.model.name for item in store.list() if item.state != "available"]
    for checked in names:
        click.echo(f"{checked} is undamaged: {store.verify(checked)}")
    if not names:
        click.echo(f"No model is here. Fetch one with: waypost models pull {DEFAULT_MODEL}")


def _store(config_file: Path | None) -> ModelStore:
    from waypost.settings import load_settings

    return store_of(load_settings(config_file))


def _is_here(store: ModelStore, name: str) -> bool:
    try:
        store.path_of(name)
    except ModelError:
        return False
    return True


def _sizes(done_bytes: int, total_bytes: int) -> str:
    return f"{size_text(done_bytes)} of {size_text(total_bytes)}"
