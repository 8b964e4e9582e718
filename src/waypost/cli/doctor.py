"""`waypost doctor`: what is missing on this machine and how to mend it. Looks only; no network, no changes."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from waypost.cli.exit_codes import FAILED
from waypost.cli.listening import free_port_after, is_free
from waypost.cli.options import config_option, json_option
from waypost.cli.output import color, print_json
from waypost.errors import ConfigurationError, ModelError

if TYPE_CHECKING:
    from waypost.settings import HttpProviderSettings, KeyedProviderSettings, LoadedSettings, Settings, VertexSettings

Status = Literal["ok", "warn", "fail"]
LOW_DISK_BYTES = 1_000_000_000
OLD_PRICES_DAYS = 90
COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `mend` says what to do, unless all is well."""

    name: str
    status: Status
    detail: str
    mend: str = ""


@click.command()
@config_option
@json_option("the checks")
def doctor(config_file: Path | None, as_json: bool) -> None:
    """Say what is missing here and how to mend it. Exit code 1 if something fails."""
    checks = list(examine(config_file))
    if as_json:
        print_json(
            {"ok": all(check.status != "fail" for check in checks), "checks": [asdict(check) for check in checks]}
        )
    else:
        _print(checks)
    if any(check.status == "fail" for check in checks):
        raise click.exceptions.Exit(FAILED)


def _print(checks: Iterable[Check]) -> None:
    for check in checks:
        status = click.style(check.status.ljust(4), fg=COLORS[check.status])
        click.echo(f"{status}  {check.name}: {check.detail}", color=color())
        for line in check.mend.splitlines():
            click.echo(f"      {line}", color=color())


def examine(config_file: Path | None) -> Iterator[Check]:
    """Every check, in order. Settings that cannot be used end it early: the rest would be about something else."""
    from waypost.settings import InvalidSettings, read_settings

    yield Check("python", "ok", f"{platform.python_version()} on {platform.system()}")
    yield from _variables()
    try:
        loaded = read_settings(config_file)
    except InvalidSettings as error:
        yield Check("settings", "fail", f"{len(error.problems)} wrong", str(error))
        return
    except ConfigurationError as error:
        yield Check("settings", "fail", error.message, error.hint)
        return
    yield Check("settings", "ok", str(loaded.file) if loaded.file else "no file; the environment and the defaults")
    for examine_part in PARTS:
        yield from examine_part(loaded)


def _variables() -> Iterator[Check]:
    from waypost.settings import unknown_variables

    for name, guess in unknown_variables(os.environ):
        yield Check(
            "environment", "warn", f"{name} means nothing here", f"Did you mean {guess}?" if guess else "Unset it."
        )


def _default_providers(settings: Settings) -> set[str]:
    return {target.provider for target in settings.targets()}


def _hosted(loaded: LoadedSettings) -> Iterator[Check]:
    from waypost.settings import HttpProviderSettings

    for name, provider in loaded.settings.providers.items():
        if isinstance(provider, HttpProviderSettings):
            yield _examine_hosted(name, provider, loaded)


def _examine_hosted(name: str, provider: HttpProviderSettings, loaded: LoadedSettings) -> Check:
    from waypost.providers.vendors import VENDORS
    from waypost.settings import KeyedProviderSettings, VertexSettings

    title = f"provider {name}"
    where = provider.base_url or "the vendor's own address"
    if provider.ca_file and not provider.ca_file.is_file():
        return Check(title, "fail", f"the file {provider.ca_file} is not there", f"Correct providers.{name}.ca_file.")
    if isinstance(provider, VertexSettings):
        return _examine_vertex(name, provider, where)
    if not isinstance(provider, KeyedProviderSettings):
        return Check(title, "ok", where)
    if not provider.has_key:
        # A server of one's own often wants none; the vendors always do.
        if provider.base_url and provider.kind != "azure_openai":
            return Check(title, "ok", f"{where}, without a key")
        mend = f"Set providers.{name}.api_key, best as ${{{VENDORS[provider.kind].environment}}}."
        return Check(title, "fail", "has no key", mend)
    if provider.api_key_file and not provider.api_key_file.is_file():
        mend = f"Correct providers.{name}.api_key_file."
        return Check(title, "fail", f"the file {provider.api_key_file} is not there", mend)
    if _travels_in_the_open(provider.base_url):
        return Check(title, "warn", f"sends its key unencrypted to {where}", "Use an https address.")
    return Check(title, "ok", f"{where}, {_origin_of_keys(name, provider, loaded)}")


