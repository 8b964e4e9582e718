"""`waypost deploy`: puts a version where it serves, takes it back, and tells what was done."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from waypost.cli.options import json_option
from waypost.cli.output import print_json, print_note, print_table
from waypost.errors import ConfigurationError

if TYPE_CHECKING:
    from waypost.deploy.bluegreen import Order
    from waypost.deploy.record import Entry
    from waypost.deploy.settings import DeployFile, HelmSettings

    Function = TypeVar("Function", bound=Callable[..., Any])

LONGEST_REASON = 100


def _file_option(function: Function) -> Function:
    return click.option(
        "--file",
        "deploy_file",
        type=click.Path(path_type=Path, dir_okay=False),
        default="deploy.toml",
        show_default=True,
        help="The deploy file.",
    )(function)


def _doing_options(function: Function) -> Function:
    function = click.option("--note", help="For the record: a commit, or a link to a pipeline.")(function)
    function = click.option("--by", help="Who deploys, for the record. [default: this account, or the pipeline's]")(
        function
    )
    return click.option("--dry-run", "is_dry", is_flag=True, help="Look, print the plan, and change nothing.")(function)


@click.group()
def deploy() -> None:
    """Put a version on hosts or a cluster, take it back, and tell what was done."""


@deploy.command()
@click.argument("version", metavar="WHEEL|VERSION")
@_doing_options
@_file_option
def run(version: str, deploy_file: Path, by: str | None, note: str | None, is_dry: bool) -> None:
    """Put a version where callers get it: a wheel, or one that is on the hosts; on a cluster the image's tag.

    Migrations come first, then the new version beside the old one, a smoke test, the switch, and another smoke test.
    If anything fails the old version serves on, or serves again, and the exit code is 1.
    """
    from waypost.deploy.bluegreen import Order
    from waypost.deploy.wheel import read_wheel

    wheel = read_wheel(Path(version)) if version.endswith(".whl") else None
    named = wheel.version if wheel else _checked(version)
    _carry_out(Order("deploy", named, wheel, by or "", note, is_dry), deploy_file)


@deploy.command()
@click.option("--to", "version", help="Which version. [default: the one before]")
@_doing_options
@_file_option
def rollback(version: str | None, deploy_file: Path, by: str | None, note: str | None, is_dry: bool) -> None:
    """Go back to the version before, with the same care: beside the running one, tried, switched, tried again."""
    from waypost.deploy.bluegreen import Order

    named = _checked(version) if version else ""
    _carry_out(Order("rollback", named, None, by or "", note, is_dry), deploy_file)


@deploy.command()
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many of each host.")
@_file_option
@json_option("the deploys")
def history(deploy_file: Path, limit: int, as_json: bool) -> None:
    """List who deployed what, when, and how it ended; the newest first."""
    from waypost.deploy.bluegreen import history as read_history
    from waypost.deploy.settings import read_deploy_file

    file = read_deploy_file(deploy_file)
    if file.helm is not None:
        raise ConfigurationError(
            "On a cluster Helm keeps the record.", hint=f"helm history {file.helm.release} -n {file.helm.namespace}"
        )
    read = read_history(file)
    told = [(host, entry) for host, entries in read.items() for entry in entries[::-1][:limit]]
    if as_json:
        print_json([{"host": host, **entry.told()} for host, entry in told])
        return
    if not told:
        print_note("Nothing was deployed there.")
    print_table([("at", "host", "by", "action", "version", "before", "outcome"), *(_row(*each) for each in told)])


def _row(host: str, entry: Entry) -> tuple[str, ...]:
    reason = (entry.reason or "").splitlines()[0][:LONGEST_REASON] if entry.reason else ""
    outcome = f"{entry.outcome}: {entry.step}: {reason}" if entry.step else entry.outcome
    return entry.at, host, entry.by, entry.action, entry.version, entry.previous or "-", outcome


def _checked(version: str) -> str:
    from waypost.deploy.wheel import checked_version

    try:
        return checked_version(version)
    except ValueError as error:
        raise ConfigurationError(f"{error}.", hint="Give a wheel's file (.whl), or a version such as 0.2.0.") from error


def _carry_out(order: Order, deploy_file: Path) -> None:
    from waypost.deploy.bluegreen import carry_out
    from waypost.deploy.settings import read_deploy_file

    file = read_deploy_file(deploy_file)
    with _interrupted_by_sigterm():
        if file.helm is not None:
            _carry_out_on_cluster(order, file, file.helm)
            return
        done = carry_out(order, file, Printer())
    if order.is_dry:
        print_note("Nothing was changed.")
        return
    for entry in done:
        before = f", after {entry.previous}" if entry.previous else ""
        click.echo(f"{entry.version} serves{before} ({entry.duration_s:.0f} s)")


def _carry_out_on_cluster(order: Order, file: DeployFile, helm: HelmSettings) -> None:
    from waypost.deploy.helm import Cluster

    if order.wheel is not None:
        raise ConfigurationError("A cluster gets an image, not a wheel.", hint="Give the image's tag.")
    if order.action == "rollback" and order.version:
        raise ConfigurationError("On a cluster a rollback goes to the revision before.", hint="Leave out --to.")
    cluster = Cluster(file, helm, Printer(), is_dry=order.is_dry)
    if order.action == "rollback":
        cluster.go_back()
    else:
        cluster.put(order.version)
    told = "Nothing was changed." if order.is_dry else f"{order.version or 'The version before'} serves."
    click.echo(told)


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """A pipeline that is cancelled sends SIGTERM: like Ctrl-C, it takes back what was done."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Printer:
    """Tells each step as it begins."""

    def step(self, host: str, title: str) -> None:
        """On a line of its own."""
        click.echo(f"{host}: {title}")
        sys.stdout.flush()

    def script(self, text: str) -> None:
        """Indented, so that steps stand out."""
        for line in text.splitlines():
            click.echo(f"    {line}")

    def note(self, text: str) -> None:
        """Beside the steps."""
        print_note(f"    {text}")
