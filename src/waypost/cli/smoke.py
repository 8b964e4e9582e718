"""`waypost smoke`: does a running server do what its callers need? For people, and for whatever deploys it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from waypost.cli.exit_codes import FAILED
from waypost.cli.options import json_option
from waypost.cli.output import color, print_json
from waypost.errors import ConfigurationError, RequestError

if TYPE_CHECKING:
    from waypost.smoke.asked import Wishes
    from waypost.smoke.verdict import Report, Status, Verdict

KEY_VARIABLES = ("WAYPOST_API_KEY", "WAYPOST_KEY")
ADMIN_KEY_VARIABLES = ("WAYPOST_ADMIN_KEY",)
CHECKS = (
    "health",
    "version",
    "ready",
    "generation",
    "stream",
    "chat_stream",
    "analysis",
    "body_limit",
    "wrong_key",
    "rate_limit",
    "metrics",
)
COLORS: Mapping[Status, str] = {"passed": "green", "failed": "red", "skipped": "yellow"}
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("url")
@click.option("--key-file", type=FILE, help=f"File with the key that asks models. [default: ${KEY_VARIABLES[0]}]")
@click.option("--admin-key-file", type=FILE, help=f"File with an admin key. [default: ${ADMIN_KEY_VARIABLES[0]}]")
@click.option("-m", "--model", help="A route, an alias, provider/model, or a model's id. [default: the default route]")
@click.option("--expect-version", metavar="VERSION", help="The version that the server has to be of.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(1, 3600), default=60, show_default=True, help="Seconds for each."
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 3600),
    default=0,
    help="Wait so many seconds at most until a server answers, of the expected version. [default: 0]",
)
@click.option("--skip", "left_out", type=click.Choice(CHECKS), multiple=True, help="Leave this check out.")
@click.option("--require", type=click.Choice(CHECKS), multiple=True, help="Fail if this one cannot be tried.")
@click.option("--ca-file", type=FILE, help="Certificates to trust, in place of the system's.")
@click.option("--junit", "junit_file", type=click.Path(path_type=Path, dir_okay=False), help="Write JUnit XML there.")
@json_option("the checks")
def smoke(
    url: str,
    key_file: Path | None,
    admin_key_file: Path | None,
    junit_file: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Try the server at URL as its callers use it: probes, answers, streams, an analysis, limits, metrics.

    Some ten short calls of a model are made. Exit code 1: something failed.
    """
    import asyncio

    from waypost.smoke.asked import Wishes

    checked_url(url)
    key, admin_key = key_in(key_file, KEY_VARIABLES), key_in(admin_key_file, ADMIN_KEY_VARIABLES)
    wishes = Wishes(key, admin_key, options["model"], options["expect_version"])
    report = asyncio.run(_run(url, wishes, options, quiet=as_json))
    if junit_file is not None:
        _write_junit(junit_file, report)
    if as_json:
        print_json(told(report))
    else:
        counts = ", ".join(f"{report.count(status)} {status}" for status in COLORS)
        click.echo(f"{counts} in {report.duration_s:.1f} s")
    if not report.ok:
        raise click.exceptions.Exit(FAILED)


def checked_url(url: str) -> None:
    """Raises RequestError."""
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise RequestError(f'"{url}" is no address of a server.', hint="Give one such as http://127.0.0.1:8000.")


def key_in(file: Path | None, variables: Sequence[str]) -> str | None:
    """The key of the file, else of the first variable that is set; None: there is none. Raises ConfigurationError."""
    text = file.read_text(encoding="utf-8", errors="replace") if file else _first_set(variables)
    key = text.strip()
    if file and not key:
        raise ConfigurationError(f"{file} is empty.", hint="Write the key into it, on one line.")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError("The key holds a character that no key has.", hint="Give it on one line.")
    return key or None


def _first_set(variables: Sequence[str]) -> str:
    return next((os.environ[name] for name in variables if os.environ.get(name)), "")


async def _run(url: str, wishes: Wishes, options: dict[str, Any], *, quiet: bool) -> Report:
    from waypost.smoke.client import connected
    from waypost.smoke.run import run_checks, wait_until_up

    async with connected(url, options["timeout_s"], options["ca_file"]) as server:
        await wait_until_up(server, options["wait_s"], wishes.expect_version)
        return await run_checks(
            server,
            wishes,
            left_out=options["left_out"],
            required=options["require"],
            told=(lambda _: None) if quiet else _print_row,
        )


def _print_row(verdict: Verdict) -> None:
    """One row of the table, as soon as it is known."""
    status = click.style(verdict.status.ljust(7), fg=COLORS[verdict.status])
    width = max(map(len, CHECKS))
    click.echo(f"{status}  {verdict.name.ljust(width)}  {verdict.duration_s:6.2f} s  {verdict.detail}", color=color())


def told(report: Report) -> dict[str, Any]:
    """The report for scripts."""
    checks = [{**asdict(verdict), "duration_s": round(verdict.duration_s, 3)} for verdict in report.verdicts]
    return {
        "ok": report.ok,
        "url": report.url,
        "version": report.version,
        "duration_s": round(report.duration_s, 3),
        "checks": checks,
    }


def _write_junit(file: Path, report: Report) -> None:
    from waypost.smoke.junit import junit_xml

    try:
        file.write_bytes(junit_xml(report))
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}.") from error