def _examine_vertex(name: str, provider: VertexSettings, where: str) -> Check:
    title, file = f"provider {name}", provider.credentials_file
    if not (find_spec("google") and find_spec("google.auth")):
        return Check(title, "fail", "google-auth is not installed", "Run: pip install 'waypost[vertex]'")
    if file and not file.is_file():
        return Check(title, "fail", f"the file {file} is not there", f"Correct providers.{name}.credentials_file.")
    return Check(title, "ok", f"{where}, credentials from {file or 'this machine'}")


def _origin_of_keys(name: str, provider: KeyedProviderSettings, loaded: LoadedSettings) -> str:
    if provider.api_key_file:
        return f"keys from {provider.api_key_file}"
    if provider.api_keys:
        return f"{len(provider.api_keys)} keys"
    return f"key from {loaded.variables.get(('providers', name, 'api_key'), 'the settings file')}"


def _travels_in_the_open(base_url: str | None) -> bool:
    from urllib.parse import urlsplit

    address = urlsplit(base_url or "https://vendor.example")
    return address.scheme == "http" and address.hostname not in ("localhost", "127.0.0.1", "::1")


def _plugins(loaded: LoadedSettings) -> Iterator[Check]:
    from waypost.providers.plugins import find_plugin

    for name in loaded.settings.plugins:
        try:
            find_plugin(name)
        except ConfigurationError as error:
            yield Check(f"plugin {name}", "fail", error.message, error.hint)
        else:
            yield Check(f"plugin {name}", "ok", "installed")


def _local(loaded: LoadedSettings) -> Iterator[Check]:
    """A local model that nothing asks by default may be missing; one in the default route may not."""
    from waypost.settings import LlamaCppSettings

    settings = loaded.settings
    locals_ = {name: part for name, part in settings.providers.items() if isinstance(part, LlamaCppSettings)}
    if not locals_:
        return
    missing: Status = "fail" if set(locals_) & _default_providers(settings) else "warn"
    if find_spec("xllamacpp"):
        yield Check("local models", "ok", "llama.cpp is installed")
    else:
        yield Check("local models", missing, "llama.cpp is not installed", "Run: pip install 'waypost[local]'")
    for name, provider in locals_.items():
        yield _examine_model(f"provider {name}", provider.model, settings, missing)


def _examine_model(title: str, model: str, settings: Settings, missing: Status) -> Check:
    from waypost.cli.local_models import check_model

    try:
        return Check(title, "ok", check_model(model, settings))
    except ModelError as error:
        return Check(title, missing, error.message, error.hint)


def _data_folder(loaded: LoadedSettings) -> Iterator[Check]:
    folder = loaded.settings.data_dir
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            free_bytes = shutil.disk_usage(there).free
    except OSError as error:
        mend = "Change its owner, or set data_dir (or WAYPOST_DATA_DIR) to another folder."
        yield Check("data folder", "fail", f"{folder} cannot be written: {error.strerror}", mend)
        return
    told = f"{folder}, {free_bytes / 1e9:.1f} GB free"
    low = free_bytes < LOW_DISK_BYTES
    yield Check("data folder", "warn" if low else "ok", told, "Make room on that disk." if low else "")


def _keys(loaded: LoadedSettings) -> Iterator[Check]:
    from waypost.settings.server import is_exposed

    settings = loaded.settings
    if is_exposed(settings.server.host) and not settings.keys:
        told = f"server.host is {settings.server.host}, and the settings have no keys"
        yield Check("keys", "warn", told, "It starts if the database has one: waypost keys create --admin")


def _database(loaded: LoadedSettings) -> Iterator[Check]:
    from waypost.cli.db import standing
    from waypost.errors import DatabaseUnavailable
    from waypost.store.address import shown
    from waypost.store.database import open_database
    from waypost.store.migrate import check
    from waypost.store.troubles import explained

    try:
        database = open_database(loaded.settings)
        where = shown(database.url)
        try:
            with explained(database):
                state = check(database)
        finally:
            database.close()
        state.refuse(where)
    except (ConfigurationError, DatabaseUnavailable) as error:
        yield Check("database", "fail", error.message, error.hint)
        return
    mend = f"Install Waypost {state.written_by} or later here, too." if state.status == "ahead" else ""
    yield Check("database", "warn" if mend else "ok", f"{where} {standing(state)}", mend)


