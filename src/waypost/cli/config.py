"""`waypost config`: check, show and write the settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from waypost.cli.exit_codes import FAILED
from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_json
from waypost.errors import ConfigurationError

if TYPE_CHECKING:
    from waypost.settings import LoadedSettings

SCHEMA_FILE = "waypost.schema.json"


@click.group()
def config() -> None:
    """Write, check and show the settings."""


@config.command()
@config_option
@json_option("file, counts and problems")
def check(config_file: Path | None, as_json: bool) -> None:
    """Read the settings file and name everything that is wrong with it."""
    from waypost.providers.plugins import check_plugins
    from waypost.settings import read_settings

    try:
        loaded = read_settings(config_file)
        check_plugins(loaded.settings)
    except ConfigurationError as error:
        if as_json:
            print_json({"ok": False, "file": None, "problems": str(error).splitlines()})
        raise
    settings = loaded.settings
    if as_json:
        print_json({"ok": True, "file": str(loaded.file) if loaded.file else None, "problems": []})
        return
    name = str(loaded.file) if loaded.file else "No settings file; what the environment and the defaults say"
    click.echo(f"{name} is fine: {_count(settings.providers, 'provider')}, {_count(settings.routes, 'route')}")


def _count(things: Mapping[str, object], word: str) -> str:
    return f"{len(things)} {word}" + ("" if len(things) == 1 else "s")


@config.command()
def schema() -> None:
    """Print the JSON schema of waypost.yaml; editors complete the keys from it."""
    from waypost.settings import json_schema

    print_json(json_schema())


@config.command()
@config_option
@json_option("the settings")
def show(config_file: Path | None, as_json: bool) -> None:
    """Print the settings in effect, without secrets."""
    from waypost.settings import read_settings

    effective = effective_settings(read_settings(config_file))
    if as_json:
        print_json(effective)
        return
    import yaml

    click.echo(yaml.safe_dump(effective, sort_keys=False, allow_unicode=True), nl=False)


def effective_settings(loaded: LoadedSettings) -> dict[str, Any]:
    """The settings as plain data; a secret is `(set)`, or `(set, from NAME)` if a variable holds it."""
    plain: dict[str, Any] = _without_secrets(loaded.settings.model_dump(mode="json"), (), loaded)
    return plain


def _without_secrets(value: Any, path: tuple[str | int, ...], loaded: LoadedSettings) -> Any:
    from waypost.settings.fields import HIDDEN, MASKED

    if isinstance(value, dict):
        return {key: _without_secrets(item, (*path, key), loaded) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_secrets(item, (*path, index), loaded) for index, item in enumerate(value)]
    if value in (HIDDEN, MASKED):
        return f"(set, from {loaded.variables[path]})" if path in loaded.variables else HIDDEN
    return value


@config.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default="waypost.yaml")
def init(file: Path) -> None:
    """Write a commented FILE [waypost.yaml] and its JSON schema beside it; nothing is overwritten."""
    from waypost.settings import json_schema

    template = files("waypost.cli").joinpath("waypost.template.yaml").read_text(encoding="utf-8")
    schema_text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    schema_file = file.with_name(SCHEMA_FILE)
    try:
        if file.exists() or (schema_file.exists() and schema_file.read_text(encoding="utf-8") != schema_text):
            present = file if file.exists() else schema_file
            raise ConfigurationError(f"{present} exists already.", hint="Move it away, or name another file.")
        if not schema_file.exists():
            _write_new(schema_file, schema_text)
        _write_new(file, template)
    except OSError as error:
        raise ConfigurationError(f"{error.filename or file} cannot be written: {error.strerror}.") from error
    click.echo(f"Wrote {file} and {schema_file}. Check them with: waypost config check --config {file}")


@config.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default="waypost.yaml",
    show_default=True,
    help="File to write; - prints it.",
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@json_option("what became of everything")
def import_(file: Path, out: Path, force: bool, as_json: bool) -> None:
    """Take over FILE, the configuration of a LiteLLM proxy, and say what could not be. Exit code 1 if nothing could."""
    from waypost.cli.importing import imported_text, printed_account, told_account
    from waypost.litellm import import_config

    imported = import_config(file)
    printed = str(out) == "-"
    if not imported.is_empty:
        text = imported_text(imported, file, out)
        if printed:
            click.echo(text, nl=False)
        else:
            write_settings(out, text, force=force)
    if as_json and not printed:
        print_json(told_account(imported, out))
    else:
        click.echo("\n".join(printed_account(imported, out)), err=printed)
    if imported.is_empty:
        raise click.exceptions.Exit(FAILED)


def write_settings(path: Path, text: str, *, force: bool) -> None:
    """Write it whole. Raises ConfigurationError if there is a file already, unless `force`."""
    try:
        if not force:
            _write_new(path, text)
            return
        draft = path.with_name(f".{path.name}.new")
        draft.unlink(missing_ok=True)
        _write_new(draft, text)
        draft.replace(path)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists already.", hint="Name another by --out, or add --force.") from None
    except OSError as error:
        raise ConfigurationError(f"{error.filename or path} cannot be written: {error.strerror}.") from error


def _write_new(path: Path, text: str) -> None:
    """All of the file or nothing of it."""
    try:
        with path.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError:
        raise
    except OSError:
        path.unlink(missing_ok=True)
        raise
