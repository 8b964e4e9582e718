"""`waypost audit`: what administrators changed."""

from __future__ import annotations

from pathlib import Path

import click

from waypost.cli.administering import opened, plain, settings_in
from waypost.cli.limit_options import seconds_in
from waypost.cli.options import config_option, json_option
from waypost.cli.output import print_json, print_table

MOST = 10_000


class Ago(click.ParamType[int]):
    """How long ago, or since when, as Unix milliseconds."""

    name = "when"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """As click wants it."""
        from waypost.cli.limit_options import moment_in
        from waypost.ledger.books import now_ms
        from waypost.ledger.definitions import unix_ms

        text = str(value)
        try:
            return now_ms() - seconds_in(text) * 1000
        except ValueError:
            pass
        try:
            return unix_ms(moment_in(text))
        except ValueError:
            self.fail(f'"{text}" is no time such as 7d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z.', param, ctx)


@click.command()
@click.option("--actor", help="Only what this one changed: a key's id, local, config:NAME or cli:ACCOUNT.")
@click.option("--action", help="Only this action, such as key.revoke.")
@click.option("--object", "object_id", metavar="ID", help="Only changes of this project or key.")
@click.option("--since", "since_ms", type=Ago(), metavar="WHEN", help="Only from then on: 7d, 12h, 2027-01-31.")
@click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="How many.")
@config_option
@json_option("the changes")
def audit(
    actor: str | None,
    action: str | None,
    object_id: str | None,
    since_ms: int | None,
    limit: int,
    config_file: Path | None,
    as_json: bool,
) -> None:
    """List what administrators changed: who, what, as it was and as it is; the newest first."""
    from waypost.ledger.audit import AuditFilter, find_lines

    wanted = AuditFilter(actor, action, object_id, since_ms)
    with opened(settings_in(config_file)) as database, database.read() as connection:
        told = [line.told() for line in find_lines(connection, wanted, limit=limit)]
    if as_json:
        print_json(told)
        return
    rows = [
        (each["at"], each["actor"], each["action"], each["object_id"], _difference(each["before"], each["after"]))
        for each in told
    ]
    print_table([("at", "actor", "action", "of", "change"), *rows])


def _difference(before: dict[str, object] | None, after: dict[str, object] | None) -> str:
    """What an update changed; a name for what was made or is gone."""
    if before is None or after is None:
        return str((after or before or {}).get("name", ""))
    return "; ".join(f"{name}: {plain(before.get(name))} → {plain(value)}" for name, value in after.items())