def _worker(loaded: LoadedSettings) -> Iterator[Check]:
    from importlib.metadata import version

    from waypost.errors import DatabaseUnavailable
    from waypost.store.lazy import LazyDatabase

    engine = f"engine dbos {version('dbos')}"
    if not loaded.settings.jobs.enabled:
        yield Check("worker", "ok", "jobs are switched off")
    elif not LazyDatabase(loaded.settings).is_there():
        yield Check("worker", "ok", f"none is needed yet; {engine}")
    else:
        from waypost.store.database import DatabaseError

        try:
            waiting, alive = _jobs_and_workers(loaded.settings)
        except (ConfigurationError, DatabaseUnavailable, DatabaseError):
            # The check of the database says what is wrong with it.
            return
        told = f"{', '.join(alive) or 'none'} alive, {waiting} jobs waiting or under way; {engine}"
        idle = bool(waiting and not alive)
        yield Check("worker", "warn" if idle else "ok", told, "Run: waypost serve, or waypost worker" if idle else "")


def _jobs_and_workers(settings: Settings) -> tuple[int, list[str]]:
    """How many jobs there are to do, and the names of the workers that are alive."""
    from sqlalchemy import func, select

    from waypost.jobs.job import WAITING
    from waypost.jobs.lease import alive_executors
    from waypost.store.database import open_database
    from waypost.store.job_tables import jobs
    from waypost.store.troubles import explained

    database = open_database(settings)
    try:
        with explained(database), database.read() as connection:
            count = select(func.count()).where(jobs.c.state.in_(("queued", "running", WAITING)))
            return connection.execute(count).scalar_one(), [each.id for each in alive_executors(connection)]
    finally:
        database.close()


def _webhooks(loaded: LoadedSettings) -> Iterator[Check]:
    from waypost.webhooks import WebhookSecrets

    settings = loaded.settings
    secrets = WebhookSecrets(settings.webhooks, settings.data_dir)
    file = settings.webhooks.secret_file
    authorities = settings.webhooks.ca_file
    if authorities and not authorities.is_file():
        yield Check("webhooks", "fail", f"the file {authorities} is not there", "Correct webhooks.ca_file.")
    elif secrets.is_configured:
        try:
            number = len(secrets.of(None))
        except ConfigurationError as error:
            yield Check("webhooks", "fail", error.message, error.hint)
        else:
            where = str(file) if file else loaded.variables.get(("webhooks", "secret"), "the settings file")
            yield Check("webhooks", "ok", f"signed with {number} secret{'s' if number > 1 else ''} from {where}")
    elif settings.database_url and not settings.database_url.get_secret_value().startswith("sqlite"):
        told = f"signed with a secret of this machine's own, {secrets.kept_file}; other machines would have others"
        yield Check("webhooks", "warn", told, "Set webhooks.secret to the output of: waypost webhooks secret --new")
    else:
        yield Check("webhooks", "ok", f"signed with the secret in {secrets.kept_file}, which is made at need")


def _port(loaded: LoadedSettings) -> Iterator[Check]:
    server = loaded.settings.server
    if server.port == 0 or is_free(server.host, server.port):
        yield Check("port", "ok", f"{server.port} on {server.host} is free")
        return
    other = free_port_after(server.host, server.port)
    mend = "If that is not Waypost: stop it" + (f", or run: waypost serve --port {other}" if other else "")
    yield Check("port", "warn", f"{server.port} on {server.host} is in use", mend)


def _prices(loaded: LoadedSettings) -> Iterator[Check]:
    from datetime import UTC, date, datetime

    from waypost.catalogue.price_list import LIST_FILE, packaged_prices, read_price_list

    packaged, file = packaged_prices(), loaded.settings.data_dir / LIST_FILE
    source, back = packaged.source, "Remove it: waypost prices update --packaged"
    if file.exists():
        try:
            fetched = read_price_list(file).source
        except (OSError, ValueError) as error:
            yield Check("prices", "warn", f"{file} cannot be used: {error}", back)
        else:
            if fetched.is_newer_than(source):
                source = fetched
            else:
                yield Check("prices", "warn", f"{file} is not newer than the packaged list, and not used", back)
    days = (datetime.now(UTC).date() - date.fromisoformat(source.date)).days
    told = f"{source}, {days} days old"
    if days > OLD_PRICES_DAYS:
        yield Check("prices", "warn", told, "Run: pip install -U genai-prices && waypost prices update")
    else:
        yield Check("prices", "ok", told)


PARTS: tuple[Callable[[LoadedSettings], Iterator[Check]], ...] = (
    _hosted,
    _plugins,
    _local,
    _prices,
    _data_folder,
    _keys,
    _database,
    _worker,
    _webhooks,
    _port,
)
