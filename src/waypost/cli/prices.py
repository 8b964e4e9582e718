"""`waypost prices`: what models cost here, what has changed, and a newer list."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_json, print_note, print_table
from waypost.errors import ConfigurationError

if TYPE_CHECKING:
    from waypost.catalogue.price_changes import ListChanges, RateChange
    from waypost.catalogue.price_list import PriceList
    from waypost.settings import Settings

UNIT = "US dollars for a million tokens; web_search: for a thousand calls"
MOST_NAMES = 10


@click.group()
def prices() -> None:
    """Show, compare and update the prices of models."""


@prices.command()
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--provider", help="Only of this provider of the settings, kind of provider, or vendor of the list.")
@config_option
@json_option("the prices")
def show(models: tuple[str, ...], provider: str | None, config_file: Path | None, as_json: bool) -> None:
    """Show what each MODEL costs, and by which list or setting. [default: all models of the settings]

    A MODEL is provider/model, a model's name, or a route or alias, which stands for its targets.
    """
    from waypost.cli.price_rows import shown_json, shown_rows
    from waypost.cli.price_targets import price_targets
    from waypost.settings import load_settings

    targets, book = price_targets(load_settings(config_file), models, provider)
    now = time.time()
    if as_json:
        print_json([shown_json(target, book, now) for target in targets])
        return
    print_table(shown_rows(targets, book, now))
    print_note(f"{UNIT}. The list: {book.price_list.source}")


@prices.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--package", is_flag=True, help="With the genai-prices that is installed here.")
@click.option("--settings", "with_settings", is_flag=True, help="With the prices of the settings. [default]")
@config_option
@json_option("what differs")
def compare(file: Path | None, package: bool, with_settings: bool, config_file: Path | None, as_json: bool) -> None:
    """Compare the list in force with another: FILE, the installed genai-prices, or the prices of the settings."""
    from waypost.catalogue.price_changes import ListChanges, list_changes
    from waypost.catalogue.price_update import list_from_file, list_from_package
    from waypost.settings import load_settings

    if (file is not None) + package + with_settings > 1:
        raise click.UsageError("Compare with one of them: FILE, --package or --settings.")
    settings, now = load_settings(config_file), time.time()
    other: PriceList | None = None
    if file is not None or package:
        _, other = list_from_file(file) if file is not None else list_from_package()
        changes = list_changes(_in_force(settings), other, now)
    else:
        changes = ListChanges(tuple(_by_settings(settings, now)), (), ())
    after = str(other.source) if other is not None else "the settings"
    _tell(changes, before=str(_in_force(settings).source), after=after, as_json=as_json)


@prices.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--packaged", is_flag=True, help="Go back to the list that came with Waypost.")
@click.option(
    "--date",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Day of the prices. [default: that of the file, or of the package's installation]",
)
@config_option
def update(file: Path | None, packaged: bool, day: datetime | None, config_file: Path | None) -> None:
    """Use a newer list of prices: FILE, or the genai-prices that is installed here.

    FILE is a list of Waypost's, or the data.json that genai-prices publishes. It is checked whole before it is put into
    the data folder; a server that runs uses it when its settings are read anew.
    """
    from waypost.catalogue.price_changes import list_changes
    from waypost.catalogue.price_list import packaged_prices
    from waypost.catalogue.price_update import list_from_file, list_from_package, put_in_place, remove_from
    from waypost.settings import load_settings

    settings = load_settings(config_file)
    if packaged:
        if file is not None:
            raise click.UsageError("Give either FILE or --packaged.")
        was = "" if remove_from(settings.data_dir) else ", as before"
        click.echo(f"The packaged prices are in force{was}: {packaged_prices().source}")
        return
    before = _in_force(settings)
    chosen = day.date() if day is not None else None
    data, new = list_from_file(file, chosen) if file is not None else list_from_package(chosen)
    if not new.source.is_newer_than(before.source):
        click.echo(f"{new.source} is not newer than the list in force, {before.source}; nothing is changed")
        return
    target = put_in_place(data, settings.data_dir)
    changes = list_changes(before, new, time.time())
    click.echo(f"{new.source} is in force now: {target}")
    click.echo(_summary(changes))
    print_note("A server that runs uses it when its settings are read anew: SIGHUP, or POST /api/admin/reload.")


def _in_force(settings: Settings) -> PriceList:
    from waypost.catalogue.price_list import prices_in_force

    return prices_in_force(settings.data_dir)


def _by_settings(settings: Settings, now: float) -> list[RateChange]:
    """What the settings' own prices change for the models that the settings name."""
    from waypost.catalogue.price_changes import rate_changes
    from waypost.catalogue.prices import CONFIGURED
    from waypost.cli.price_targets import price_targets

    if not settings.prices:
        raise ConfigurationError("The settings hold no prices.", hint="Name a file, or give --package.")
    targets, book = price_targets(settings, (), None)
    changes: list[RateChange] = []
    for target in targets:
        price = book.price(target.provider, target.kind, target.model)
        if price.source == CONFIGURED:
            published = book.published(target.provider, target.kind, target.model)
            changes += rate_changes(target.provider, target.model, published, price.rates, now)
    return changes


def _tell(changes: ListChanges, *, before: str, after: str, as_json: bool) -> None:
    from waypost.cli.price_rows import change_json, change_rows

    if as_json:
        print_json(
            {
                "before": before,
                "after": after,
                "changed": [change_json(change) for change in changes.changed],
                "added": ["/".join(key) for key in changes.added],
                "removed": ["/".join(key) for key in changes.removed],
            }
        )
        return
    if changes.changed:
        print_table(change_rows(changes.changed))
    _names("only in the second", changes.added)
    _names("only in the first", changes.removed)
    print_note(f"{_summary(changes)}. {UNIT}. From {before} to {after}")


def _names(title: str, keys: Sequence[tuple[str, str]]) -> None:
    if keys:
        more = f" and {len(keys) - MOST_NAMES} more" if len(keys) > MOST_NAMES else ""
        click.echo(f"{title}: {', '.join('/'.join(key) for key in keys[:MOST_NAMES])}{more}")


def _summary(changes: ListChanges) -> str:
    models = {(change.seller, change.model) for change in changes.changed}
    counts: list[tuple[Any, str]] = [
        (models, "changed"),
        (changes.added, "new"),
        (changes.removed, "gone"),
    ]
    return ", ".join(f"{len(things)} {word}" for things, word in counts)
